"""The benchmark of the recorder and the kills, small: that they run, judge by what was sent, and would see a loss."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
MS = 1_000_000


def load(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def run(name, *words, timeout):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)


@pytest.mark.long
def test_kills_lose_no_episode():
    done = run("crash_recording", "--kills", "5", "--disk-kills", "5", "--seed", "3", timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "10 kills: nothing was lost" and "0 finished episodes lost, 0 unreadable files" in lines[1]


def test_a_kill_that_lost_something_would_be_seen(tmp_path):
    crash = load("crash_recording")
    lines = crash.killed(1.5, lambda tell: crash.record_for_ever(tmp_path, 0, tell, 0))
    crash.recover(tmp_path)
    tally = crash.Counter()
    crash.check(tmp_path, lines, tally)
    assert tally["states"] > 0
    name, count = next((n, int(c)) for w, n, c in map(str.split, reversed(lines)) if w in ("safe", "done"))
    with pytest.raises(crash.LossError, match="were on the disk"):
        crash.check(tmp_path, [*lines, f"safe {name} {count + 10**6}"], tally)
    with pytest.raises(crash.LossError, match="is gone"):
        crash.check(tmp_path, [*lines, "start other 0"], tally)
    path = next(tmp_path.glob("*.hdf5"))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(crash.LossError, match="unreadable"):
        crash.check(tmp_path, lines, tally)


@pytest.mark.long
def test_the_benchmark_records_and_counts():
    done = run("recording", "--seconds", "3", "--cameras", "2", timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    text = done.stdout
    assert "baseline, a bare subscriber misses" in text and "write latency p50" in text and "peak memory" in text
    assert text.splitlines()[-1] == "0 frames lost unseen" and "joint_pos: " in text and "half a period is 0.50 ms" in text


def test_rows_whose_frame_was_lost_are_told_from_those_whose_frame_arrived(monkeypatch):
    bench = load("recording")
    period_ns = bench.NS / 30
    sent = bench.Published(5 * MS, period_ns, 300)
    frames = 5 * MS + np.round(np.arange(300) * period_ns).astype(np.int64)
    images = np.round(np.arange(300) * period_ns).astype(np.int64)
    whole = bench.aligned(frames, images, sent)
    assert (whole.lost, whole.empty, whole.wrong) == (0, 0, 0) and whole.worst_ns == 5 * MS and whole.arrived == 99
    ticks = bench.select_ticks(images, bench.ObservationSpec())
    holed = bench.aligned(np.delete(frames, ticks[[4, 9]]), images, sent)
    assert (holed.arrived, holed.lost, holed.empty, holed.wrong) == (97, 2, 0, 0) and holed.worst_ns == 5 * MS
    monkeypatch.setattr(bench, "half_period_ns", lambda rate_hz: bench.NS)
    assert bench.aligned(np.delete(frames, ticks[[4, 9]]), images, sent).wrong == 2


def test_a_frame_that_is_lost_unseen_is_seen_by_the_benchmark():
    bench = load("recording")
    sent = bench.Published(1_000, 10 * MS, 1000)
    stamps = 1_000 + 10 * MS * np.delete(np.arange(5, 50), [7, 8, 20])
    found = bench.losses(stamps, sent, counted=2)
    assert (found.published, found.stored, found.unseen) == (45, 42, 1)
    assert bench.losses(stamps, sent, counted=3).unseen == 0
