"""The trainer: learning, exact resumption after a kill, refusals, and the command line up to the bundle."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from training_windows import Windows

from cdp import cli
from cdp.bundle import load_manifest
from cdp.config import ConfigError, from_mapping, load
from cdp.diffusion.conversions import coefficients, x0_to_eps, x0_to_v
from cdp.diffusion.schedule import Schedule
from cdp.networks.prediction import ConvertedDenoiser
from cdp.train.batches import batch_indices, image_tensor, random_crop, step_generator
from cdp.train.checkpoint import CheckpointError, latest_checkpoint
from cdp.train.commands import parse_overrides
from cdp.train.config import OptimiserConfig, TrainConfig
from cdp.train.interrupt import TrainingInterrupted
from cdp.train.objective import diffusion_loss
from cdp.train.optimiser import learning_rate, update_average
from cdp.train.resume import TrainingError
from cdp.train.trainer import Trainer

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[3]
TINY = {
    "task": "reach",
    "dataset": "unused.hdf5",
    "horizon": 4,
    "steps": 12,
    "batch_size": 8,
    "log_every": 1,
    "validate_every": 6,
    "validate_windows": 8,
    "checkpoint_every": 4,
    "report_windows": 2,
    "report_seeds": 2,
    "lowdim_noise": 0.01,
    "observation": {"image_size": 20, "lowdim_keys": ["robot0_eef_pos"]},
    "network": {
        "encoder": {"blocks": [1], "width": 8, "keypoints": 2, "crop_size": 16, "condition_width": 8},
        "denoiser": {"kind": "dit", "width": 16, "depth": 1, "heads": 2},
    },
    "contraction": {"every": 2},
    "optimiser": {"warmup_steps": 2, "learning_rate": 3e-3},
}


def config(folder, **changes):
    return from_mapping(TrainConfig, {**TINY, "output": str(folder / "bundle"), **changes})


def trainer(made):
    torch.set_num_threads(1)
    return Trainer(made, Windows(40), Windows(10), CPU)


def logged(made):
    lines = [json.loads(line) for line in (made.run_folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "train/loss" in line]


def curve(made):
    names = ("step", "train/loss", "train/gradient_norm", "train/gamma", "train/over_limit", "train/penalty")
    return [tuple(line[name] for name in names) for line in logged(made)]


class KilledError(Exception):
    pass


def kill_at(step):
    def progress(done, figures):
        if done == step:
            raise KilledError

    return progress


AUTO = {"gamma": "auto", "gamma_rate": 0.1, "target_violation": 0.4, "kappa": 1e-3, "every": 3}


@pytest.mark.parametrize("changes", [{}, {"contraction": AUTO}], ids=["fixed", "auto"])
def test_a_killed_training_resumes_on_the_same_curve_to_the_same_weights(tmp_path, changes):
    whole, cut = config(tmp_path / "a", **changes), config(tmp_path / "b", **changes)
    expected = trainer(whole).run()
    with pytest.raises(KilledError):
        trainer(cut).run(progress=kill_at(7))
    assert latest_checkpoint(cut.run_folder / "checkpoints").name == "step_000000004"
    result = trainer(cut).run(resume=True)
    assert curve(cut) == curve(whole)
    assert [step for step, *_ in curve(cut)] == list(range(1, 13)), "no point twice, none lost"
    for name, tensor in expected.policy.state_dict().items():
        assert torch.equal(tensor, result.policy.state_dict()[name]), name
    assert result.validation == expected.validation and result.loss == expected.loss and result.gamma == expected.gamma


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_between_two_steps_with_a_checkpoint(tmp_path, signum):
    made, usual = config(tmp_path), signal.getsignal(signum)

    def signal_at_6(done, figures):
        if done == 6:
            signal.raise_signal(signum)

    with pytest.raises(TrainingInterrupted, match=r"stopped after step 7 of 12.*--resume"):
        trainer(made).run(progress=signal_at_6)
    assert signal.getsignal(signum) is usual
    assert latest_checkpoint(made.run_folder / "checkpoints").name == "step_000000007"
    trainer(made).run(resume=True)
    assert [step for step, *_ in curve(made)] == list(range(1, 13))


def test_gamma_auto_follows_the_measured_violation_and_is_logged_at_every_step(tmp_path):
    made = config(tmp_path, contraction=AUTO)
    result = trainer(made).run()
    gamma = made.contraction.gamma_start
    for line in logged(made):
        if (line["step"] - 1) % made.contraction.every == 0:
            assert line["train/gamma"] == gamma
            gamma = min(max(gamma + 0.1 * (line["train/over_limit"] - 0.4), 0.0), made.contraction.gamma_max)
    assert result.gamma == gamma != made.contraction.gamma_start
    assert len(logged(made)) == made.steps, "and on the steps between as it was last"


@pytest.mark.parametrize("weighting", ["uniform", "min_snr"])
@pytest.mark.parametrize("prediction", ["x0", "eps", "v"])
def test_the_loss_is_the_error_of_what_the_network_predicts(prediction, weighting):
    """Uniform: its plain mean square. Clipped SNR: that of x0, whatever is predicted, with a weight on the network's own error that is bounded."""
    schedule = Schedule()
    chunk, cond = torch.randn(512, 2, 3, generator=step_generator(0, 1), dtype=torch.float64), torch.zeros(512, 1)
    seen = []

    def network(x, t, cond):
        seen.append((x, t))
        return 0.3 * x

    class Network(torch.nn.Module):
        def forward(self, x, t, cond):
            return network(x, t, cond)

    denoise = network if prediction == "x0" else ConvertedDenoiser(Network(), prediction, schedule)
    loss = diffusion_loss(denoise, chunk, cond, schedule, weighting, step_generator(0, 2), prediction)
    x, t = seen[0]
    alpha, sigma = coefficients(schedule, t, x)
    target = {"x0": chunk, "eps": x0_to_eps(x, chunk, alpha, sigma), "v": x0_to_v(x, chunk, alpha, sigma)}[prediction]
    snr = (alpha / sigma).square()
    own = {
        "x0": snr.clamp(0.1, 5.0),
        "eps": snr.clamp(max=5.0) / snr,
        "v": snr.clamp(0.1, 5.0) * sigma.square(),
    }[prediction]
    expected = (0.3 * x - target).square()
    if weighting == "min_snr":
        assert own.max() <= 5.0
        expected = expected * own
    assert float(loss) == pytest.approx(float(expected.mean()), rel=1e-5)


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_networks_that_predict_something_else_learn_too(tmp_path, prediction):
    denoiser = {"kind": "dit", "width": 16, "depth": 1, "heads": 2, "prediction": prediction}
    made = config(tmp_path, steps=80, checkpoint_every=80, validate_every=80, network={**TINY["network"], "denoiser": denoiser})
    trainer(made).run()
    losses = [line["train/loss"] for line in logged(made)]
    assert np.mean(losses[-20:]) < 0.6 * np.mean(losses[:5])


def test_a_finished_training_resumes_to_its_result(tmp_path):
    made = config(tmp_path)
    first = trainer(made).run()
    again = trainer(made).run(resume=True)
    assert again.validation == first.validation and again.steps == first.steps


def test_an_interrupted_checkpoint_is_not_taken_for_one(tmp_path):
    made = config(tmp_path)
    with pytest.raises(KilledError):
        trainer(made).run(progress=kill_at(5))
    checkpoints = made.run_folder / "checkpoints"
    (checkpoints / ".step_000000008.part").mkdir()
    (checkpoints / "step_000000009").mkdir()
    assert latest_checkpoint(checkpoints).name == "step_000000004"
    newest = checkpoints / "step_000000004" / "model.safetensors"
    newest.write_bytes(newest.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"does not fit[\s\S]*remove it to go on from an older one"):
        trainer(made).run(resume=True)


def test_it_refuses_to_mix_trainings(tmp_path):
    made = config(tmp_path)
    with pytest.raises(KilledError):
        trainer(made).run(progress=kill_at(5))
    with pytest.raises(TrainingError, match="already holds a training, up to step_000000004; go on with --resume"):
        trainer(made).run()
    with pytest.raises(CheckpointError, match="another training: its seed was 0, now it is 1"):
        trainer(replace(made, seed=1)).run(resume=True)
    trainer(replace(made, seed=1, steps=2)).run(overwrite=True)


def test_it_learns_and_the_penalty_contracts_the_denoiser(tmp_path):
    learnt = {}
    for gamma in (0.0, 3.0):
        made = config(
            tmp_path / str(gamma), steps=250, checkpoint_every=250, validate_every=250, contraction={"gamma": gamma, "fraction": 1.0, "every": 1}
        )
        job = trainer(made)
        result = job.run()
        assert (result.penalty_overhead > 0) == (gamma > 0)
        x = torch.randn(32, 4, 10, generator=step_generator(0, 1))
        t, cond = torch.full((32,), 0.5), torch.randn(32, 8, generator=step_generator(0, 2))
        with torch.no_grad():
            moved = (result.policy.denoise(x + 0.05, t, cond) - result.policy.denoise(x, t, cond)).norm()
        learnt[gamma] = (result.validation.action_error, float(moved))
    scale = float(np.sqrt(np.mean(Windows(10).actions ** 2)))
    assert learnt[0.0][0] < 0.5 * scale
    assert learnt[3.0][1] < 0.7 * learnt[0.0][1]


def test_a_loss_that_is_not_finite_stops_it(tmp_path):
    job = trainer(config(tmp_path))
    job.train.actions[:] = np.nan
    with pytest.raises(TrainingError, match="loss is nan at step 0; checkpoints up to there are kept"):
        job.run()


def test_every_row_is_seen_once_an_epoch():
    length, size = 10, 4
    rows = np.concatenate([batch_indices(length, size, 3, step) for step in range(5)])
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()
    assert len(batch_indices(3, 8, 0, 1)) == 8, "a batch larger than the data"


def test_crops_are_parts_of_the_image_and_the_same_for_the_window():
    images = np.arange(6 * 2 * 10 * 10 * 3, dtype=np.uint32).reshape(6, 2, 10, 10, 3).astype(np.uint8)
    images[:, 1] = images[:, 0]
    cropped = random_crop(images, 7, np.random.default_rng(0))
    corners = set()
    for original, crop in zip(images, cropped, strict=True):
        assert np.array_equal(crop[0], crop[1])
        places = [(y, x) for y in range(4) for x in range(4) if np.array_equal(original[0, y : y + 7, x : x + 7], crop[0])]
        corners.update(places)
        assert places
    assert len(corners) > 1
    tensor = image_tensor(cropped, CPU)
    assert tensor.shape == (6, 2, 3, 7, 7) and float(tensor.max()) <= 1.0
    assert float(tensor[2, 1, 2, 3, 4]) == pytest.approx(cropped[2, 1, 3, 4, 2] / 255)


def test_learning_rate_and_average():
    optimiser = OptimiserConfig(learning_rate=1.0, warmup_steps=10, final_fraction=0.1)
    rates = [learning_rate(optimiser, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == 1.0 and rates[-1] == pytest.approx(0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    average, model = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    with torch.no_grad():
        average.weight.fill_(0.0)
        model.weight.fill_(1.0)
    update_average(average, model, 0.995, 0)
    assert average.weight.item() == pytest.approx(0.9)
    update_average(average, model, 0.995, 1_000_000)
    assert average.weight.item() == pytest.approx(0.9 + 0.1 * 0.005)


def test_overrides():
    assert parse_overrides(["--steps", "5", "--contraction.gamma=1e-1", "--run-dir", "x"]) == [
        ("steps", 5),
        ("contraction.gamma", "1e-1"),
        ("run_dir", "x"),
    ]
    with pytest.raises(ConfigError, match="'steps' is not an override"):
        parse_overrides(["steps", "5"])
    with pytest.raises(ConfigError, match="--steps has no value"):
        parse_overrides(["--steps"])


def test_configurations_that_cannot_work_are_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match="crop_size: 16 exceeds the image of 8 pixels"):
        config(tmp_path, observation={"image_size": 8})
    with pytest.raises(ConfigError, match="horizon: 6 cannot be halved 2 times"):
        config(tmp_path, horizon=6, network={**TINY["network"], "denoiser": {"kind": "unet", "width": 8, "depth": 3}})


@pytest.mark.parametrize("name", ["slide", "slide_tiny"])
def test_shipped_configurations_are_valid(name):
    assert load(TrainConfig, ROOT / f"config/train/{name}.yaml").task == "slide"


def test_help_is_quick_and_names_every_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in cli.BUILT_IN)
    code = "import sys, cdp.cli\ntry: cdp.cli.main(['--help'])\nexcept SystemExit: sys.exit(any(m in sys.modules for m in ('torch', 'h5py', 'cv2')))"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_failures_are_one_line_and_a_status(tmp_path, capsys):
    assert cli.main(["train", str(tmp_path / "none.yaml")]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("cdp: ") and "none.yaml" in shown and shown.count("\n") == 1
    assert cli.main(["train", str(ROOT / "config/train/slide_tiny.yaml"), "--contraction.gama", "3"]) == 1
    assert "contraction.gama: unknown key" in capsys.readouterr().err


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory):
    """Five short demonstrations in the layout of `cdp data collect`, as slide_tiny reads them."""
    path = tmp_path_factory.mktemp("data") / "demos.hdf5"
    rng = np.random.default_rng(0)
    rows = 20
    with h5py.File(path, "w") as file:
        for demo in range(5):
            group = file.create_group(f"data/demo_{demo}")
            group.attrs["num_samples"] = rows
            position = np.cumsum(rng.normal(0, 0.01, (rows + 1, 3)), axis=0)
            observed, action = group.create_group("obs"), group.create_group("action_dict")
            observed["agentview_image"] = rng.integers(0, 255, (rows, 96, 96, 3), dtype=np.uint8)
            observed["robot0_eef_pos"] = position[:-1]
            observed["robot0_eef_quat"] = np.tile([1.0, 0, 0, 0], (rows, 1))
            observed["robot0_gripper_qpos"] = np.full((rows, 2), 0.02)
            action["abs_pos"] = position[1:]
            action["abs_rot_6d"] = np.tile([1.0, 0, 0, 0, -1, 0], (rows, 1))
            action["gripper"] = np.ones((rows, 1))
        file["mask/train"] = np.array([b"demo_0", b"demo_1", b"demo_2", b"demo_3"])
        file["mask/valid"] = np.array([b"demo_4"])
    return path


def test_the_command_survives_a_kill_and_writes_a_bundle(demonstrations, tmp_path):
    """SIGKILL in mid-training, then --resume: a whole bundle and one line of figures."""
    output = tmp_path / "policy"
    words = [sys.executable, "-m", "cdp.cli", "train", str(ROOT / "config/train/slide_tiny.yaml"), "--dataset", str(demonstrations)]
    words += [
        "--output",
        str(output),
        "--steps",
        "16",
        "--batch_size",
        "4",
        "--checkpoint-every=4",
        "--threads",
        "1",
        "--optimiser.warmup_steps",
        "2",
    ]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 100
    checkpoints = tmp_path / "policy.run" / "checkpoints"
    while latest_checkpoint(checkpoints) is None:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=30) == -signal.SIGKILL and not output.exists()
    done = subprocess.run([*words, "--resume"], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("trained 16 steps") and str(output) in done.stdout.splitlines()[-1]
    for word in ("loss", "validation action error", "penalty overhead"):
        assert word in done.stdout
    report = json.loads((output / "report.json").read_text())
    assert report["training"]["steps"] == 16 and 0 <= report["contraction"]["violation"]["fraction"] <= 1
    assert {p.name for p in output.iterdir()} >= {"encoder.onnx", "denoiser.onnx", "weights.safetensors", "config.yaml", "manifest.json"}
    assert {"monitor.json", "monitor.safetensors"} <= set(load_manifest(output).files) and "## Monitor" in (output / "card.md").read_text()
    refused = subprocess.run(words, capture_output=True, text=True, timeout=100, check=False)
    assert refused.returncode == 1 and "exists and is left as it is" in refused.stderr
