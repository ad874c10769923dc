import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.bundle import Bundle
from cdp.config import ConfigError
from cdp.runtime import PolicyRuntime, RuntimeConfig
from cdp.runtime.session import Level, PolicySession, Source, State

MS = 1_000_000
FRAME = 33_333_333
CAMERA, POSE, GRIPPER = "agentview_image", "eef_pose", "gripper_width"
SOURCES = {CAMERA: Source("/camera", 0.5), POSE: Source("/pose", 0.2), GRIPPER: Source("/gripper", 0.2), "joint_pos": Source("/joints", 0.2)}
IMAGE = np.full((48, 64, 3), 90, dtype=np.uint8)
SAMPLES = {POSE: [0.5, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0], GRIPPER: [0.08]}


@pytest.fixture(scope="module")
def runtime(tiny_bundle):
    return PolicyRuntime(Bundle.open(tiny_bundle), RuntimeConfig(backend="onnxruntime"))


class Rig:
    """A session and its robot: every stream at its instant, answers and events kept."""

    def __init__(self, runtime, replan_ticks=4, start_ns=1000 * MS):
        self.session = PolicySession(runtime, SOURCES, replan_ticks)
        self.session.start(start_ns)
        self.now = start_ns
        self.answers, self.events = [], []

    def keep(self, answers):
        self.answers += answers
        self.events += self.session.take_events()

    def states(self, stamp, streams=SAMPLES):
        for name in streams:
            self.keep(self.session.add_sample(name, stamp, SAMPLES[name], self.now))

    def image(self, stamp, image=IMAGE):
        self.keep(self.session.add_image(stamp, image, self.now))

    def run(self, frames, streams=tuple(SAMPLES), camera=True, states_first=True):
        """``frames`` camera periods of an alive robot from now on."""
        for _ in range(frames):
            if states_first:
                self.states(self.now, streams)
            if camera:
                self.image(self.now)
            if not states_first:
                self.states(self.now, streams)
            self.session.check(self.now)
            self.keep([])
            self.now += FRAME

    def chunks(self):
        return [a.observation_stamp_ns for a in self.answers if a.prediction is not None]


@settings(max_examples=12, deadline=None)
@given(replan=st.integers(1, 6), states_first=st.booleans(), frames=st.integers(1, 40))
def test_every_image_is_answered_and_every_nth_tick_with_a_chunk(runtime, replan, states_first, frames):
    rig = Rig(runtime, replan)
    start = rig.now
    rig.run(frames, states_first=states_first)
    images = [start + i * FRAME for i in range(frames)]
    assert [a.observation_stamp_ns for a in rig.answers] == images
    assert rig.chunks() == images[:: 3 * replan]
    assert rig.session.state is State.RUNNING and rig.events == []


def test_what_arrives_first_changes_nothing(runtime):
    def rows(states_first):
        rig = Rig(runtime)
        rig.run(30, states_first=states_first)
        return np.stack([a.prediction.rows for a in rig.answers if a.prediction is not None])

    np.testing.assert_array_equal(rows(True), rows(False))


def test_a_tick_waits_for_its_states_and_no_keep_alive_overtakes_it(runtime):
    rig = Rig(runtime)
    rig.run(12)
    rig.answers.clear()
    tick = rig.now
    rig.image(tick)
    rig.now += FRAME
    rig.image(rig.now)
    assert rig.answers == []
    rig.states(rig.now)
    assert [a.observation_stamp_ns for a in rig.answers] == [tick, tick + FRAME]
    assert [a.prediction is None for a in rig.answers] == [False, True]


@pytest.mark.parametrize("dead", [CAMERA, POSE, GRIPPER])
def test_a_dead_stream_stops_the_answers_is_said_once_and_recovers(runtime, dead):
    rig = Rig(runtime)
    rig.run(30)
    rig.answers.clear()
    died = rig.now
    rig.run(60, streams=[s for s in SAMPLES if s != dead], camera=dead != CAMERA)
    timeout = SOURCES[dead].timeout_s
    assert all(a.observation_stamp_ns <= died + timeout * 1000 * MS for a in rig.answers)
    assert rig.session.state is State.WAITING and SOURCES[dead].topic in rig.session.message
    assert [e.level for e in rig.events] == [Level.ERROR] and f"more than {timeout:g} s" in rig.events[0].text
    rig.answers.clear(), rig.events.clear()
    back = rig.now
    rig.run(15)
    assert [e.level for e in rig.events] == [Level.INFO]
    assert rig.session.state is State.RUNNING
    assert rig.answers[0].prediction is not None and back <= rig.answers[0].observation_stamp_ns <= back + 4 * FRAME


@pytest.mark.parametrize("absent", [CAMERA, POSE, GRIPPER])
def test_a_stream_that_never_came_is_named(runtime, absent):
    rig = Rig(runtime)
    rig.run(30, streams=[s for s in SAMPLES if s != absent], camera=absent != CAMERA)
    assert rig.answers == []
    assert len(rig.events) == 1 and f"nothing usable on {SOURCES[absent].topic}" in rig.events[0].text


def test_time_that_goes_back_empties_the_window_and_restarts_the_noise(runtime):
    rig = Rig(runtime)
    rig.run(31)
    first = [a.prediction.rows for a in rig.answers if a.prediction is not None]
    rig.answers.clear()
    rig.now = 1000 * MS
    rig.run(31)
    again = [a.prediction.rows for a in rig.answers if a.prediction is not None]
    assert rig.answers[0].observation_stamp_ns == 1000 * MS
    np.testing.assert_array_equal(np.stack(again), np.stack(first))
    assert [e.level for e in rig.events] == [Level.WARNING] and "time went back" in rig.events[0].text


def test_a_start_with_a_seed_draws_its_noise_from_it_and_the_next_start_does_not(runtime):
    def chunks(seed):
        rig = Rig(runtime)
        rig.session.start(rig.now, seed)
        rig.run(31)
        return np.stack([a.prediction.rows for a in rig.answers if a.prediction is not None])

    configured = chunks(None)
    np.testing.assert_array_equal(chunks(runtime.config.seed), configured)
    other = chunks(5)
    assert not np.array_equal(other, configured)
    np.testing.assert_array_equal(chunks(None), configured)
    np.testing.assert_array_equal(chunks(5), other)


def test_simulated_time_that_has_not_begun_is_no_fault(runtime):
    rig = Rig(runtime, start_ns=0)
    for stamp in range(0, 400 * MS, 10 * MS):
        rig.states(5_000 * MS + stamp)
    rig.image(5_000 * MS)
    assert rig.events == [] and len(rig.chunks()) == 1
    rig.now = 5_400 * MS
    rig.session.check(rig.now)
    rig.keep([])
    assert rig.events == []


def test_clocks_that_disagree_are_said(runtime):
    rig = Rig(runtime)
    rig.states(rig.now + 3_000 * MS)
    rig.image(rig.now + 3_000 * MS)
    assert rig.answers == []
    assert "3.00 s in the future" in rig.events[0].text and len(rig.events) == 1


def test_refused_messages_are_said_once_and_count_as_none(runtime):
    rig = Rig(runtime)
    rig.run(6)
    rig.answers.clear()
    for _ in range(20):
        rig.keep(rig.session.add_sample(POSE, rig.now, [np.nan] * 7, rig.now))
        rig.states(rig.now, [GRIPPER])
        rig.image(rig.now)
        rig.session.check(rig.now)
        rig.now += FRAME
    rig.keep([])
    assert len([e for e in rig.events if "ignored" in e.text]) == 1
    assert len([e for e in rig.events if "s old" in e.text]) == 1
    assert len(rig.events) == 2
    assert rig.session.state is State.WAITING


def test_an_image_too_small_is_refused_with_its_topic(runtime):
    rig = Rig(runtime)
    rig.states(rig.now)
    rig.image(rig.now, np.zeros((8, 8, 3), np.uint8))
    assert rig.answers == [] and "/camera" in rig.events[0].text and "8x8" in rig.events[0].text


def test_a_prediction_that_is_none_stops_until_the_next_start(tiny_bundle):
    bundle = Bundle.open(tiny_bundle)
    runtime = PolicyRuntime(bundle, RuntimeConfig(backend="onnxruntime"))
    runtime._denoiser = lambda inputs: np.full_like(inputs["x"], np.nan)
    rig = Rig(runtime)
    rig.run(10)
    assert rig.answers == [] and rig.session.state is State.FAULT
    assert [e.level for e in rig.events] == [Level.ERROR] and "NaN" in rig.events[0].text
    runtime._denoiser = lambda inputs: np.zeros_like(inputs["x"])
    rig.session.start(rig.now)
    rig.run(3)
    assert rig.session.state is State.RUNNING


def test_nothing_is_answered_when_stopped(runtime):
    rig = Rig(runtime)
    rig.run(5)
    rig.answers.clear()
    rig.session.stop()
    rig.run(5)
    assert rig.answers == [] and rig.session.state is State.STOPPED


@pytest.mark.parametrize("ticks", [0, 16])
def test_replanning_has_to_come_before_the_chunk_ends(runtime, ticks):
    with pytest.raises(ConfigError, match="replan_ticks"):
        PolicySession(runtime, SOURCES, ticks)


def at(x_m):
    return [x_m, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0]


def shown(rig, x_m, image):
    """One camera period with the arm at ``x_m``; how many answers it gave."""
    rig.answers.clear()
    rig.keep(rig.session.add_sample(POSE, rig.now, at(x_m), rig.now))
    rig.keep(rig.session.add_sample(GRIPPER, rig.now, SAMPLES[GRIPPER], rig.now))
    rig.image(rig.now, image)
    rig.now += FRAME
    return len(rig.answers)


def test_a_picture_that_repeats_while_the_arm_moves_stops_the_policy_until_another_comes(runtime):
    rig = Rig(runtime)
    still, other = IMAGE.copy(), IMAGE + 1
    assert all(shown(rig, 0.5, still.copy()) for _ in range(12)), "a scene without noise, and an arm that stands still"
    answered = [shown(rig, 0.5 + 0.0039 * k, still.copy()) for k in range(1, 12)]
    assert answered == [1] * 5 + [0] * 6, "0.02 m are the limit"
    assert rig.session.state is State.WAITING and "/camera" in rig.session.message and "same picture" in rig.session.message
    assert [e.level for e in rig.events].count(Level.ERROR) == 1
    for k in range(4):
        shown(rig, 0.55, other + k)
    assert rig.session.state is State.RUNNING


def test_a_late_picture_after_a_long_way_is_not_a_frozen_one(runtime):
    rig = Rig(runtime)
    shown(rig, 0.5, IMAGE)
    for k in range(1, 8):
        rig.keep(rig.session.add_sample(POSE, rig.now + k * MS, at(0.5 + 0.01 * k), rig.now + k * MS))
        rig.session.check(rig.now + k * MS)
    assert rig.session.state is not State.WAITING or "same picture" not in rig.session.message
    assert shown(rig, 0.58, IMAGE + 1)
