"""A session that is told to send nothing for now: silent with the reason, still looking, and on again with a fresh chunk."""

import numpy as np
import pytest

from cdp.bundle import Bundle
from cdp.runtime import PolicyRuntime, RuntimeConfig
from cdp.runtime.session import Level, PolicySession, Source, State

FRAME_NS = 33_333_333
CAMERA = "agentview_image"
SOURCES = {
    CAMERA: Source("/camera", 0.5),
    "eef_pose": Source("/pose", 0.2),
    "gripper_width": Source("/gripper", 0.2),
    "joint_pos": Source("/joints", 0.2),
}
REASON = "the observation is unlike the training data"


@pytest.fixture(scope="module")
def runtime(tiny_bundle):
    return PolicyRuntime(Bundle.open(tiny_bundle), RuntimeConfig(backend="onnxruntime"))


class Rig:
    """A session in front of an alive robot."""

    def __init__(self, runtime):
        self.session, self.now_ns = PolicySession(runtime, SOURCES, 4), 1_000_000_000_000
        self.session.start(self.now_ns)

    def run(self, frames):
        """Answers and events of so many camera periods."""
        answers = []
        for _ in range(frames):
            self.session.check(self.now_ns)
            for stream, value in (("eef_pose", [0.5, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0]), ("gripper_width", [0.08])):
                answers += self.session.add_sample(stream, self.now_ns, value, self.now_ns)
            answers += self.session.add_image(self.now_ns, np.full((48, 64, 3), 90, dtype=np.uint8), self.now_ns)
            self.now_ns += FRAME_NS
        return answers, self.session.take_events()


def test_withheld_is_silent_with_the_reason_and_goes_on_with_a_chunk(runtime):
    rig = Rig(runtime)
    assert rig.session.seen_ns is None
    answers, events = rig.run(30)
    assert answers and not events and rig.session.state is State.RUNNING
    rig.session.withhold(REASON)
    answers, events = rig.run(30)
    assert answers == [] and rig.session.state is State.WAITING and rig.session.message == REASON
    assert [e.level for e in events] == [Level.ERROR] and REASON in events[0].text, "said more or less than once"
    assert rig.now_ns - rig.session.seen_ns <= 4 * FRAME_NS, "nobody looks, so nobody could see that it is familiar again"
    assert rig.session.window()["image"].shape[0] == runtime.bundle.policy.observation.window
    rig.session.withhold("")
    answers, events = rig.run(12)
    assert answers[0].prediction is not None, "goes on with a plan from before"
    assert [e.level for e in events] == [Level.INFO] and rig.session.state is State.RUNNING


def test_a_dead_stream_is_named_before_what_is_withheld_and_both_have_to_end(runtime):
    rig = Rig(runtime)
    rig.run(30)
    rig.session.withhold(REASON)
    rig.now_ns += 2_000_000_000
    rig.session.check(rig.now_ns)
    assert "old, more than" in rig.session.message
    answers, _ = rig.run(12)
    assert answers == [] and rig.session.message == REASON
