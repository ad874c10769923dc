"""The options of `cdp eval --real`."""

from __future__ import annotations

import argparse
from pathlib import Path

from cdp_franka_sim.ros_launch import add_launch_option


def add_real_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of rollouts with a person beside the arm."""
    real = parser.add_argument_group("with --real", "rollouts on the arm, or on the simulated one through the same nodes: see docs/evaluation.md")
    real.add_argument("--real", action="store_true", help="prompt before, record and label every rollout, compare the bundles at the end")
    real.add_argument("--robot-ip", default="", help="address of the FR3; without it the simulated arm stands in")
    add_launch_option(real)
    real.add_argument("--attach", action="store_true", help="use nodes that run already (evaluate.launch.py) instead of starting them")
    real.add_argument("--blind", action="store_true", help="do not tell which bundle runs")
    real.add_argument("--resume", action="store_true", help="go on with the evaluation in --out")
    real.add_argument(
        "--takeover",
        default="end",
        choices=["end", "go-on"],
        help="a stroke of the operator ends the rollout (default), or is counted",
    )
    real.add_argument("--operator", default="", help="name of the operator, for the labels and the recordings")
    real.add_argument("--order-seed", type=int, default=0, help="seed of the order of the bundles within each start (default 0)")
    real.add_argument(
        "--device", default="", choices=["", "auto", "spacenavd", "hidraw", "spacenav", "joy", "none"], help="teleoperation device for takeover"
    )
    real.add_argument("--image-topic", default="/agentview/image_raw", help="topic of the agent-view camera")
    answering = real.add_mutually_exclusive_group()
    answering.add_argument("--yes", action="store_true", help="simulated arm only: confirm everything, the simulator judges")
    answering.add_argument("--answers", type=Path, default=None, help="simulated arm only: a file of answers, one a line; auto takes the simulator's")
