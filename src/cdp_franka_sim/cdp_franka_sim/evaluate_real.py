"""`cdp eval --real`: rollouts on the arm, or on the simulated one through the same nodes, confirmed and judged one by one."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cdp.bundle import Bundle
from cdp.bundle.manifest import MANIFEST, sha256_of
from cdp.config import ConfigError
from cdp.evaluation.compare import compare, text_table
from cdp.evaluation.parts import Person
from cdp.evaluation.persons import Answers, Simulated, TerminalPerson
from cdp.evaluation.plan import Candidate, make_plan
from cdp.evaluation.results import NAME, Evaluation, EvaluationError, open_evaluation
from cdp.evaluation.session import Session
from cdp.evaluation.sheet import PAGE, PICTURES, write_sheet
from cdp.evaluation.starts import StartPictures, undescribed
from cdp_franka_sim.ros_launch import LaunchError, isolated_environment, launched, with_launch_option

LAUNCH_LOG = "launch.log"
_STAND_IN = "--yes and --answers confirm for you: they are for the simulated arm only, leave out --robot-ip and --attach"


def run_real(arguments: argparse.Namespace) -> int:
    """Run what is pending of the evaluation and write its sheet; 0 when it is complete, 1 when something is left to do.

    Raises EvaluationError, BundleError or LaunchError where it cannot begin or go on; results so far are kept.
    """
    simulated = not arguments.robot_ip and not arguments.attach
    if (arguments.yes or arguments.answers) and not simulated:
        raise EvaluationError(_STAND_IN)
    if arguments.launch and arguments.attach:
        raise LaunchError("--launch is for the nodes that this command starts; with --attach give it to `ros2 launch` instead")
    if arguments.lockstep and not simulated:
        raise EvaluationError("--lockstep is of the simulated arm: leave out --robot-ip and --attach")
    candidates, task = _candidates(arguments.bundle)
    out = (arguments.out or Path("runs") / f"real-{task}").resolve()
    plan = make_plan([c.name for c in candidates], arguments.episodes, arguments.seed, arguments.order_seed)
    evaluation = open_evaluation(out / NAME, _setup(arguments, task, simulated), candidates, plan, resume=arguments.resume)
    person = _person(arguments)
    complete = False
    try:
        complete = not evaluation.pending or _run(arguments, evaluation, person, task, out, simulated)
    finally:
        _finish(evaluation, out)
    if not complete:
        sys.stdout.write(f"cdp eval: {len(evaluation.pending)} of {len(plan)} rollouts are left; go on by the same command with --resume\n")
    return 0 if complete else 1


def _candidates(folders: list[Path]) -> tuple[list[Candidate], str]:
    """The bundles, verified; named by their folder, or by the path where two folders have one name."""
    bundles = [Bundle.open(folder) for folder in folders]
    tasks = sorted({bundle.policy.task for bundle in bundles})
    if len(tasks) != 1:
        raise EvaluationError(f"the bundles were trained for different tasks ({', '.join(tasks)}): compare those of one task")
    paths = [folder.resolve() for folder in folders]
    short = [path.name for path in paths]
    names = short if len(set(short)) == len(short) else [str(folder) for folder in folders]
    return [Candidate(n, str(p), sha256_of(p / MANIFEST)) for n, p in zip(names, paths, strict=True)], tasks[0]


def _setup(arguments: argparse.Namespace, task: str, simulated: bool) -> dict[str, Any]:
    """What decides whether two sittings are one evaluation."""
    return {
        "task": task,
        "robot": "simulation, in lock-step" if arguments.lockstep else "simulation, in real time" if simulated else "arm",
        "starts": arguments.episodes,
        "seed": arguments.seed,
        "order_seed": arguments.order_seed,
        "timeout_s": arguments.timeout_s,
        "takeover": arguments.takeover,
        "blind": arguments.blind,
        "sampler": _sampler(arguments),
        # How the arm is driven decides too; absent where nothing was said, as in evaluations from before there was the option.
        **({"launch": sorted(arguments.launch)} if arguments.launch else {}),
    }


def _sampler(arguments: argparse.Namespace) -> dict[str, Any]:
    """Parameters of the policy node; 0 steps and no solver: as each bundle was measured."""
    return {
        "steps": arguments.steps or 0,
        "solver": arguments.solver or "",
        "backend": arguments.backend,
        "temperature": arguments.temperature,
    }


def _person(arguments: argparse.Namespace) -> Person:
    if arguments.answers:
        return Answers.read(arguments.answers)
    return Simulated() if arguments.yes else TerminalPerson(arguments.operator)


def _run(arguments: argparse.Namespace, evaluation: Evaluation, person: Person, task: str, out: Path, simulated: bool) -> bool:
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from cdp_franka_sim.rollout_robot import RolloutRobot, RolloutSettings
    from cdp_franka_sim.ros_calls import Interrupt

    with contextlib.ExitStack() as stack:
        if simulated:
            os.environ.update(isolated_environment())
        alive = stack.enter_context(_nodes(arguments, evaluation, task, out))
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        stack.callback(rclpy.try_shutdown)
        drawn = _drawn(task)
        if drawn is not None:
            stack.callback(drawn.close)
        interrupt = stack.enter_context(Interrupt())
        settings = RolloutSettings(
            task, arguments.operator, arguments.timeout_s, arguments.takeover == "end", simulated, arguments.image_topic, _sampler(arguments)
        )
        robot = RolloutRobot(settings, alive, interrupt, hand_m=None if drawn is None else drawn.hand_m)
        stack.callback(robot.close)
        starts = StartPictures(out / "starts", undescribed if drawn is None else drawn.describe, robot.camera)
        return Session(evaluation, robot, person, starts, blind=arguments.blind).run()


@contextlib.contextmanager
def _nodes(arguments: argparse.Namespace, evaluation: Evaluation, task: str, out: Path) -> Iterator[Any]:
    """The nodes, for as long as the block; gives a function that raises EvaluationError once they have ended."""
    if arguments.attach:
        yield lambda: None
        return
    log_path = out / LAUNCH_LOG
    scripted = arguments.yes or arguments.answers
    launch_arguments = {
        # An argument without a value is none.
        **({"robot_ip": arguments.robot_ip} if arguments.robot_ip else {}),
        "task": task,
        "bundle": evaluation.candidates[0].path,
        "lockstep": arguments.lockstep,
        "device": arguments.device or ("none" if scripted else "auto"),
        "directory": out / "episodes",
        "image_topic": arguments.image_topic,
    }
    launch_arguments = with_launch_option(launch_arguments, arguments.launch)
    with log_path.open("ab") as log, launched("cdp_policy_node", "evaluate.launch.py", launch_arguments, os.environ, log) as process:

        def alive() -> None:
            if process.poll() is not None:
                raise EvaluationError(f"the nodes have ended (status {process.returncode}); {log_path} says why. What was finished is kept: --resume")

        yield alive


def _drawn(task: str) -> Any:
    """Words and pictures of the task's starts; None for a task that is not simulated here, or where it cannot be drawn."""
    from cdp_franka_sim.assets import AssetError
    from cdp_franka_sim.camera import RenderError
    from cdp_franka_sim.start_pose import DrawnStarts

    try:
        return DrawnStarts(task)
    except (ConfigError, AssetError, RenderError) as error:
        sys.stderr.write(f"cdp eval: starts are not drawn: {error}\n")
        return None


def _finish(evaluation: Evaluation, out: Path) -> None:
    """Sheet and table of the results so far."""
    if not evaluation.results:
        return
    _pictures(evaluation, out)
    evaluation.write({"comparison": write_sheet(evaluation, out)})
    sys.stdout.write(f"\n{text_table(*compare(evaluation))}\nsheet {out / PAGE}, results {evaluation.path}\n")


def _pictures(evaluation: Evaluation, out: Path) -> None:
    from cdp.data.episode import EpisodeError, EpisodeReader
    from cdp.data.streams import IMAGE_STREAM
    from cdp_franka_sim.episode_media import ContactSheet

    order = {candidate.name: k for k, candidate in enumerate(evaluation.candidates)}
    sheet = ContactSheet()
    for result in sorted(evaluation.results, key=lambda r: (r.start, order[r.policy])):
        try:
            with EpisodeReader(out / result.recording) as episode:
                count = len(episode.stamps_ns(IMAGE_STREAM))
                for index in (0, count // 2, count - 1) if count else ():
                    sheet.add(episode.image(index))
        except EpisodeError as error:
            sys.stderr.write(f"cdp eval: no pictures of rollout {result.index}: {error}\n")
        sheet.end_episode(f"{result.policy}, start {result.start}: {result.reason}, {result.duration_s:.1f} s", result.success)
    sheet.write(out / PICTURES, columns=len(order))
