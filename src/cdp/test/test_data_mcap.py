"""The MCAP file beside an episode: it holds what was given, loses what it cannot take and says so, and is readable however its writer ended."""

import fcntl
import resource
import subprocess
import sys
import threading

import numpy as np
import pytest

from cdp.data.durable import part_of
from cdp.data.mcap_file import McapFile, mcap_of
from cdp.data.mcap_recover import mcap_parts, recover_mcaps
from cdp.data.mcap_writer import McapTopic, McapWriter
from cdp.data.relabel import set_aside

mcap_reader = pytest.importorskip("mcap.reader", reason="mcap is not installed: pip install -r requirements/mcap.txt")

TOPICS = {"/a": McapTopic("std_msgs/msg/Header", "uint32 a\n"), "/b": McapTopic("std_msgs/msg/String", "string data\n")}
ABOUT = {"episode": "x", "task": "t", "operator": "o", "seed": "3"}


def messages(path):
    with path.open("rb") as file:
        reader = mcap_reader.make_reader(file, validate_crcs=True)
        found = [(channel.topic, m.publish_time, m.log_time, m.data) for _, channel, m in reader.iter_messages(log_time_order=False)]
        return found, [(m.name, m.metadata) for m in reader.iter_metadata()], reader.get_header(), reader.get_summary()


def sent(count, size=100):
    return [("/a" if i % 3 else "/b", 10 + i, 20 + i, np.random.default_rng(i).bytes(size)) for i in range(count)]


@pytest.mark.parametrize("compression", ["zstd", "lz4", "none"])
def test_what_was_given_is_read_with_its_times_types_and_episode(tmp_path, compression):
    writer = McapWriter(tmp_path / "x.hdf5", TOPICS, ABOUT, compression=compression)
    assert all(writer.append(*message) for message in sent(200))
    assert writer.finish() == tmp_path / "x.mcap" == mcap_of(tmp_path / "x.hdf5") and not mcap_parts(tmp_path)
    found, metadata, header, summary = messages(tmp_path / "x.mcap")
    assert found == sent(200) and header.profile == "ros2" and metadata == [("cdp_episode", ABOUT)]
    assert {(s.name, s.encoding, s.data) for s in summary.schemas.values()} == {(t.type, "ros2msg", t.schema.encode()) for t in TOPICS.values()}
    assert {c.message_encoding for c in summary.channels.values()} == {"cdr"} and writer.counts == {"/a": (133, 0), "/b": (67, 0)}
    assert set_aside_pair(tmp_path) == ["x.hdf5", "x.mcap"]


def set_aside_pair(folder):
    (folder / "x.hdf5").write_bytes(b"")
    set_aside(folder / "x.hdf5")
    return sorted(p.name for p in (folder / "discarded").iterdir())


def test_a_queue_that_is_full_loses_and_counts_and_never_waits(tmp_path):
    writer = McapWriter(tmp_path / "x.hdf5", TOPICS, ABOUT, queue_bytes=5_000)
    release = hold(writer)
    taken = [message for message in sent(100) if writer.append(*message)]
    assert 3 < len(taken) < 30
    release()
    assert writer.finish() and messages(tmp_path / "x.mcap")[0] == taken
    assert sum(t for t, _ in writer.counts.values()) == len(taken) and writer.lost == 100 - len(taken)
    assert not writer.append(*sent(1)[0])


def hold(writer):
    """Keep the thread from passing anything on until the function that is returned is called."""
    gate, take = threading.Event(), writer._take
    writer._take = lambda: (gate.wait(), take())[1]
    return gate.set


def test_a_disk_that_takes_no_more_costs_the_file_and_what_was_written_is_recovered(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000_000, limits[1]))
    try:
        writer = McapWriter(tmp_path / "x.hdf5", TOPICS, ABOUT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    many = sent(1200, 10_000)
    for message in many:
        writer.append(*message)
    assert writer.finish() is None and "File too large" in writer.error and "cdp data recover" in writer.error
    assert not writer.append(*many[0])
    (done,) = recover_mcaps(tmp_path)
    found, metadata, _, _ = messages(done.path)
    assert 300 < len(found) < 1000 and found == many[: len(found)] and metadata[0][1] == {**ABOUT, "recovered": "true"}
    assert not mcap_parts(tmp_path) and [p.name for p in tmp_path.iterdir()] == ["x.mcap"]


def test_a_process_that_ends_by_itself_costs_the_file_alone(tmp_path):
    writer = McapWriter(tmp_path / "x.hdf5", TOPICS, ABOUT)
    writer._process.kill()
    writer._process.wait()
    while writer.error is None:
        writer.append("/a", 0, 0, bytes(100_000))
    assert writer.finish() is None and "its process ended with -9" in writer.error


def test_cut_off_anywhere_it_gives_the_messages_of_the_whole_chunks(tmp_path):
    topics = list(TOPICS)
    file = McapFile(tmp_path / "x.mcap", [(name, t.type, t.schema) for name, t in TOPICS.items()], ABOUT, "lz4")
    part = part_of(tmp_path / "x.mcap")
    whole = [0]
    for i, (topic, publish_ns, log_ns, data) in enumerate(sent(20)):
        file.add(topics.index(topic), publish_ns, log_ns, data)
        if i % 5 == 4:
            file.flush()
            whole.append(part.stat().st_size)
    data = part.read_bytes()
    file._file.close()
    part.unlink()
    counts = set()
    for length in [*range(0, len(data), 37), *whole]:
        part.write_bytes(data[:length])
        (done,) = recover_mcaps(tmp_path)
        found = messages(done.path)[0] if done.path else []
        assert found == sent(20)[: len(found)] and len(found) % 5 == 0
        assert len(found) >= 5 * (sum(length >= end for end in whole) - 1), "a chunk that was whole is not there"
        counts.add(len(found))
        (tmp_path / "x.mcap").unlink(missing_ok=True)
    assert counts == {0, 5, 10, 15, 20} and not list(tmp_path.iterdir())


KILLED = """
import os, sys, signal
from pathlib import Path
from cdp.data.mcap_writer import McapTopic, McapWriter
writer = McapWriter(Path(sys.argv[1]) / "x.hdf5", {"/a": McapTopic("std_msgs/msg/String", "string data")}, {})
for i in range(3000):
    writer.append("/a", i, i, i.to_bytes(4, "little") + os.urandom(5000))
while writer._waiting:
    writer._thread.join(0.01)
print(writer._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_in_use_is_left_alone_and_one_of_a_killed_process_recovered(tmp_path):
    said = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=False).stdout
    # The process that writes sees that nobody feeds it any more, stores what it has, and ends.
    part = part_of(tmp_path / "x.mcap")
    wait_for_the_lock(part)
    running = McapWriter(tmp_path / "y.hdf5", TOPICS, ABOUT)
    killed, busy = recover_mcaps(tmp_path)
    assert said and busy.busy and not busy.done and killed.path == tmp_path / "x.mcap" and "up to its last complete chunk" in killed.message
    found = messages(killed.path)[0]
    assert [int.from_bytes(data[:4], "little") for *_, data in found] == list(range(3000))
    running.discard()
    assert [p.name for p in tmp_path.iterdir()] == ["x.mcap"]


def wait_for_the_lock(path):
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
