"""The recorder's decisions, without ROS: when it starts, what it counts, how an episode ends."""

import numpy as np
import pytest

from cdp.data.episode import EpisodeReader
from cdp_teleop_recorder.recorder_parameters import RecorderParameters
from cdp_teleop_recorder.recorder_session import RecorderSession, State
from cdp_teleop_recorder.recorder_streams import StreamMonitor

MS = 1_000_000
POSE = {"data": [0.3, 0.0, 0.4, 1.0, 0.0, 0.0, 0.0]}
SAMPLES = {
    "agentview_image": {"data": np.zeros((24, 32, 3), np.uint8)},
    "joint_pos": {"data": np.zeros(7)},
    "eef_pose": POSE,
    "gripper_width": {"data": [0.04]},
}
ACTION = {"data": np.zeros(10), "observation_stamp_ns": 0, "source": 1, "deadman": True}


@pytest.fixture
def session(tmp_path):
    parameters = RecorderParameters(directory=str(tmp_path), image_rate_hz=100.0, gripper_rate_hz=100.0, min_free_mb=0)
    return RecorderSession(parameters, "system")


def feed(session, start_ms, end_ms, without=(), actions=True):
    for ms in range(start_ms, end_ms, 10):
        for stream, values in SAMPLES.items():
            if stream not in without:
                session.add(stream, ms * MS, ms * MS + 1, values)
        if actions and ms % 100 == 0:
            session.add("action", ms * MS, ms * MS + 1, ACTION)


def test_an_episode_from_start_to_file(session, tmp_path):
    feed(session, 0, 100)
    started = session.start("slide", "anna", 4, 100 * MS)
    assert started.success and started.episode.startswith("slide_")
    feed(session, 100, 600)
    now = session.snapshot(600 * MS)
    assert now.state is State.RECORDING and now.duration_s == 0.5 and dict(zip(now.streams, now.received, strict=True))["joint_pos"] == 50
    done = session.stop(True, True, "fine", 600 * MS)
    assert done.success and done.frames == 50 and done.message == f"kept {started.episode}.hdf5"
    feed(session, 600, 700)
    after = session.snapshot(700 * MS)
    assert after.state is State.IDLE and after.episodes == 1 and max(after.received) == 50
    with EpisodeReader(done.path) as episode:
        assert episode.info.task == "slide" and episode.info.seed == 4 and episode.info.config["image_rate_hz"] == 100.0
        assert episode.labels.success and episode.labels.note == "fine" and episode.labels.warnings == ()
        assert episode.stamps_ns("eef_pose").tolist() == [ms * MS for ms in range(100, 600, 10)]


def test_start_is_refused_with_the_reason(session):
    assert "agentview_image has not been received" in session.start("t", "o", 0, 0).message
    feed(session, 0, 100)
    feed(session, 100, 2000, without=("eef_pose",))
    refused = session.start("t", "o", 0, 2000 * MS)
    assert not refused.success and refused.message == "not started: eef_pose has been silent for 1.9 s; nothing is recorded"
    session.refuse("eef_pose", "it is in frame 'map', not in 'fr3_link0'")
    assert "eef_pose: it is in frame 'map'" in session.start("t", "o", 0, 2000 * MS).message
    feed(session, 2000, 2010)
    assert session.start("t", "o", 0, 2010 * MS).success
    assert "is being recorded; stop it first" in session.start("t", "o", 0, 2010 * MS).message
    assert session.stop(False, False, "", 2010 * MS).success
    assert not session.stop(False, False, "", 2010 * MS).success


def test_start_without_room_is_refused_and_leaves_nothing(tmp_path):
    session = RecorderSession(RecorderParameters(directory=str(tmp_path), required_streams=(), min_free_mb=1_000_000), "system")
    refused = session.start("t", "o", 0, 0)
    assert not refused.success and "MB free, less than 1000000 MB; make room" in refused.message
    assert not list(tmp_path.iterdir())


def test_lost_messages_and_missing_actions_are_told(session):
    feed(session, 0, 100)
    session.start("t", "o", 0, 100 * MS)
    feed(session, 100, 300, actions=False)
    feed(session, 300, 370, without=("agentview_image",), actions=False)
    feed(session, 370, 400, actions=False)
    done = session.stop(True, True, "", 400 * MS)
    assert done.success and "there is no action in it" in done.message and "7 of agentview_image were dropped" in done.message
    assert "agentview_image came at 75.9 Hz instead of 100 Hz" in done.message
    with EpisodeReader(done.path) as episode:
        assert episode.labels.dropped["agentview_image"] == 7 and len(episode.labels.warnings) == 3


def test_interrupted_episode_is_kept_as_a_failure_or_discarded_when_short(session, tmp_path):
    assert session.interrupt() is None
    feed(session, 0, 100)
    session.start("t", "o", 0, 100 * MS)
    feed(session, 100, 500)
    assert session.interrupt().path == "" and not list(tmp_path.iterdir())
    session.start("t", "o", 0, 500 * MS)
    feed(session, 500, 1700)
    with EpisodeReader(session.interrupt().path) as episode:
        assert not episode.labels.success and episode.labels.note == "interrupted"
    assert session.leftovers() == []


def test_disk_failure_shows_in_the_status_and_in_the_answer(session, tmp_path):
    feed(session, 0, 100)
    session.start("t", "o", 0, 100 * MS)
    session._writer._file._sink.error = OSError(28, "No space left on device")
    feed(session, 100, 200)
    while session.snapshot(200 * MS).state is not State.FAULT:
        session._writer._thread.join(0.01)
    assert "No space left on device; stop it and make room" in session.snapshot(200 * MS).message
    done = session.stop(True, True, "", 200 * MS)
    assert not done.success and "it was removed, earlier episodes are kept" in done.message
    assert not list(tmp_path.iterdir())
    assert session.start("t", "o", 0, 200 * MS).success
    session.interrupt()


@pytest.mark.parametrize(("gaps_ms", "dropped"), [([10] * 9, 0), ([14, 6, 10], 0), ([10, 20, 10], 1), ([10, 51], 4), ([10, 0, 10], 0)])
def test_drops_are_the_periods_that_are_missing(gaps_ms, dropped):
    monitor = StreamMonitor(rate_hz=100.0)
    t = 0
    monitor.see(-500 * MS, counting=False)
    monitor.see(t, counting=True)
    for gap in gaps_ms:
        t += gap * MS
        monitor.see(t, counting=True)
    assert monitor.dropped == dropped and monitor.received == len(gaps_ms) + 1
