"""The order in which an episode asks its peers, which are recorded here instead of asked."""

import threading
from types import SimpleNamespace

import pytest

rclpy = pytest.importorskip("rclpy")

from cdp_ros.domain import own_domain  # noqa: E402
from cdp_ros.stamps import ns_to_stamp  # noqa: E402
from geometry_msgs.msg import PoseStamped  # noqa: E402

from cdp_franka_sim import episode_runner  # noqa: E402
from cdp_franka_sim.episode_peers import EpisodeError, StoppedError  # noqa: E402


class Peers:
    """Writes down what is asked."""

    def __init__(self, node, recording, stop):
        self.asked = []

    def until(self, condition, deadline_s, what):
        assert condition()

    def policy_inactive(self):
        self.asked.append("policy inactive")

    def policy_active(self):
        self.asked.append("policy active")

    def engaged(self, wanted):
        self.asked.append("engaged" if wanted else "disengaged")

    def reset(self, seed, hold):
        self.asked.append(f"scene {seed}")
        return 1_000_000_000

    def spin(self):
        pass

    def release(self):
        self.asked.append("released")

    def close(self):
        pass


@pytest.fixture
def runner(tmp_path, monkeypatch, request):
    monkeypatch.setattr(episode_runner, "Peers", Peers)
    lockstep = str(getattr(request, "param", False)).lower()
    rclpy.init(args=["--ros-args", "-p", f"output:={tmp_path}", "-p", f"use_sim_time:={lockstep}"], domain_id=own_domain())
    made = episode_runner.EpisodeRunner(threading.Event())
    yield made
    made.destroy_node()
    rclpy.shutdown()


def succeed(runner):
    runner._ear.task = SimpleNamespace(header=SimpleNamespace(stamp=ns_to_stamp(2_000_000_000)), success=True, distance_m=0.01)
    runner._ear.guard = SimpleNamespace(state=0, message="")


def test_no_policy_is_left_active_after_the_episodes(runner):
    """Catches a policy that moves the arm as soon as somebody engages the guard after the episodes."""
    succeed(runner)
    assert runner._episode(7).success
    runner.finish()
    assert runner._peers.asked == ["policy inactive", "disengaged", "scene 7", "engaged", "policy active", "disengaged", "released"]


@pytest.mark.parametrize("runner", [True], indirect=True)
def test_in_lock_step_no_policy_is_active_before_a_command_is_heard(runner, monkeypatch):
    """Catches a digest that lacks the first command, which was sent before guard and runner knew each other."""
    succeed(runner)

    def until(condition, deadline_s, what):
        if "first command" in what:
            assert not condition()
            runner._peers.asked.append("waited")
            runner._ear.digest.add(1_000_000_000, PoseStamped())
            runner._ear.digest.add(2_000_000_000, PoseStamped())
        assert condition(), what

    monkeypatch.setattr(runner._peers, "until", until)
    assert runner._episode(7).commands.startswith("2 ")
    assert runner._peers.asked == ["policy inactive", "disengaged", "scene 7", "engaged", "waited", "policy active", "disengaged"]


def test_an_episode_that_is_broken_off_leaves_nothing_that_moves_the_arm(runner, monkeypatch):
    """Catches a Ctrl-C, or a simulator that falls silent, with the guard engaged and the policy active."""
    succeed(runner)

    def stopped():
        raise StoppedError

    monkeypatch.setattr(runner._peers, "spin", stopped)
    with pytest.raises(StoppedError):
        runner._episode(7)
    runner.finish()
    assert runner._peers.asked[-2:] == ["policy active", "released"]


def test_an_episode_that_was_run_is_kept_when_the_guard_has_died(runner, monkeypatch):
    """Catches a result that is lost with the answer of a dead node."""
    succeed(runner)

    def dead(wanted):
        if runner.results.episodes:
            raise EpisodeError("no answer")

    monkeypatch.setattr(runner._peers, "engaged", dead)
    with pytest.raises(EpisodeError):
        runner._episode(7)
    runner.finish()
    assert [episode.seed for episode in runner.results.episodes] == [7]
    assert runner._peers.asked[-1] == "released"
