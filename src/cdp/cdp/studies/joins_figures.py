"""The figures of the study ``joins``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cdp.studies.joins_replay import Motion, Sent
from cdp.studies.plots import panels, save

#: Joins that are drawn; the others are in the table, and off these scales.
DRAWN = {
    "hard": ("#000000", "o"),
    "ensemble": ("#E69F00", "^"),
    "rtc": ("#0072B2", "s"),
}
_ROWS = {
    "jump_mm": "jump at a join, RMS [mm]",
    "jerk_ratio": "jerk at joins / within chunks",
    "jerk_join_max": "largest jerk at a join [m/s³]",
    "error_mm": "off the demonstration, RMS [mm]",
}
_SHOWN_S = 3.0
_GRID_S = 0.01


def draw_delays(joins: Mapping[str, Any], path: Path) -> None:
    """One panel a figure: lines of joins against the delay."""
    figure, axes = panels(2, 2, size=4.6, share=False, height=3.1)
    flat = [axis for row in axes for axis in row]
    for axis, (key, words) in zip(flat, _ROWS.items(), strict=True):
        for name, (colour, marker) in DRAWN.items():
            by_delay = joins[name]
            delays = [int(delay) for delay in by_delay]
            each = [by_delay[str(delay)][key] for delay in delays]
            axis.errorbar(
                delays, [f["mean"] for f in each], [f["std"] for f in each], color=colour, marker=marker, markersize=5, lw=1.2, capsize=3, label=name
            )
        axis.margins(y=0.15)
        axis.set_ylim(bottom=0.0)
        axis.set_ylabel(words)
        axis.set_xticks(delays)
        axis.grid(alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel("from image to chunk [ms]")
    handles, labels = flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
    save(figure, path)


def draw_motion(sent: Mapping[str, Sequence[Sent]], path: Path, delay_s: float) -> None:
    """Speed of the commanded target over one recording's first seconds, one panel a join; lines mark where a chunk took over."""
    figure, axes = panels(len(sent), 1, size=9.0, share=True, height=1.5)
    for (axis,), (name, each) in zip(axes, sent.items(), strict=True):
        motion, begin_ns = Motion(each), each[0].at_ns
        at_s = np.arange(0.0, _SHOWN_S, _GRID_S)
        position = motion.position((begin_ns + 1e9 * at_s).astype(np.int64))
        axis.plot(at_s[1:], np.linalg.norm(np.diff(position, axis=0), axis=1) / _GRID_S, color=DRAWN[name][0], lw=1.2)
        for other in each[1:]:
            taken_s = (other.at_ns - begin_ns) / 1e9
            if taken_s < _SHOWN_S:
                axis.axvline(taken_s, color="#7f7f7f", ls=":", lw=1)
        axis.set_title(f"{name}, chunks {1e3 * delay_s:.0f} ms late", fontsize=9, loc="left")
        axis.set_ylabel("m/s")
        axis.grid(alpha=0.3)
    axes[-1][0].set_xlabel("time [s]")
    save(figure, path)
