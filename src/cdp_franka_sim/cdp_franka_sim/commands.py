"""The simulator's commands of `cdp`: `eval` runs a policy on seeded episodes, `demos` records demonstrations by the scripted operator."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdp_franka_sim.commands_real import add_real_arguments
from cdp_franka_sim.episode_results import summary_line
from cdp_franka_sim.ros_launch import LaunchError, run_launch_file

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

EVAL_EXAMPLES = """examples:
  cdp eval models/slide --episodes 20 --seed 100000             through the nodes, in real time
  cdp eval models/slide --episodes 20 --seed 100000 --lockstep  through the nodes, as fast as they answer
  cdp eval models/slide --episodes 20 --via process             the same loop in one process, without ROS
  cdp eval models/a models/b --real --robot-ip 172.16.0.2 --launch command_interface:=joint
                                                                20 rollouts of each on the arm, with a person (docs/evaluation.md)
"""
DEMOS_EXAMPLES = """examples:
  cdp demos --episodes 120 --seed 0 --out data/slide   120 successful episodes, collected into data/slide/demos.hdf5
"""


def register_eval(subparsers: SubParsers) -> None:
    """Add `eval` to the `cdp` command; found through the entry-point group ``cdp.commands``."""
    parser = subparsers.add_parser(
        "eval",
        help="run policies on seeded episodes in simulation, or on the arm with a person",
        epilog=EVAL_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", type=Path, nargs="+", help="policy bundle, e.g. models/slide; several with --real")
    parser.add_argument("--episodes", type=_positive, default=20, help="episodes to run (default 20)")
    parser.add_argument("--seed", type=int, default=100_000, help="scene seed of the first episode (default 100000, far from the demonstrations')")
    parser.add_argument("--steps", type=_positive, default=None, help="sampling steps (default 3; with --real as each bundle was measured)")
    parser.add_argument("--solver", default=None, choices=["ddim", "dpmpp_2m"], help="(default ddim; with --real as each bundle was measured)")
    parser.add_argument("--backend", default="openvino", choices=["openvino", "onnxruntime"])
    parser.add_argument("--temperature", type=float, default=1.0, help="standard deviation of the initial noise, 0 to 2 (default 1, as trained)")
    parser.add_argument("--via", default="nodes", choices=["nodes", "process"], help="through the ROS 2 nodes (default) or in one process")
    parser.add_argument("--lockstep", action="store_true", help="nodes only: as fast as the nodes answer instead of in real time")
    parser.add_argument("--timeout-s", type=float, default=25.0, help="time limit of an episode, of the simulation [s] (default 25)")
    parser.add_argument("--min-success", type=float, default=0.0, help="exit 1 when the success rate is below this (default 0)")
    parser.add_argument("--out", type=Path, default=None, help="folder for results.json, video and contact sheet (default runs/eval-<bundle>)")
    parser.add_argument("--record", action="store_true", help="write the command and its figures into the bundle's card and report")
    add_real_arguments(parser)
    parser.set_defaults(run=run_eval)


def register_demos(subparsers: SubParsers) -> None:
    """Add `demos` to the `cdp` command; found through the entry-point group ``cdp.commands``."""
    parser = subparsers.add_parser(
        "demos",
        help="record demonstrations by the scripted operator, through teleop, guard and recorder",
        epilog=DEMOS_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--task", default="slide", help="task to record (default slide)")
    parser.add_argument("--episodes", type=_positive, default=120, help="successful episodes to keep (default 120)")
    parser.add_argument("--seed", type=int, default=0, help="scene seed of the first episode (default 0)")
    parser.add_argument("--real-time", action="store_true", help="in real time instead of in lock-step")
    parser.add_argument("--image-size", type=_positive, default=96, help="side of the collected images [px] (default 96)")
    parser.add_argument("--out", type=Path, default=Path("data/slide"), help="folder; must hold no episodes yet (default data/slide)")
    parser.set_defaults(run=run_demos)


def run_eval(arguments: argparse.Namespace) -> int:
    """Run the episodes, print the figures as the last line; 1 when a run failed or the success rate is below ``--min-success``."""
    if arguments.real:
        from cdp_franka_sim.evaluate_real import run_real

        return run_real(arguments)
    if arguments.launch:
        sys.stderr.write("cdp eval: --launch is for --real; without it use `ros2 launch cdp_policy_node franka_slide.launch.py`\n")
        return 2
    if len(arguments.bundle) != 1:
        sys.stderr.write("cdp eval: one bundle at a time in simulation; several are compared with --real\n")
        return 2
    (arguments.bundle,) = arguments.bundle
    arguments.steps, arguments.solver = arguments.steps or 3, arguments.solver or "ddim"
    out = arguments.out or Path("runs") / f"eval-{arguments.bundle.name}"
    results_file = out / "results.json"
    results_file.unlink(missing_ok=True)
    if arguments.via == "process":
        from cdp_franka_sim.evaluate import evaluate_in_process

        status = evaluate_in_process(arguments, out)
    else:
        status = _eval_through_nodes(arguments, out)
    status = _report("eval", status, results_file, arguments.min_success, arguments.episodes)
    if arguments.record and results_file.exists():
        _record(arguments, json.loads(results_file.read_text(encoding="utf-8")))
    return status


def _record(arguments: argparse.Namespace, results: dict[str, Any]) -> None:
    from cdp.bundle.annotate import annotate

    mode = " --via process" if arguments.via == "process" else " --lockstep" if arguments.lockstep else ""
    temperature = "" if arguments.temperature == 1.0 else f" --temperature {arguments.temperature:g}"
    command = (
        f"cdp eval {arguments.bundle} --episodes {arguments.episodes} --seed {arguments.seed} --steps {arguments.steps} "
        f"--solver {arguments.solver} --backend {arguments.backend}{temperature}{mode}"
    )
    kind = {"": "through the nodes in real time", " --lockstep": "through the nodes in lock-step", " --via process": "in one process"}[mode]
    heading = f"Evaluation {kind}"
    figures = {key: value for key, value in results.items() if key not in ("files", "format")}
    text = f"```sh\n{command}\n```\n\n{summary_line({**results, 'files': {}})}."
    annotate(arguments.bundle, heading, text, heading.lower().replace(" ", "_").replace("-", "_"), {"command": command, **figures})


def _eval_through_nodes(arguments: argparse.Namespace, out: Path) -> int:
    bundle = arguments.bundle.resolve() if arguments.bundle.exists() else arguments.bundle
    launch_arguments: dict[str, Any] = {
        "bundle": bundle,
        "steps": arguments.steps,
        "solver": arguments.solver,
        "backend": arguments.backend,
        "temperature": arguments.temperature,
        "episodes": arguments.episodes,
        "seed": arguments.seed,
        "timeout_s": arguments.timeout_s,
        "lockstep": arguments.lockstep,
        "output": out.resolve(),
    }
    return _launched("franka_slide.launch.py", launch_arguments)


def run_demos(arguments: argparse.Namespace) -> int:
    """Record, collect into one robomimic-layout file, validate it; the figures are the last line."""
    episodes_dir = arguments.out / "episodes"
    if episodes_dir.exists() and any(episodes_dir.iterdir()):
        sys.stderr.write(f"cdp demos: {episodes_dir} already holds episodes; nothing was touched. Give another --out or move them away.\n")
        return 2
    launch_arguments: dict[str, Any] = {
        "operator": "scripted",
        "task": arguments.task,
        "episodes": arguments.episodes,
        "seed": arguments.seed,
        "lockstep": not arguments.real_time,
        "directory": episodes_dir.resolve(),
        "output": arguments.out.resolve(),
    }
    status = _launched("record.launch.py", launch_arguments)
    if status == 0:
        from cdp.cli import main as cdp_main

        status = cdp_main(["data", "collect", str(episodes_dir), "-o", str(arguments.out / "demos.hdf5"), "--image-size", str(arguments.image_size)])
    return _report("demos", status, arguments.out / "results.json", 0.0, arguments.episodes)


def _launched(launch_file: str, arguments: dict[str, Any]) -> int:
    try:
        return run_launch_file("cdp_policy_node", launch_file, arguments)
    except LaunchError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _report(command: str, status: int, results_file: Path, min_success: float, wanted: int) -> int:
    if not results_file.exists():
        sys.stderr.write(f"cdp {command}: failed before the first episode ended; the messages above say why\n")
        return status or 1
    results = json.loads(results_file.read_text(encoding="utf-8"))
    complete = results["successes" if command == "demos" else "trials"] >= wanted
    enough = bool(results["trials"]) and results["success_rate"] >= min_success
    verdict = "" if enough else f" BELOW --min-success {min_success:g}"
    verdict += "" if complete and status == 0 else f" INCOMPLETE ({wanted} wanted, status {status})"
    sys.stdout.write(f"cdp {command}: {summary_line(results)}{verdict}\n")
    return 0 if enough and complete and status == 0 else status or 1


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value
