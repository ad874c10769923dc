"""The panel's list of episodes: what it shows of a file, and that no request can cost one or reach another."""

import os
import threading

import cv2
import h5py
import numpy as np
import pytest

from cdp.data import relabel as relabelling
from cdp.data.episode import EpisodeInfo, EpisodeLabels, EpisodeReader
from cdp.data.episode_writer import EpisodeWriter
from cdp_teleop_recorder.panel.episode_list import EpisodeList, ListError
from cdp_teleop_recorder.panel.episode_rows import EpisodeRow

S = 1_000_000_000


def write(folder, task="slide", name=None, images=3, **labels):
    """An episode of 12.5 s with pictures whose brightness grows; ``name`` renames it."""
    writer = EpisodeWriter(folder, EpisodeInfo(task, "anna", 3, 10 * S, "system"))
    for i in range(images):
        writer.append("agentview_image", 10 * S + i, 0, {"data": np.full((480, 640, 3), 100 * i, np.uint8)})
    writer.append("joint_pos", 10 * S, 0, {"data": np.zeros(7)})
    path = writer.finish(EpisodeLabels(**{"success": True, "note": "", "ended_ns": 22_500_000_000, **labels}))
    return path if name is None else path.rename(folder / name)


def named(second, number=1):
    return f"slide_20260102T0304{second:02d}Z_{number}.hdf5"


def names(listing):
    return [row.name for row in listing.rows]


def test_a_row_says_what_the_file_says(tmp_path):
    path = write(tmp_path, warnings=("3 of joint_pos were dropped",), note="a note")
    (row,) = EpisodeList(tmp_path).newest(10).rows
    expected = EpisodeRow(path.name, row.recorded_s, row.version, task="slide", operator="anna", note="a note", duration_s=12.5, success=True)
    assert row == EpisodeRow(**{**vars(expected), "warnings": ("3 of joint_pos were dropped",)}) and row.verdict == "suspect"


def test_labels_are_told_from_none(tmp_path):
    write(tmp_path, name=named(1), success=False)
    write(tmp_path, name=named(2), success=False, labelled=False)
    assert [row.success for row in EpisodeList(tmp_path).newest(10).rows] == [None, False]
    assert {row.verdict for row in EpisodeList(tmp_path).newest(10).rows} == {"good"}


def test_newest_first_by_the_time_of_recording_also_after_a_label(tmp_path):
    for second in (1, 3, 2):
        write(tmp_path, name=named(second))
    episodes = EpisodeList(tmp_path)
    episodes.relabel(named(1), False)
    assert names(episodes.newest(2)) == [named(3), named(2)]
    assert episodes.newest(2).total == 3 and names(episodes.newest(9))[-1] == named(1)


def test_only_what_is_shown_and_new_is_opened(tmp_path, monkeypatch):
    for second in range(4):
        write(tmp_path, name=named(second), images=0)
    opened = []
    real = EpisodeReader.__init__
    monkeypatch.setattr(EpisodeReader, "__init__", lambda self, path: (opened.append(path.name), real(self, path))[1])
    episodes = EpisodeList(tmp_path)
    episodes.newest(2)
    episodes.newest(2)
    assert opened == [named(3), named(2)]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(b"no HDF5"), "cannot be read"),
        (lambda path: os.truncate(path, 3000), "cannot be read"),
        (lambda path: h5py.File(path, "w").close(), "its format is None"),
        (lambda path: h5py.File(path, "r+").attrs.__delitem__("started_ns"), "lacks what every episode says"),
        (lambda path: h5py.File(path, "r+").attrs.__setitem__("warnings", "[3"), "lacks what every episode says"),
    ],
    ids=["text", "half", "another-format", "attribute-missing", "attribute-damaged"],
)
def test_a_file_that_cannot_be_read_is_listed_with_the_reason_and_can_be_deleted(tmp_path, damage, reason):
    write(tmp_path, name=named(1))
    damage(write(tmp_path, name=named(2)))
    bad, good = EpisodeList(tmp_path).newest(10).rows
    assert reason in bad.problem and bad.verdict == "unreadable" and good.problem == ""
    episodes = EpisodeList(tmp_path)
    episodes.delete(named(2))
    assert names(episodes.newest(10)) == [named(1)] and (tmp_path / "discarded" / named(2)).exists()


def test_what_is_in_progress_or_no_episode_is_not_listed(tmp_path):
    for name in (f".{named(1)}.part", f".{named(1)}.journal", "notes.txt", ".hidden.hdf5"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.hdf5").mkdir()
    assert EpisodeList(tmp_path).newest(10).total == 0


def test_a_folder_that_is_not_there_yet_says_so(tmp_path):
    assert "does not exist yet" in EpisodeList(tmp_path / "none").newest(10).problem
    assert EpisodeList(tmp_path).newest(10, discarded=True).problem == ""


def test_delete_moves_and_undo_brings_the_same_bytes_back(tmp_path):
    path = write(tmp_path)
    before = path.read_bytes()
    episodes = EpisodeList(tmp_path)
    assert str(tmp_path / "discarded") in episodes.delete(path.name)
    assert episodes.newest(10).total == 0 and names(episodes.newest(10, discarded=True)) == [path.name] and episodes.holds(path.name)
    episodes.restore(path.name)
    assert path.read_bytes() == before and episodes.newest(10, discarded=True).total == 0


def test_every_move_reaches_the_disk_in_both_folders(tmp_path, monkeypatch):
    path = write(tmp_path)
    synced = []
    monkeypatch.setattr(relabelling, "sync_folder", synced.append)
    episodes = EpisodeList(tmp_path)
    episodes.delete(path.name)
    assert synced == [tmp_path / "discarded", tmp_path]
    episodes.restore(path.name)
    assert synced[2:] == [tmp_path, tmp_path / "discarded"]


def test_neither_delete_nor_undo_replaces_another_episode(tmp_path):
    episodes = EpisodeList(tmp_path)
    write(tmp_path, name=named(1))
    episodes.delete(named(1))
    other = write(tmp_path, task="other", name=named(1)).read_bytes()
    with pytest.raises(ListError, match="kept where it was"):
        episodes.delete(named(1))
    with pytest.raises(ListError, match="kept in discarded/"):
        episodes.restore(named(1))
    assert (tmp_path / named(1)).read_bytes() == other and episodes.newest(1, discarded=True).rows[0].task == "slide"


@pytest.mark.parametrize("name", ["../secret.hdf5", "/etc/passwd", "discarded/x.hdf5", "", ".", "..", f"../episodes/{named(1)}", "gone.hdf5", "a\0b"])
@pytest.mark.parametrize("request_", ["delete", "restore", "thumbnail", "relabel"])
def test_a_name_that_is_not_in_the_list_reaches_no_file(tmp_path, name, request_):
    folder = tmp_path / "episodes"
    folder.mkdir()
    write(folder, name=named(1))
    (tmp_path / "secret.hdf5").write_bytes(write(tmp_path).read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.hdf5")}
    episodes = EpisodeList(folder)
    with pytest.raises(ListError, match="not in the list"):
        getattr(episodes, request_)(name, *([True] if request_ == "relabel" else []))
    assert not episodes.holds(name)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.hdf5")} == before


def test_a_new_label_changes_nothing_else(tmp_path):
    path = write(tmp_path, success=False, labelled=False, note="kept")
    before = EpisodeReader(path)
    pictures = before.column("agentview_image").tolist()
    before.close()
    EpisodeList(tmp_path).relabel(path.name, True)
    with EpisodeReader(path) as after:
        assert after.labels.success and after.labels.labelled and after.labels.note == "kept" and after.info.seed == 3
        assert str(after.column("agentview_image").tolist()) == str(pictures)
    assert list(tmp_path.iterdir()) == [path]


def test_a_label_that_fails_halfway_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = write(tmp_path, success=False)
    before = path.read_bytes()

    def full(source, target):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(relabelling.shutil, "copyfile", full)
    with pytest.raises(ListError, match=r"No space left on device.*kept as it was"):
        EpisodeList(tmp_path).relabel(path.name, True)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_two_processes_that_label_at_once_do_not_write_the_same_copy(tmp_path, monkeypatch):
    """Recorder and panel: with one name for the copy, the second would write into the file that the first has just put in place."""
    path = write(tmp_path)
    parts = []
    real = relabelling.shutil.copyfile
    monkeypatch.setattr(relabelling.shutil, "copyfile", lambda source, target: (parts.append(target.name), real(source, target)))
    for pid in (11, 12):
        monkeypatch.setattr(relabelling.os, "getpid", lambda pid=pid: pid)
        relabelling.relabel(path, True)
    assert parts == [f".{path.name}.11.part", f".{path.name}.12.part"]


def test_requests_from_many_threads_leave_every_episode_once(tmp_path):
    for second in range(6):
        write(tmp_path, name=named(second), images=0)
    episodes = EpisodeList(tmp_path)

    def churn(second):
        for request in (episodes.delete, lambda name: episodes.relabel(name, False), episodes.restore, lambda name: episodes.relabel(name, True)):
            try:
                request(named(second % 6))
            except ListError as error:
                failures.append(str(error))

    failures: list[str] = []
    threads = [threading.Thread(target=churn, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert everything == [named(second) for second in range(6)] and all("not in the list" in failure or "moved" in failure for failure in failures)


def test_the_thumbnail_is_the_middle_picture_made_small(tmp_path):
    path = write(tmp_path)
    picture = cv2.imdecode(np.frombuffer(EpisodeList(tmp_path).thumbnail(path.name), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (120, 160, 3) and abs(int(picture.mean()) - 100) <= 2


def test_no_thumbnail_where_there_is_no_picture_or_no_episode(tmp_path):
    write(tmp_path, name=named(1), images=0)
    write(tmp_path, name=named(2)).write_bytes(b"damaged")
    episodes = EpisodeList(tmp_path)
    assert episodes.thumbnail(named(1)) is None and episodes.thumbnail(named(2)) is None
