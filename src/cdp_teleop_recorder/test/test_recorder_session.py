"""The recorder's decisions, without ROS: when it starts, what it counts, how an episode ends."""

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from cdp.data.episode import EpisodeReader
from cdp.data.journal import journals
from cdp.data.mcap_writer import McapTopic
from cdp.data.recover import recover
from cdp.data.sealed import SealedEpisode
from cdp_teleop_recorder.recorder_finisher import MOST_WAITING
from cdp_teleop_recorder.recorder_parameters import RecorderParameters
from cdp_teleop_recorder.recorder_preroll import PreRoll
from cdp_teleop_recorder.recorder_session import RecorderSession
from cdp_teleop_recorder.recorder_streams import StreamMonitor, out_of_sync
from cdp_teleop_recorder.recorder_types import State

MS = 1_000_000
POSE = {"data": [0.3, 0.0, 0.4, 1.0, 0.0, 0.0, 0.0]}
SAMPLES = {
    "agentview_image": {"data": np.zeros((24, 32, 3), np.uint8)},
    "joint_pos": {"data": np.zeros(7)},
    "eef_pose": POSE,
    "gripper_width": {"data": [0.04]},
}
ACTION = {"data": np.zeros(10), "observation_stamp_ns": 0, "source": 1, "deadman": True, "intervention": False}


@pytest.fixture
def session(tmp_path):
    parameters = RecorderParameters(directory=str(tmp_path), image_rate_hz=100.0, gripper_rate_hz=100.0, min_free_mb=0)
    session = RecorderSession(parameters, "system")
    yield session
    session.kept.wait()


def written(session, outcome):
    """The file of an episode that has ended, once it is there."""
    session.kept.wait()
    return outcome.path


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
    assert done.success and done.frames == 50 and done.message == f"kept {started.episode}.hdf5, which is being written"
    session.kept.wait()
    feed(session, 600, 700)
    after = session.snapshot(700 * MS)
    assert after.state is State.IDLE and after.episodes == 1 and max(after.received) == 50
    with EpisodeReader(written(session, done)) as episode:
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
    with EpisodeReader(written(session, done)) as episode:
        assert episode.labels.dropped["agentview_image"] == 7 and len(episode.labels.warnings) == 3


def test_interrupted_episode_is_kept_as_a_failure_or_discarded_when_short(session, tmp_path):
    assert session.interrupt() is None
    feed(session, 0, 100)
    session.start("t", "o", 0, 100 * MS)
    feed(session, 100, 500)
    assert session.interrupt().path == "" and not list(tmp_path.iterdir())
    session.start("t", "o", 0, 500 * MS)
    feed(session, 500, 1700)
    with EpisodeReader(written(session, session.interrupt())) as episode:
        assert not episode.labels.success and episode.labels.note == "interrupted"
    assert session.leftovers() == []


def fail_to_write(session):
    """As on a full disk: the journal takes no more."""

    def write():
        raise OSError(28, "No space left on device")

    session._writer._journal.write = write
    while session._writer.error is None:
        session._writer._thread.join(0.01)


def test_disk_failure_ends_the_episode_with_a_clear_error_and_keeps_what_was_recorded(session, tmp_path):
    feed(session, 0, 100)
    session.start("t", "o", 0, 100 * MS)
    feed(session, 100, 200)
    while session._writer.journal_bytes < 2000 or session._writer._queue.qsize():
        session._writer._thread.join(0.01)
    fail_to_write(session)
    assert session.snapshot(200 * MS).state is State.FAULT
    warnings, ended = session.tick(200 * MS)
    assert warnings == {} and not ended.success and "No space left on device" in ended.message and "cut off" in ended.message
    after = session.snapshot(200 * MS)
    assert after.state is State.FAULT and "No space left" in after.message and session.tick(300 * MS) == ({}, None)
    with EpisodeReader(written(session, ended)) as episode:
        assert episode.stamps_ns("eef_pose")[0] == 100 * MS and any("cut off" in w for w in episode.labels.warnings) and not episode.labels.labelled
    assert not session.stop(True, True, "", 200 * MS).success
    assert session.start("t", "o", 0, 200 * MS).success and session.snapshot(200 * MS).state is State.RECORDING
    session.interrupt()


def test_an_episode_ends_while_its_file_still_fits(tmp_path):
    session = RecorderSession(RecorderParameters(directory=str(tmp_path), required_streams=(), min_free_mb=0, reserve_mb=1_000_000), "system")
    session.start("t", "o", 0, 0)
    feed(session, 0, 50)
    _, ended = session.tick(50 * MS)
    assert not ended.success and "MB are free, and its file needs as much as its journal" in ended.message
    with EpisodeReader(written(session, ended)) as episode:
        assert len(episode.stamps_ns("eef_pose")) == 5 and episode.labels.note.startswith("ended by the recorder")


def test_killed_session_is_recovered_by_the_next_with_its_label_and_verdict(session, tmp_path):
    feed(session, 0, 100)
    name = session.start("t", "o", 5, 100 * MS).episode
    feed(session, 100, 300)
    assert session.label(True).success
    session.tick(300 * MS)
    writer = session._writer
    writer.drain()
    writer._journal.close()
    again = RecorderSession(RecorderParameters(directory=str(tmp_path)), "system")
    (done,) = again.recover()
    assert done.path.stem == name and done.message.startswith(f"recovered {name}.hdf5: 20 agentview_image")
    with EpisodeReader(written(session, done)) as episode:
        labels = episode.labels
        assert labels.recovered and labels.success and labels.labelled and labels.verdict["streams"]["eef_pose"]["received"] == 20
        assert episode.info.seed == 5 and episode.stamps_ns("joint_pos").tolist() == [ms * MS for ms in range(100, 300, 10)]


def test_buttons_begin_keep_redo_discard_and_label(session, tmp_path):
    feed(session, 0, 100)
    assert "none was kept" in session.discard(0).message and "no episode to label" in session.label(True).message
    assert session.toggle(100 * MS).episode.startswith("episode_")
    session.stop(False, None, "", 100 * MS)
    session.start("slide", "anna", 9, 100 * MS)
    feed(session, 100, 200)
    redone = session.redo(200 * MS)
    assert redone.success and session.recording and not list(tmp_path.glob("*.hdf5"))
    feed(session, 200, 300)
    kept = session.toggle(300 * MS)
    with EpisodeReader(written(session, kept)) as episode:
        assert (episode.info.task, episode.info.operator, episode.info.seed) == ("slide", "anna", 9)
        assert episode.stamps_ns("eef_pose")[0] == 200 * MS and not episode.labels.labelled
    assert session.snapshot(0).label is None and session.label(True).success and session.snapshot(0).label is True
    with EpisodeReader(written(session, kept)) as episode:
        assert episode.labels.labelled and episode.labels.success and len(episode.stamps_ns("eef_pose")) == 10
    assert session.begin(300 * MS).success and session.snapshot(300 * MS).task == "slide"
    session.label(False)
    assert session.snapshot(300 * MS).label is False
    session.stop(False, None, "", 300 * MS)
    assert "moved to" in session.discard(300 * MS).message
    # Nothing is ever removed once it was kept.
    assert not list(tmp_path.glob("*.hdf5")) and [p.name for p in (tmp_path / "discarded").iterdir()] == [kept.path.rsplit("/", 1)[1]]


def test_the_preroll_is_the_last_seconds_within_its_memory(tmp_path):
    session = RecorderSession(RecorderParameters(directory=str(tmp_path), preroll_s=0.2, min_free_mb=0, required_streams=()), "system")
    feed(session, 0, 1000)
    session.start("t", "o", 0, 1000 * MS)
    feed(session, 1000, 1100)
    done = session.stop(True, True, "", 1100 * MS)
    with EpisodeReader(written(session, done)) as episode:
        assert episode.info.started_ns == 1000 * MS
        assert episode.stamps_ns("eef_pose").tolist() == [ms * MS for ms in range(800, 1100, 10)]
        assert len(episode.stamps_ns("agentview_image")) == 30
    ring = PreRoll(10**12, most_mb=1)
    for i in range(100):
        ring.add(("agentview_image", i, i, {"data": np.zeros(100_000, np.uint8)}))
    assert [sample[1] for sample in ring.take(100)] == list(range(91, 100)) and ring.take(100) == []
    off = PreRoll(0, most_mb=1)
    off.add(("eef_pose", 1, 1, POSE))
    assert off.take(1) == []


def watch(session, now_ms):
    warnings, ended = session.tick(now_ms * MS)
    assert ended is None
    return set(warnings)


def test_what_is_wrong_with_a_stream_is_told_at_once(session):
    feed(session, 0, 100)
    session.start("t", "o", 0, 100 * MS)
    feed(session, 100, 1200)
    assert watch(session, 1200) <= {"agentview_image/frozen"}
    for ms in range(1200, 1300, 20):
        session.add("eef_pose", ms * MS, ms * MS + 1, POSE)
    feed(session, 1200, 1300, without=("eef_pose",))
    assert "eef_pose/dropped" in watch(session, 1300)
    assert "eef_pose/dropped" not in watch(session, 1300)
    for ms in range(1300, 2600, 20):
        session.add("eef_pose", ms * MS, ms * MS + 1, POSE)
        session.add("joint_pos", ms * MS, (ms + 250) * MS, SAMPLES["joint_pos"])
    session.add("gripper_width", 1290 * MS, 2600 * MS, SAMPLES["gripper_width"])
    session._writer._thread.join(0.01)
    found = watch(session, 2600)
    assert {"eef_pose/slow", "joint_pos/sync", "agentview_image/silent", "gripper_width/repeated"} <= found
    done = session.stop(True, True, "", 2600 * MS)
    assert done.verdict == "suspect"
    text = "; ".join(done.warnings)
    assert "joint_pos is out of sync: 0.2" in text and "1 of gripper_width repeat a stamp" in text
    assert "eef_pose came at" in text and "agentview_image showed the same picture for 1.2 s" in text
    with EpisodeReader(written(session, done)) as episode:
        verdict = episode.labels.verdict
        assert not verdict["good"] and verdict["streams"]["gripper_width"]["repeated_stamps"] == 1
        assert verdict["streams"]["agentview_image"]["repeated_pictures"] == 119


def test_the_arm_standing_still_is_found(session):
    feed(session, 0, 10)
    session.start("t", "o", 0, 10 * MS)
    for ms in range(10, 3000, 10):
        still = 500 <= ms <= 1500
        session.add("joint_pos", ms * MS, ms * MS, {"data": np.full(7, 500 if still else ms) * 1e-3})
    assert session.snapshot(0).idle_s == 0.0
    with EpisodeReader(written(session, session.stop(True, True, "", 3000 * MS))) as episode:
        assert episode.labels.idle_ns == ((500 * MS, 1500 * MS),) and episode.labels.verdict["idle_s"] == 1.0


RAW = {"/a": McapTopic("std_msgs/msg/String", "string data")}


def raw_session(tmp_path, **changes):
    parameters = RecorderParameters(directory=str(tmp_path), required_streams=(), min_free_mb=0, mcap=True, **changes)
    return RecorderSession(parameters, "system", raw=RAW)


def test_raw_messages_go_beside_their_episode_with_their_preroll_and_away_with_it(tmp_path):
    reader = pytest.importorskip("mcap.reader", reason="mcap is not installed: pip install -r requirements/mcap.txt")
    session = raw_session(tmp_path, preroll_s=0.2)
    for ms in range(0, 2000, 10):
        if ms == 1000:
            session.start("t", "anna", 7, ms * MS)
        session.add_raw("/a", ms * MS, ms * MS + 1, b"%d" % ms)
    path = Path(written(session, session.stop(True, True, "", 2000 * MS)))
    raw = path.with_suffix(".mcap")
    with raw.open("rb") as file:
        made = reader.make_reader(file)
        assert [int(m.data) for _, _, m in made.iter_messages()] == list(range(800, 2000, 10))
        (about,) = made.iter_metadata()
        assert (about.metadata["episode"], about.metadata["operator"], about.metadata["seed"]) == (path.stem, "anna", "7")
    with EpisodeReader(path) as episode:
        assert episode.labels.verdict["mcap"] == {"error": None, "topics": {"/a": {"taken": 120, "lost": 0}}}
    assert session.redo(2000 * MS).success and session.stop(False, None, "", 2000 * MS).success
    assert [p.name for p in tmp_path.iterdir()] == ["discarded"]
    assert {p.name for p in (tmp_path / "discarded").iterdir()} == {path.name, raw.name}


def test_raw_messages_that_cannot_be_written_cost_the_episode_nothing(tmp_path):
    pytest.importorskip("mcap", reason="mcap is not installed: pip install -r requirements/mcap.txt")
    session = raw_session(tmp_path)
    session.start("t", "o", 0, 0)

    session._mcap.writer._process.kill()
    session._mcap.writer._process.wait()
    feed(session, 0, 100)
    while session._mcap.writer.error is None:
        session.add_raw("/a", 1, 2, bytes(100_000))
    assert "the MCAP file was cut off: its process ended with -9" in settled(session)["mcap/failed"]
    session.add_raw("/a", 3, 4, b"2")
    feed(session, 100, 500)
    done = session.stop(True, True, "", 500 * MS)
    assert done.success and done.verdict == "suspect" and any("of /a are not in the MCAP file" in text for text in done.warnings)
    with EpisodeReader(written(session, done)) as episode:
        assert len(episode.stamps_ns("eef_pose")) == 50 and "its process ended" in episode.labels.verdict["mcap"]["error"]
    assert "could not be finished" in session.kept.made()[0].notes[0]
    assert any("recovered" in result.message or "no complete chunk" in result.message for result in session.recover())


def settled(session):
    """What the session warns of once the thread has read what its process said."""
    session._mcap.writer._thread.join()
    return session.tick(100 * MS)[0]


def test_no_mcap_file_is_a_warning_and_it_ends_before_the_episode_lacks_room(tmp_path, monkeypatch):
    pytest.importorskip("mcap", reason="mcap is not installed: pip install -r requirements/mcap.txt")
    session = raw_session(tmp_path)
    monkeypatch.setattr("cdp_teleop_recorder.recorder_mcap.McapWriter", lambda *_, **__: fail_to_open())
    session.start("t", "o", 0, 0)
    session.add_raw("/a", 1, 2, b"1")
    assert "there is no MCAP file: no such device" in session.tick(0)[0]["mcap/failed"]
    assert any("there is no MCAP file" in text for text in session.stop(True, True, "", 1).warnings)
    session.kept.wait()
    monkeypatch.undo()
    session.start("t", "o", 0, 2)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 200_000_000}))
    session.add_raw("/a", 3, 4, b"1")
    # 32 MB are kept for the episode; 256 MB may wait for the MCAP file.
    warnings, ended = session.tick(3)
    assert ended is None and "only 200 MB are free" in warnings["mcap/failed"] and session.recording
    path = Path(written(session, session.stop(True, True, "", 4)))
    assert path.exists() and path.with_suffix(".mcap").exists()


def fail_to_open():
    raise OSError("no such device")


class Held:
    """Holds the making of files until it is let go."""

    def __init__(self, monkeypatch):
        self.gate = threading.Event()
        make = SealedEpisode.make
        monkeypatch.setattr(SealedEpisode, "make", lambda sealed, **how: (self.gate.wait(), make(sealed, **how))[1])


def test_episodes_go_on_while_the_files_of_others_are_made_up_to_a_bound(session, tmp_path, monkeypatch):
    held = Held(monkeypatch)
    feed(session, 0, 100)
    paths = []
    for k in range(MOST_WAITING):
        assert session.start("t", "o", k, 100 * MS).success
        feed(session, 100, 200)
        paths.append(Path(session.stop(True, None, "", 200 * MS).path))
        now = session.snapshot(200 * MS)
        assert now.state is State.WRITING and now.writing == k + 1 and session.kept.final(session.last) is None
    assert f"the files of {MOST_WAITING} episodes are still being made" in session.start("t", "o", 9, 200 * MS).message
    assert not any(path.exists() for path in paths) and len(journals(tmp_path)) == MOST_WAITING
    # Asked of the last one while it waits, as of one that is finished.
    assert session.label(True).success
    # A recorder that is killed now loses nothing, not even the label.
    copy = tmp_path / "after_a_kill"
    copy.mkdir()
    for journal in journals(tmp_path):
        shutil.copy(journal, copy)
    assert all(result.done for result in recover(copy))
    for k, path in enumerate(paths):
        with EpisodeReader(copy / path.name) as episode:
            assert episode.info.seed == k and episode.labels.labelled == (path == paths[-1]) and not episode.labels.recovered
    assert "is moved to discarded when it is written" in session.discard(200 * MS).message
    held.gate.set()
    session.kept.wait()
    assert session.snapshot(200 * MS).state is State.IDLE and session.snapshot(0).episodes == MOST_WAITING - 1
    assert [p.exists() for p in paths] == [True] * (MOST_WAITING - 1) + [False] and session.kept.final(session.last) is session.last
    with EpisodeReader(tmp_path / "discarded" / paths[-1].name) as episode:
        assert episode.labels.success and episode.labels.labelled and len(episode.stamps_ns("eef_pose")) == 10
    assert [made.error for made in session.kept.made()] == [""] * MOST_WAITING


def test_a_file_that_cannot_be_made_is_told_and_its_journal_kept(session, tmp_path):
    feed(session, 0, 100)
    session.start("t", "o", 0, 100 * MS)
    feed(session, 100, 200)
    # Half a file that is a folder: nothing can take its place.
    (tmp_path / f".{session._writer.path.name}.part" / "in_the_way").mkdir(parents=True)
    done = session.stop(True, True, "", 200 * MS)
    session.kept.wait()
    failed = session.kept.final(done)
    assert not failed.success and "what was recorded is kept in" in failed.message and "cdp data recover" in failed.message
    after = session.snapshot(200 * MS)
    assert after.state is State.FAULT and after.episodes == 0 and after.path == "" and len(journals(tmp_path)) == 1
    assert session.start("t", "o", 0, 200 * MS).success
    session.interrupt()


@pytest.mark.parametrize(("lags_ms", "late"), [((5, 30), ()), ((5, 250), ("b",)), ((300, 310), ()), ((400, 5), ("a",))])
def test_only_differences_in_lateness_are_out_of_sync(lags_ms, late):
    monitors = {"a": StreamMonitor(100.0), "b": StreamMonitor(30.0), "rateless": StreamMonitor(None)}
    for k in range(100):
        for monitor, lag in zip(monitors.values(), (*lags_ms, 5000), strict=True):
            monitor.see(k * 10 * MS, True, (k * 10 + lag) * MS)
    assert tuple(out_of_sync(monitors, 0.1)) == late


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
