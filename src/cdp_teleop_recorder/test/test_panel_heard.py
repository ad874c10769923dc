"""What the panel says of the nodes, from what they said and when."""

import pytest
from cdp_msgs.msg import GuardStatus, PolicyStatus, RecorderStatus

from cdp_teleop_recorder.panel.heard import SILENT_S, WRITING_S, Board, Mood


class Scene:
    def __init__(self, recorders=1):
        self.now_s, self.recorders = 100.0, recorders
        self.board = Board(lambda: self.recorders, lambda: self.now_s)


@pytest.mark.parametrize(
    ("state", "duration_s", "mood", "in_episode", "may_begin"),
    [
        (RecorderStatus.STATE_IDLE, 0.0, Mood.IDLE, False, True),
        (RecorderStatus.STATE_RECORDING, 2.0, Mood.RECORDING, True, False),
        (RecorderStatus.STATE_WRITING, 2.0, Mood.WRITING, False, False),
        (RecorderStatus.STATE_FAULT, 0.0, Mood.FAULT, False, True),
        # Writing has failed in an episode that is still in progress: it can be ended, and no other begun.
        (RecorderStatus.STATE_FAULT, 2.0, Mood.FAULT, True, False),
    ],
)
def test_what_is_offered_in_each_state(state, duration_s, mood, in_episode, may_begin):
    scene = Scene()
    scene.board.hear_recorder(RecorderStatus(state=state, duration_s=duration_s, message="why"))
    view = scene.board.recorder()
    assert (view.mood, view.in_episode, view.may_begin) == (mood, in_episode, may_begin)
    assert view.advice == ("why" if mood is Mood.FAULT else "")


def test_a_recorder_that_never_was_or_has_gone_is_said_with_what_to_do():
    scene = Scene(recorders=0)
    assert scene.board.recorder().mood is Mood.GONE
    scene.board.hear_recorder(RecorderStatus())
    assert scene.board.recorder().mood is Mood.IDLE
    scene.now_s += SILENT_S + 0.1
    view = scene.board.recorder()
    assert view.mood is Mood.GONE and "record.launch.py" in view.advice and view.status is None and not view.may_begin


def test_a_recorder_that_is_there_and_says_nothing_is_no_idle_one():
    scene = Scene()
    assert scene.board.recorder().mood is Mood.SILENT
    scene.board.hear_recorder(RecorderStatus(state=RecorderStatus.STATE_RECORDING))
    scene.now_s += SILENT_S + 4.0
    view = scene.board.recorder()
    assert view.mood is Mood.SILENT and "7 s" in view.advice and not view.in_episode
    scene.board.hear_recorder(RecorderStatus(state=RecorderStatus.STATE_RECORDING))
    assert scene.board.recorder().mood is Mood.RECORDING


def test_writing_is_silent_for_a_while():
    scene = Scene()
    scene.board.hear_recorder(RecorderStatus(state=RecorderStatus.STATE_WRITING))
    scene.now_s += WRITING_S - 1.0
    assert scene.board.recorder().mood is Mood.WRITING
    scene.now_s += 2.0
    assert scene.board.recorder().mood is Mood.SILENT


def test_guard_and_policy_by_state_and_reason_and_their_silence():
    scene = Scene()
    assert scene.board.guard().colour == scene.board.policy().colour == "none"
    scene.board.hear_guard(GuardStatus(state=GuardStatus.STATE_FAULT, reason=GuardStatus.REASON_JOINT_LIMIT, message="joint 4; engage anew"))
    guard = scene.board.guard()
    assert (guard.state, guard.text, guard.colour) == ("FAULT", "joint limit: joint 4; engage anew", "bad")
    scene.board.hear_policy(PolicyStatus(state=PolicyStatus.STATE_RUNNING, bundle="slide", chunks=9, late_chunks=2, inference_ms=31.0))
    policy = scene.board.policy()
    assert (policy.state, policy.text, policy.colour) == ("RUNNING", "slide, 31 ms, 2 of 9 late", "good")
    scene.now_s += SILENT_S + 1.0
    assert scene.board.guard().state == scene.board.policy().state == "SILENT" and scene.board.guard().colour == "bad"
