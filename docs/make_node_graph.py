"""Draws docs/images/node_graph.png: `python docs/make_node_graph.py`."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

# name: (x, y, label, colour), in units of the picture
NODES = {
    "mouse": (0.2, 3.2, "SpaceMouse\nor scripted operator", "#e8eef7"),
    "camera": (0.2, 1.0, "agent-view camera\njoint states, pose", "#e8eef7"),
    "teleop": (4.0, 3.2, "cdp_teleop", "#d7ead9"),
    "policy": (4.0, 1.7, "cdp_policy\n(lifecycle)", "#d7ead9"),
    "recorder": (4.0, 0.1, "cdp_recorder", "#d7ead9"),
    "guard": (7.8, 2.4, "cdp_guard\nthe last word", "#f6d9d5"),
    "robot": (11.8, 2.4, "FR3 (franka_ros2)\nor MuJoCo", "#e8eef7"),
    "train": (7.8, 0.1, "cdp train", "#f3ead0"),
    "bundle": (11.8, 0.1, "policy bundle\nmodels/<name>", "#f3ead0"),
}
EDGES = [
    ("mouse", "teleop", "twist, joy"),
    ("camera", "policy", "observations"),
    ("camera", "recorder", ""),
    ("teleop", "guard", "ActionChunk"),
    ("policy", "guard", "ActionChunk"),
    ("guard", "robot", "equilibrium pose\nor joint trajectory"),
    ("recorder", "train", "demos.hdf5"),
    ("train", "bundle", ""),
]
WIDTH, HEIGHT = 2.1, 0.9


def _box(axes: Axes, x: float, y: float, label: str, colour: str) -> None:
    axes.add_patch(FancyBboxPatch((x, y), WIDTH, HEIGHT, boxstyle="round,pad=0.05", facecolor=colour, edgecolor="#445", linewidth=1.2))
    axes.text(x + WIDTH / 2, y + HEIGHT / 2, label, ha="center", va="center", fontsize=10)


def _arrow(axes: Axes, start: str, end: str, label: str) -> None:
    (x0, y0), (x1, y1) = NODES[start][:2], NODES[end][:2]
    tail, head = (x0 + WIDTH + 0.07, y0 + HEIGHT / 2), (x1 - 0.07, y1 + HEIGHT / 2)
    axes.add_patch(FancyArrowPatch(tail, head, arrowstyle="-|>", mutation_scale=14, color="#445", linewidth=1.2, shrinkA=0, shrinkB=0))
    axes.text(
        (tail[0] + head[0]) / 2,
        (tail[1] + head[1]) / 2 + 0.09,
        label,
        ha="center",
        va="bottom",
        fontsize=9,
        color="#334",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


def main() -> None:
    """Write the picture."""
    figure, axes = plt.subplots(figsize=(13, 4.4))
    for x, y, label, colour in NODES.values():
        _box(axes, x, y, label, colour)
    for start, end, label in EDGES:
        _arrow(axes, start, end, label)
    loop = FancyArrowPatch(
        (12.85, 1.05), (6.15, 1.66), connectionstyle="arc3,rad=0.12", arrowstyle="-|>", mutation_scale=14, color="#a80", linewidth=1.2, ls="--"
    )
    axes.add_patch(loop)
    axes.set(xlim=(0, 14.2), ylim=(-0.1, 4.3))
    axes.axis("off")
    figure.savefig(Path(__file__).parent / "images" / "node_graph.png", dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    main()
