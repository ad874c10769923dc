"""The journal gives back what is whole, whatever its end looks like; and the resampler never gives what is not there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.data.align import latest_at_or_before
from cdp.data.episode import EpisodeInfo, EpisodeLabels, EpisodeReader
from cdp.data.episode_writer import EpisodeWriter
from cdp.data.journal import JournalBusyError, JournalEmptyError, JournalError, JournalReader, JournalWriter, journal_of, journals
from cdp.data.journal_record import Kind
from cdp.data.latency import Latencies
from cdp.data.recover import recover
from cdp.data.resample import HOLD, NEAREST, NONE, resample
from cdp.data.streams import Column, StreamSpec

START = {"a": 1}
PAYLOADS = [bytes([i]) * (37 * i) for i in range(8)]
INFO = EpisodeInfo("t", "o", 0, 0, "sim")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A journal's bytes, and where each record of it ends."""
    path = tmp_path_factory.mktemp("journal") / ".x.hdf5.journal"
    writer = JournalWriter(path, START)
    ends = [writer.size]
    for i, payload in enumerate(PAYLOADS):
        writer.add(i % 3, i, i + 100, payload[: len(payload) // 2], payload[len(payload) // 2 :])
        writer.write()
        ends.append(writer.size)
    writer.close()
    return path.read_bytes(), ends


def read(path):
    with JournalReader(path) as reader:
        assert reader.start == START
        return [(r.kind, r.stream, r.stamp_ns, r.receive_ns, bytes(r.payload)) for r in reader.records()]


def expected(count):
    return [(Kind.SAMPLE, i % 3, i, i + 100, PAYLOADS[i]) for i in range(count)]


def test_cut_off_anywhere_it_gives_exactly_the_whole_records(whole, tmp_path):
    data, ends = whole
    path = tmp_path / ".x.hdf5.journal"
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        if length < ends[0]:
            with pytest.raises(JournalEmptyError):
                read(path)
        else:
            assert read(path) == expected(sum(length >= end for end in ends) - 1)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_flipped_bit_is_never_taken_for_data(whole, tmp_path_factory, data):
    content, ends = whole
    at = data.draw(st.integers(ends[0], len(content) - 1))
    damaged = bytearray(content)
    damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.mktemp("flipped") / ".x.hdf5.journal"
    path.write_bytes(bytes(damaged))
    assert read(path) == expected(sum(at >= end for end in ends) - 1)


def test_a_damaged_beginning_is_set_aside_and_an_empty_one_removed(whole, tmp_path):
    damaged = bytearray(whole[0])
    damaged[20] ^= 1
    (tmp_path / ".a.hdf5.journal").write_bytes(bytes(damaged))
    (tmp_path / ".b.hdf5.journal").write_bytes(b"")
    with pytest.raises(JournalError, match="damaged"):
        JournalReader(tmp_path / ".a.hdf5.journal")
    aside, removed = recover(tmp_path)
    assert "is kept as .a.hdf5.journal.damaged" in aside.message and "removed" in removed.message
    assert [p.name for p in tmp_path.iterdir()] == [".a.hdf5.journal.damaged"]


def test_a_journal_in_use_is_nobody_elses(tmp_path):
    writer = JournalWriter(tmp_path / ".x.hdf5.journal", START)
    with pytest.raises(JournalBusyError):
        JournalReader(writer.path)
    with writer.reader() as reader:
        assert list(reader.records()) == []
    with pytest.raises(JournalBusyError):
        JournalReader(writer.path)
    writer.close()
    assert read(writer.path) == []


def test_a_complete_journal_becomes_the_labelled_episode_and_its_remains_go(tmp_path):
    writer = EpisodeWriter(tmp_path, INFO)
    writer.append("joint_pos", 5, 6, {"data": np.arange(7)})
    journal, labels = journal_of(writer.path), EpisodeLabels(True, "good", 9, verdict={"ok": True}, idle_ns=((1, 2), (5, 8)))
    saved = {}
    remove = writer._journal.remove
    writer._journal.remove = lambda: (saved.update(data=journal.read_bytes()), remove())
    path = writer.finish(labels)
    # Killed after the rename: only the journal goes. Killed before it: the same episode again, over half a file.
    journal.write_bytes(saved["data"])
    assert "was finished already" in recover(tmp_path)[0].message and path.exists()
    path.unlink()
    journal.write_bytes(saved["data"])
    path.with_name(f".{path.name}.part").write_bytes(b"half")
    assert "it had been ended" in recover(tmp_path)[0].message and [p.name for p in tmp_path.iterdir()] == [path.name]
    with EpisodeReader(path) as episode:
        assert episode.labels.note == "good" and not episode.labels.recovered
        assert episode.labels.idle_ns == ((1, 2), (5, 8)) and episode.labels.verdict == {"ok": True}


def test_streams_of_the_users_own_raw_and_of_any_width(tmp_path):
    streams = {
        "wrist": StreamSpec(encoding="raw", rate_hz=15.0, topic="/wrist", type="sensor_msgs/msg/Image"),
        "wrench": StreamSpec({"data": Column((-1,), "f8")}, topic="/wrench", fields=("x", "y"), stamped="receive"),
        "silent": StreamSpec({"data": Column((-1,), "f8")}),
        "dark": StreamSpec(),
    }
    writer = EpisodeWriter(tmp_path, INFO, streams=streams)
    pictures = np.random.default_rng(0).integers(0, 255, (3, 4, 5, 3), dtype=np.uint8)
    for i, picture in enumerate(pictures):
        assert writer.append("wrist", i, i, {"data": picture})
        writer.append("wrench", i, i, {"data": [i, 2.0 * i]})
    writer.append("wrench", 7, 7, {"data": [1.0]})
    writer.append("wrist", 7, 7, {"data": pictures[0, :2]})
    with EpisodeReader(writer.finish(EpisodeLabels(True, "", 9))) as episode:
        assert all((episode.image(i, "wrist") == picture).all() for i, picture in enumerate(pictures))
        assert episode.column("wrench").tolist() == [[0, 0], [1, 2], [2, 4]]
        assert episode.labels.dropped == {"wrist": 1, "wrench": 1, "silent": 0, "dark": 0}
        assert episode.stream_attributes("wrench") == {"topic": "/wrench", "fields": ["x", "y"], "stamped": "receive"}
        assert episode.streams == ("wrench", "wrist") and not journals(tmp_path)
        assert [episode.is_image(name) for name in ("wrist", "wrench", "dark")] == [True, False, True]


stamps = st.lists(st.integers(0, 60), max_size=12)


@given(stamps, stamps, st.integers(0, 9))
def test_hold_is_the_running_policys_rule_and_nearest_has_no_nearer(stamps_ns, ticks, tolerance):
    stamps_ns, ticks = np.asarray(stamps_ns, dtype=np.int64), np.asarray(ticks, dtype=np.int64)
    ordered = np.sort(stamps_ns)
    held, near = (resample(stamps_ns, ticks, tolerance, how) for how in (HOLD, NEAREST))
    for tick, h, n in zip(ticks, held, near, strict=True):
        live = latest_at_or_before(ordered, int(tick), tolerance)
        assert (h == NONE) == (live is None) and (live is None or stamps_ns[h] == ordered[live])
        least = min((abs(int(s) - int(tick)) for s in stamps_ns), default=99)
        assert (n == NONE) == (least > tolerance) and (n == NONE or abs(stamps_ns[n] - tick) == least)
        for chosen in (h, n):
            # Of equal stamps the last to arrive.
            assert chosen == NONE or chosen == np.flatnonzero(stamps_ns == stamps_ns[chosen])[-1]


@given(st.lists(st.floats(2e-6, 90.0), min_size=1, max_size=60), st.sampled_from([50, 99, 100]))
def test_percentiles_are_at_most_an_eighth_too_high(durations, percent):
    latencies = Latencies()
    for duration in durations:
        latencies.add(duration)
    exact = sorted(durations)[int(np.ceil(len(durations) * percent / 100)) - 1]
    assert exact * (1 - 1e-9) <= latencies.percentile_s(percent) <= exact * 1.125
