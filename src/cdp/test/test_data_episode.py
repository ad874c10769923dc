"""An episode file appears whole or not at all, whatever happens to the disk or the process."""

import json
import resource
import subprocess
import sys
import threading

import cv2
import h5py
import numpy as np
import pytest

from cdp.data.durable import DurableFile, unfinished
from cdp.data.episode import EpisodeError, EpisodeInfo, EpisodeLabels, EpisodeReader
from cdp.data.episode_writer import EpisodeWriter
from cdp.data.images import encode_jpeg
from cdp.data.journal import journal_of, journals
from cdp.data.recover import recover

INFO = EpisodeInfo("push box/1", "anna", 7, 1_000, "sim", {"jpeg_quality": 95})
POSE = {"data": [0.3, 0.0, 0.4, 1.0, 0.0, 0.0, 0.0]}
LABELS = EpisodeLabels(True, "fine", 2_000, {"eef_pose": 3}, ("slow",))


def test_what_was_written_is_read(reach, tmp_path):
    made = reach(ticks=3)
    path = made.write(tmp_path, seed=5)
    sent = list(made.messages())
    with EpisodeReader(path) as episode:
        assert episode.info.task == "reach" and episode.info.seed == 5 and episode.labels.success
        assert set(episode.streams) == {s for s, _, _ in sent}
        for stream in episode.streams:
            stamps = [t for s, t, _ in sent if s == stream]
            assert episode.stamps_ns(stream).tolist() == stamps
            assert episode.column(stream, "receive_ns").tolist() == [t + 5_000_000 for t in stamps]
        np.testing.assert_array_equal(episode.column("eef_pose"), [v["data"] for s, _, v in sent if s == "eef_pose"])
        images = [v["data"] for s, _, v in sent if s == "agentview_image"]
        error = np.abs(episode.image(4).astype(int) - images[4])
        assert error.mean() < 6 and episode.image(4).shape == (30, 40, 3)
        with pytest.raises(EpisodeError, match="has no action/colour"):
            episode.column("action", "colour")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_labels_and_losses_are_in_the_attributes(tmp_path):
    writer = EpisodeWriter(tmp_path, INFO)
    assert writer.append("eef_pose", 1, 2, POSE)
    assert writer.append("eef_pose", 2, 3, {"data": [1.0, 2.0]})
    assert writer.append("agentview_image", 2, 3, {"data": np.zeros((4, 4), np.uint8)})
    path = writer.finish(LABELS)
    assert path.name.startswith("push_box_1_") and path.name.endswith("_1.hdf5")
    with h5py.File(path) as file:
        assert json.loads(file.attrs["dropped"]) == {**dict.fromkeys(file["streams"], 0), "eef_pose": 4, "agentview_image": 1}
        assert file.attrs["software_version"] and file.attrs["format"] == "cdp-episode-1" and file.attrs["clock"] == "sim"
    with EpisodeReader(path) as episode:
        assert episode.info == INFO and episode.labels.warnings == ("slow",) and len(episode.column("eef_pose")) == 1
    assert writer.received["eef_pose"] == 1 and not writer.append("eef_pose", 3, 4, POSE)


def test_compressed_pictures_are_kept_as_they_came(tmp_path):
    y, x = np.mgrid[:20, :30]
    picture = np.stack([x * 8, y * 10, 255 - x * 8], axis=-1).astype(np.uint8)
    jpeg = encode_jpeg(picture, 60).tobytes()
    png = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
    writer = EpisodeWriter(tmp_path, INFO)
    for data, kind in ((jpeg, "rgb8; jpeg compressed bgr8"), (png, "png"), (jpeg[:50], "jpeg")):
        writer.append("agentview_image", 1, 2, {"compressed": data, "format": kind})
    with EpisodeReader(writer.finish(LABELS)) as episode:
        assert episode.column("agentview_image")[0].tobytes() == jpeg
        assert np.abs(episode.image(1).astype(int) - picture).mean() < 8 and len(episode.stamps_ns("agentview_image")) == 2
        assert episode.labels.dropped["agentview_image"] == 1


def test_streams_from_several_threads_lose_nothing(tmp_path):
    writer = EpisodeWriter(tmp_path, INFO)

    def send(stream):
        for i in range(1000):
            assert writer.append(stream, i, i, POSE)

    threads = [threading.Thread(target=send, args=(s,)) for s in ("eef_pose", "joint_pos", "joint_vel")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with EpisodeReader(writer.finish(LABELS)) as episode:
        for stream in episode.streams:
            assert episode.stamps_ns(stream).tolist() == list(range(1000))


def test_images_beyond_the_queue_are_counted_not_waited_for(tmp_path):
    writer = EpisodeWriter(tmp_path, INFO, image_queue_size=2)
    taken = sum(writer.append("agentview_image", i, i, {"data": np.zeros((480, 640, 3), np.uint8)}) for i in range(200))
    with EpisodeReader(writer.finish(LABELS)) as episode:
        assert len(episode.stamps_ns("agentview_image")) == taken < 200
        assert episode.labels.dropped["agentview_image"] == 200 - taken


def test_discarded_episode_leaves_nothing_and_ends_once(tmp_path):
    writer = EpisodeWriter(tmp_path, INFO)
    writer.append("eef_pose", 1, 2, POSE)
    writer.discard()
    assert not list(tmp_path.iterdir())
    with pytest.raises(EpisodeError, match="has ended already"):
        writer.finish(LABELS)


def test_full_disk_keeps_what_was_recorded_and_costs_no_other_episode(tmp_path):
    kept = EpisodeWriter(tmp_path, INFO)
    kept.append("eef_pose", 1, 2, POSE)
    path = kept.finish(LABELS)
    before = path.read_bytes()
    writer = EpisodeWriter(tmp_path, INFO)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
        sent = 0
        while writer.error is None:
            writer.append("eef_pose", sent, sent, POSE)
            writer.append("agentview_image", sent, sent, {"data": noise})
            sent += 1
        assert not writer.append("eef_pose", sent, sent, POSE)
        # The file of what fits in the limit as a journal does not fit as HDF5, whose chunks are larger.
        with pytest.raises(EpisodeError, match=r"could not be finished: .*File too large.*is kept in .*journal, earlier .*cdp data recover"):
            writer.finish(LABELS)
        # Nor does a recovery, as long as there is no room; it costs nothing.
        (journal,) = journals(tmp_path)
        (failed,) = recover(tmp_path)
        assert not failed.done and "make room" in failed.message and journals(tmp_path) == [journal]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p for p in tmp_path.iterdir() if p != journal] == [path] and path.read_bytes() == before
    (done,) = recover(tmp_path)
    assert done.done and sorted(tmp_path.glob("*.hdf5")) == sorted([path, done.path]) and not journals(tmp_path)
    with EpisodeReader(done.path) as episode:
        count = len(episode.stamps_ns("eef_pose"))
        assert 0 < count <= sent and episode.stamps_ns("eef_pose").tolist() == list(range(count))
        assert len(episode.stamps_ns("agentview_image")) in (count, count - 1)
        assert episode.image(0).shape == (200, 200, 3)
    again = EpisodeWriter(tmp_path, INFO)
    again.append("eef_pose", 1, 2, POSE)
    assert again.finish(LABELS).exists()


def test_unwritable_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EpisodeError, match="choose another folder"):
        EpisodeWriter(tmp_path / "file" / "episodes", INFO)


KILLED = """
import os, signal, sys, time
from cdp.data.episode import EpisodeInfo, EpisodeLabels
from cdp.data.episode_writer import EpisodeWriter
info = EpisodeInfo("t", "o", 3, 0, "sim", {"jpeg_quality": 95})
for last in (False, True):
    writer = EpisodeWriter(sys.argv[1], info, flush_period_s=0.05)
    for i in range(500):
        writer.append("joint_pos", i, i + 7, {"data": [float(i)] * 7})
    if last:
        writer.note(EpisodeLabels(True, "halfway", 0, {"joint_pos": 2}))
        while writer.synced["joint_pos"] < 500 or writer._noted is None:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGKILL)
    writer.finish(EpisodeLabels(True, "", 1))
"""


def test_killed_process_leaves_finished_episodes_and_the_rest_is_recovered(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], timeout=60)
    assert done.returncode == -9
    (path,) = tmp_path.glob("*.hdf5")
    with EpisodeReader(path) as episode:
        assert len(episode.column("joint_pos")) == 500 and not episode.labels.recovered
    (rest,) = journals(tmp_path)
    assert rest.name.startswith(".t_") and rest.name.endswith(".hdf5.journal") and not unfinished(tmp_path)
    # The next episode takes another name than the one left behind, which cannot be mistaken for one in progress.
    writer = EpisodeWriter(tmp_path, EpisodeInfo("t", "o", 0, 0, "sim"))
    states = {r.journal: r for r in recover(tmp_path)}
    assert len(states) == 2 and not states[journal_of(writer.path)].done and "is being recorded now" in states[journal_of(writer.path)].message
    assert writer.finish(LABELS) not in (path, states[rest].path)
    with EpisodeReader(states[rest].path) as episode:
        np.testing.assert_array_equal(episode.column("joint_pos")[:, 0], np.arange(500))
        labels = episode.labels
        assert labels.recovered and labels.success and labels.note == "halfway" and labels.dropped["joint_pos"] == 2 and labels.ended_ns == 506
        assert "in the middle" in labels.warnings[-1] and episode.info.seed == 3
    assert recover(tmp_path) == []


def test_other_files_are_no_episodes(tmp_path):
    with h5py.File(tmp_path / "other.hdf5", "w"):
        pass
    (tmp_path / "text.hdf5").write_text("no")
    with pytest.raises(EpisodeError, match="its format is None"):
        EpisodeReader(tmp_path / "other.hdf5")
    with pytest.raises(EpisodeError, match="cannot be read"):
        EpisodeReader(tmp_path / "text.hdf5")


def test_durable_file_keeps_its_predecessor_until_it_is_complete(tmp_path):
    path = tmp_path / "d.hdf5"
    for value in (1, 2):
        file = DurableFile(path)
        file.hdf5["x"] = value
        file.commit()
    file = DurableFile(path)
    file.hdf5["x"] = 3
    with pytest.raises(FileExistsError):
        DurableFile(path)
    with h5py.File(path) as there:
        assert there["x"][()] == 2
    file.discard()
    assert not unfinished(tmp_path)
