"""`cdp eval --real` as a user types it, on the simulated arm in lock-step: robot, guard, policy node, recorder, prompts and sheet."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rclpy
from cdp_msgs.msg import GuardStatus
from cdp_ros.domain import own_domain
from geometry_msgs.msg import Twist
from loop_pass import ROOT, alive_in_domain
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Joy

from cdp.data.episode import EpisodeReader

SLIDE = ROOT / "models" / "slide"
# Solved by models/slide within 7 s of simulated time.
SEED = 100_000
DEADLINE_S = 280.0


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> str:
    own = str(own_domain())
    monkeypatch.setenv("ROS_DOMAIN_ID", own)
    return own


@pytest.fixture
def bundles(tmp_path: Path) -> list[Path]:
    return [Path(shutil.copytree(SLIDE, tmp_path / name)) for name in ("first", "second")]


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cdp.cli", "eval", *map(str, arguments), "--real", "--lockstep", "--backend", "onnxruntime"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ))


def finish(process: subprocess.Popen[str], log: Path) -> str:
    try:
        output, _ = process.communicate(timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
        pytest.fail(f"not done within {DEADLINE_S} s:\n{output[-3000:]}\n{log.read_text()[-3000:]}")
    return output


def results(out: Path) -> dict:
    return json.loads((out / "evaluation.json").read_text())


@pytest.mark.timeout(DEADLINE_S + 60)
@pytest.mark.long
def test_two_bundles_by_a_file_of_answers_are_recorded_labelled_and_compared(tmp_path: Path, bundles: list[Path], domain: str):
    out, answers = tmp_path / "out", tmp_path / "answers.txt"
    answers.write_text("overlay\ngo\nauto\ngo\ny\n")
    process = start(*bundles, "--episodes", 1, "--seed", SEED, "--timeout-s", 1.5, "--answers", answers, "--operator", "ada", "--out", out)
    output = finish(process, out / "launch.log")
    assert process.returncode == 0, output + (out / "launch.log").read_text()[-3000:]
    assert alive_in_domain(domain) == []
    kept = results(out)
    assert sorted(r["policy"] for r in kept["rollouts"]) == ["first", "second"]
    # Neither can push the block home in so short a time; the second was called a success by the script all the same.
    assert [(r["reason"], r["success"], r["judge"]) for r in kept["rollouts"]] == [("timeout", False, "script"), ("timeout", True, "script")]
    hashes = {p["name"]: p["sha256"] for p in kept["policies"]}
    for r in kept["rollouts"]:
        assert r["chunks"] > 0 and 1.5 <= r["duration_s"] < 5.0
        with EpisodeReader(out / r["recording"]) as episode:
            labels = episode.labels
            assert labels.labelled and labels.success == r["success"]
            assert f"rollout {r['index']}," in labels.note and f"bundle {r['policy']} {hashes[r['policy']]}" in labels.note
            assert episode.info.seed == SEED and episode.info.operator == "ada" and episode.info.task == "slide"
            sources = set(episode.column("action", "source").tolist())
            assert sources == {2}, "the policy's actions are in the recording"
    assert [row["successes"] for row in sorted(kept["comparison"]["policies"], key=lambda row: row["policy"])] == [
        int(r["success"]) for r in sorted(kept["rollouts"], key=lambda r: r["policy"])
    ]
    assert all((out / name).stat().st_size > 1000 for name in ("comparison.html", "comparison.png", "contact_sheet.png", "starts/overlay.png"))
    assert "the hand is 0 mm from its start" in output and "mean difference" in output


@pytest.mark.timeout(2 * DEADLINE_S + 60)
@pytest.mark.long
def test_an_interrupted_evaluation_loses_nothing_and_goes_on_until_the_simulator_is_content(tmp_path: Path, domain: str):
    out, arguments = tmp_path / "out", [SLIDE, "--episodes", 2, "--seed", SEED - 1, "--timeout-s", 1.0, "--yes", "--out", tmp_path / "out"]
    process = start(*arguments)
    deadline = time.monotonic() + DEADLINE_S
    # In the second rollout, while it is being recorded.
    while not ((out / "evaluation.json").exists() and results(out)["rollouts"] and list((out / "episodes").glob(".*.journal"))):
        assert process.poll() is None and time.monotonic() < deadline, finish(process, out / "launch.log")
        time.sleep(0.01)
    first = results(out)["rollouts"]
    process.send_signal(signal.SIGINT)
    output = finish(process, out / "launch.log")
    assert process.returncode == 130, output
    assert alive_in_domain(domain) == [] and results(out)["rollouts"] == first
    assert "Traceback" not in output
    resumed = start(*arguments, "--resume")
    output = finish(resumed, out / "launch.log")
    assert resumed.returncode == 0, output
    kept = results(out)
    assert kept["rollouts"][0] == first[0] and [r["index"] for r in kept["rollouts"]] == [0, 1]
    assert all(r["judge"] == "simulator" for r in kept["rollouts"])
    assert not list((out / "episodes").glob(".*")), "an unfinished recording was left behind"


@pytest.mark.timeout(DEADLINE_S + 60)
@pytest.mark.long
def test_the_simulators_success_ends_a_rollout_before_its_time(tmp_path: Path, domain: str):
    out = tmp_path / "out"
    process = start(SLIDE, "--episodes", 1, "--seed", SEED, "--timeout-s", 20, "--yes", "--out", out)
    output = finish(process, out / "launch.log")
    assert process.returncode == 0, output
    (rollout,) = results(out)["rollouts"]
    assert rollout["success"] and rollout["reason"] == "success" and rollout["judge"] == "simulator" and rollout["duration_s"] < 15.0


class Hand:
    """A hand on the SpaceMouse's topics; ``state`` is what the guard does."""

    def __init__(self, domain: str):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=int(domain))
        self.node = rclpy.create_node("hand", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.joy = self.node.create_publisher(Joy, "/spacenav/joy", 10)
        self.twist = self.node.create_publisher(Twist, "/spacenav/twist", 10)
        self.states: list[int] = []
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(GuardStatus, "/cdp/guard/status", lambda m: self.states.append(m.state), latched)

    def hold(self, deadman: bool) -> None:
        self.joy.publish(Joy(buttons=[int(deadman), 0]))
        self.twist.publish(Twist())
        self.executor.spin_once(timeout_sec=0.02)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.mark.timeout(DEADLINE_S + 60)
@pytest.mark.long
def test_a_hand_on_the_deadman_takes_over_ends_the_rollout_and_keeps_the_arm(tmp_path: Path, domain: str):
    out, answers = tmp_path / "out", tmp_path / "answers.txt"
    answers.write_text("go\nauto\n")
    process = start(SLIDE, "--episodes", 1, "--seed", SEED + 5, "--timeout-s", 60, "--answers", answers, "--device", "spacenav", "--out", out)
    hand = Hand(domain)
    try:
        deadline = time.monotonic() + DEADLINE_S
        while process.poll() is None and not ((out / "evaluation.json").exists() and results(out)["rollouts"]):
            assert time.monotonic() < deadline, (out / "launch.log").read_text()[-3000:]
            hand.hold(GuardStatus.STATE_POLICY in hand.states)
    finally:
        hand.close()
    output = finish(process, out / "launch.log")
    assert process.returncode == 0, output + (out / "launch.log").read_text()[-3000:]
    (rollout,) = results(out)["rollouts"]
    assert (rollout["reason"], rollout["success"], rollout["interventions"], rollout["guard_holds"]) == ("operator_took_over", False, 1, 0)
    after = hand.states[hand.states.index(GuardStatus.STATE_POLICY) :]
    assert GuardStatus.STATE_OPERATOR in after and GuardStatus.STATE_REFUSING not in after, "who took over lost the arm"


def test_what_confirms_for_a_person_is_refused_on_the_arm(tmp_path: Path):
    for more in (["--yes", "--robot-ip", "192.0.2.1"], ["--yes", "--attach"]):
        command = [sys.executable, "-m", "cdp.cli", "eval", str(SLIDE), "--real", "--out", str(tmp_path / "out"), *more]
        refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert refused.returncode == 1 and "simulated arm only" in refused.stderr
    assert not (tmp_path / "out").exists(), "a refusal leaves nothing behind"
