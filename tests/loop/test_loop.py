"""The whole loop, small: what the nodes recorded, what was trained on it, what ran, and what was left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from loop_pass import EPISODES, ROOT, Loop, alive_in_domain, run_cdp
from safetensors.torch import load_file

from cdp.data.dataset import DemoDataset
from cdp.data.episode import EpisodeReader
from cdp.data.spec import ObservationSpec
from cdp.data.window import ObservationWindow, WindowArrays
from cdp.train.checkpoint import latest_checkpoint

# Lock-step: states every 10 ms, an image at the first of them that is not before its time at 30 Hz.
TICK_NS = 10_000_000
ROW_PERIOD_NS = 100_000_000
HORIZON = 16


def test_every_stream_was_recorded_on_time(recorded: Loop):
    files = sorted((recorded.demos / "episodes").glob("*.hdf5"))
    assert len(files) == EPISODES
    for path in files:
        with EpisodeReader(path) as episode:
            images = episode.stamps_ns("agentview_image")
            assert set(np.diff(images)) <= {3 * TICK_NS, 4 * TICK_NS}, "an image was lost or mis-stamped"
            assert np.all(np.diff(episode.stamps_ns("joint_pos")) == TICK_NS), "a robot state was lost"
            assert np.all(np.diff(episode.stamps_ns("action")) == ROW_PERIOD_NS)
            assert episode.labels.success and not any(episode.labels.dropped.values())


def test_collected_rows_have_the_documented_shapes(recorded: Loop):
    run_cdp("data", "validate", recorded.demos / "demos.hdf5")
    with h5py.File(recorded.demos / "demos.hdf5") as file:
        assert len(file["data"]) == EPISODES
        assert file["data"].attrs["total"] == sum(d.attrs["num_samples"] for d in file["data"].values())
        for demo in file["data"].values():
            rows = demo.attrs["num_samples"]
            assert rows > 20
            assert demo["actions"].shape == (rows, 7) and np.abs(demo["actions"][()]).max() <= 1.0
            assert demo["obs/agentview_image"].shape == (rows, 96, 96, 3)
            assert demo["action_dict/abs_pos"].shape == (rows, 3)
            assert np.all(np.abs(np.diff(demo["stamp_ns"][()]) - ROW_PERIOD_NS) <= TICK_NS)


def test_the_arm_went_where_it_was_told(recorded: Loop):
    """An action is for one row later: the arm follows it within the lag of a compliant arm, and leads nothing."""
    with h5py.File(recorded.demos / "demos.hdf5") as file:
        for demo in file["data"].values():
            target, measured = demo["action_dict/abs_pos"][()], demo["obs/robot0_eef_pos"][()]
            lag = np.linalg.norm(target[:-1] - measured[1:], axis=1)
            assert np.median(lag) < 0.03
            assert np.linalg.norm(np.ptp(target, axis=0)) > 0.1, "nothing moved"


def test_training_and_the_live_path_build_the_same_windows(recorded: Loop):
    spec = ObservationSpec()
    dataset = DemoDataset(recorded.demos / "demos.hdf5", "train", spec, HORIZON)
    with h5py.File(recorded.demos / "demos.hdf5") as file:
        demo = file["data"][dataset.demos[0]]
        stamps, source = demo["stamp_ns"][()], Path(demo.attrs["episode_file"])
    live = _replay(recorded.demos / "episodes" / source.name, int(stamps[0]), ObservationWindow(spec, dataset.stats), spec)
    offline = dataset.batch(np.arange(len(stamps)))
    for k, stamp_ns in enumerate(stamps):
        np.testing.assert_array_equal(live[stamp_ns]["image"], offline["image"][k])
        np.testing.assert_array_equal(live[stamp_ns]["lowdim"], offline["lowdim"][k])


def _replay(path: Path, first_image_ns: int, window: ObservationWindow, spec: ObservationSpec) -> dict[int, WindowArrays]:
    """Every window that the live path builds of the recorded messages, by the stamp of its newest image.

    A policy counts its ticks from the first image that it sees, so this one is activated where the operator began, as the rows do: the recording
    itself began some images earlier, how many of them is chance.
    """
    windows: dict[int, WindowArrays] = {}
    with EpisodeReader(path) as episode:
        samples = {stream: episode.column(stream) for stream in spec.streams}
        messages = [(int(t), stream, i) for stream in (spec.image_key, *spec.streams) for i, t in enumerate(episode.stamps_ns(stream))]
        for stamp_ns, stream, i in sorted(messages):
            image = stream == spec.image_key
            if image and stamp_ns < first_image_ns:
                continue
            complete = window.add_image(stamp_ns, episode.image(i)) if image else window.add(stream, stamp_ns, samples[stream][i])
            if complete and window.stamp_ns is not None:
                windows[window.stamp_ns] = window.get()
    return windows


def test_the_bundle_is_data_and_complete(trained: Loop):
    names = {p.name for p in trained.bundle.iterdir()}
    assert {"config.yaml", "weights.safetensors", "encoder.onnx", "denoiser.onnx", "stats.json", "report.json", "card.md", "manifest.json"} <= names
    assert not [n for n in names if n.endswith((".pt", ".pth", ".pkl", ".ckpt"))]
    report = json.loads((trained.bundle / "report.json").read_text())
    assert report


def test_the_policy_ran_and_was_scored(evaluated: Loop):
    results = json.loads((evaluated.evaluation / "results.json").read_text())
    assert results["trials"] == 1
    assert results["episodes"][0]["ended"] in ("success", "timeout") or results["episodes"][0]["ended"].startswith("guard fault")
    assert results["inference_ms"]["count"] > 5, "the policy did not answer observations"
    assert (evaluated.evaluation / "episodes.mp4").stat().st_size > 10_000
    assert (evaluated.evaluation / "contact_sheet.png").stat().st_size > 10_000


def test_nothing_was_left_running(evaluated: Loop, domain: str):
    assert alive_in_domain(domain) == []


SIGNALS = pytest.mark.parametrize("signum", [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGTERM])


@SIGNALS
def test_a_signal_leaves_no_process_and_no_half_written_episode(tmp_path: Path, domain: str, signum: signal.Signals):
    episodes = tmp_path / "demos" / "episodes"
    command = ["demos", "--episodes", "3", "--out", tmp_path / "demos", "--real-time"]
    _signalled(command, lambda: bool(list(episodes.glob(".*.journal"))), "an episode in progress", signum, domain)
    for path in episodes.iterdir():
        assert path.suffix == ".hdf5" and not path.name.startswith("."), f"{path.name} was left half-written"
        with EpisodeReader(path) as episode:
            assert len(episode.stamps_ns("agentview_image")) > 0


@SIGNALS
def test_a_signal_ends_an_evaluation_and_keeps_what_was_finished(tmp_path: Path, domain: str, signum: signal.Signals):
    out = tmp_path / "eval"
    command = ["eval", ROOT / "models" / "slide", "--episodes", "3", "--lockstep", "--out", out]
    _signalled(command, lambda: bool(list(out.glob(".episodes.part*"))), "an episode in progress", signum, domain)
    assert list(out.glob(".*")) == []
    assert json.loads((out / "results.json").read_text())["trials"] < 3


@SIGNALS
def test_a_signal_ends_a_training_with_its_checkpoints_whole_and_no_bundle(recorded: Loop, tmp_path: Path, domain: str, signum: signal.Signals):
    run = tmp_path / "run"
    command = ["train", "config/train/slide_tiny.yaml", "--dataset", recorded.demos / "demos.hdf5", "--output", tmp_path / "bundle", "--run_dir", run]
    command += ["--steps", 100_000, "--checkpoint_every", 10]
    _signalled(command, lambda: latest_checkpoint(run / "checkpoints") is not None, "a checkpoint", signum, domain)
    assert not (tmp_path / "bundle").exists()
    newest = latest_checkpoint(run / "checkpoints")
    assert newest is not None and load_file(newest / "model.safetensors")
    assert list((run / "checkpoints").glob(".*")) == []


def _signalled(command: list[object], begun: Callable[[], bool], what: str, signum: signal.Signals, domain: str) -> None:
    """Send ``signum`` to `cdp ...` once it has ``begun``; it must end with another status than 0, and so must all that it started."""
    words = [sys.executable, "-m", "cdp.cli", *map(str, command)]
    environment = {**os.environ, "ROS_DOMAIN_ID": domain}
    process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        _wait_for(begun, 90, what)
        process.send_signal(signum)
        process.wait(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
    _wait_for(lambda: not alive_in_domain(domain), 10, "the end of every process")
    assert process.returncode != 0


def _wait_for(condition: Callable[[], bool], deadline_s: float, what: str) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"waited {deadline_s:.0f} s for {what}"
        time.sleep(0.05)
