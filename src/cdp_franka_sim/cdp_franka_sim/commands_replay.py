"""`cdp replay`: a demonstration's actions through the guard, in simulation or on the arm."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdp_franka_sim.ros_launch import LaunchError, add_launch_option, run_launch_file, with_launch_option

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

EXAMPLES = """examples:
  cdp replay data/slide/demos.hdf5 --demo demo_3             in simulation, in the demonstration's own scene
  cdp replay data/slide/demos.hdf5 --demo demo_3 --lockstep  as fast as the nodes answer
  cdp replay data/slide/demos.hdf5 --robot-ip 172.16.0.2 --launch command_interface:=joint   on the arm, once you have engaged the guard
"""


def register(subparsers: SubParsers) -> None:
    """Add `replay` to the `cdp` command; found through the entry-point group ``cdp.commands``."""
    parser = subparsers.add_parser(
        "replay", help="replay a demonstration through the guard", epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="file of demonstrations")
    parser.add_argument("--demo", default="demo_0", help="demonstration (default demo_0)")
    parser.add_argument("--robot-ip", default="", help="address of the arm; without it in simulation")
    parser.add_argument("--lockstep", action="store_true", help="simulation only: as fast as the nodes answer")
    parser.add_argument("--out", type=Path, default=Path("runs/replay"), help="folder for results.json (default runs/replay)")
    add_launch_option(parser)
    parser.set_defaults(run=run_replay)


def run_replay(arguments: argparse.Namespace) -> int:
    """Replay; 0 where it ran to its end without a fault of the guard."""
    results_file = arguments.out / "results.json"
    results_file.unlink(missing_ok=True)
    simulated = not arguments.robot_ip
    launch_arguments: dict[str, Any] = {
        "file": arguments.file.resolve(),
        "demo": arguments.demo,
        "lockstep": arguments.lockstep and simulated,
        "reset": simulated,
        "engage": simulated,
        "output": arguments.out.resolve(),
    }
    if not simulated:
        launch_arguments["robot_ip"] = arguments.robot_ip
    try:
        status = run_launch_file("cdp_policy_node", "replay.launch.py", with_launch_option(launch_arguments, arguments.launch))
    except LaunchError as error:
        sys.stderr.write(f"cdp replay: {error}\n")
        return 1
    if not results_file.exists():
        sys.stderr.write("cdp replay: failed before its end; the messages above say why\n")
        return status or 1
    results = json.loads(results_file.read_text(encoding="utf-8"))
    sys.stdout.write(f"cdp replay: {summary(results)}\n")
    return status or (0 if results["fault"] is None else 1)


def summary(results: dict[str, Any]) -> str:
    """The figures of a replay in one line."""
    judged = {True: "the task succeeded", False: "the task did not succeed", None: "success not judged"}[results["success"]]
    if results["fault"] is not None:
        judged = f"the guard stopped it: {results['fault']}"
    error = results.get("position_error_mm")
    followed = f"off the recording by {error['rms']:.1f} mm rms, at most {error['max']:.1f} mm" if error else "no pose was measured"
    return f"{results['demo']} of {results['rows']} rows: {judged}; {followed}; {results['rejected_actions']} actions refused"
