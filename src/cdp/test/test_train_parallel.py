"""Training in two processes (gloo, on the CPU) against training in one: the same weights, one writer, common ends.

Run as a program this file is one of the two processes: ``python test_train_parallel.py CASE FOLDER``.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file
from training_windows import Windows

from cdp.config import ConfigError, from_mapping
from cdp.shares import ALL, Share, SharedGenerator, draw
from cdp.train.checkpoint import latest_checkpoint
from cdp.train.config import TrainConfig
from cdp.train.interrupt import TrainingInterrupted
from cdp.train.parallel import Ranks, joined
from cdp.train.resume import TrainingError
from cdp.train.trainer import Trainer

CPU = torch.device("cpu")
DEADLINE_S = 240.0
# Seven rows do not divide by two, nor do the penalised three.
BASE = {
    "task": "reach",
    "dataset": "unused.hdf5",
    "horizon": 4,
    "steps": 10,
    "batch_size": 7,
    "noise_samples": 2,
    "log_every": 1,
    "validate_every": 10,
    "validate_windows": 4,
    "checkpoint_every": 4,
    "lowdim_noise": 0.01,
    "process_timeout_s": 60.0,
    "observation": {"image_size": 20, "lowdim_keys": ["robot0_eef_pos"]},
    "network": {
        "encoder": {"blocks": [1], "width": 8, "keypoints": 2, "crop_size": 16, "condition_width": 8},
        "denoiser": {"kind": "dit", "width": 16, "depth": 1, "heads": 2},
    },
    "optimiser": {"warmup_steps": 2, "learning_rate": 3e-3},
}
CONTRACTION = {
    "saturating": {"gamma": 1.0, "fraction": 0.4, "every": 2},
    # The limit is near the measures, so that the violation is neither 0 nor 1 and a share of it would be seen.
    "auto": {"gamma": "auto", "gamma_rate": 0.5, "target_violation": 0.3, "kappa": 3e-3, "fraction": 1.0, "every": 1},
    "twice differentiated": {"label": "cdp-frobenius", "gamma": 1.0, "fraction": 0.4, "every": 1},
    "lanczos": {"label": "cdp-step", "gamma": 1.0, "fraction": 0.6, "every": 2, "lanczos_steps": 3, "estimator": "lanczos"},
    "one row for two": {"gamma": 1.0, "fraction": 0.1, "every": 1},
}


def config(folder, case, **changes):
    contraction = CONTRACTION.get(case, {"gamma": 0.0})
    return from_mapping(TrainConfig, {**BASE, "output": str(folder / case / "bundle"), "contraction": contraction, **changes})


def trainer(made, ranks=None):
    torch.set_num_threads(1)
    return Trainer(made, Windows(20), Windows(6), CPU, ranks)


def state(job):
    """Weights, their average and Adam's moments, by name."""
    tensors = {f"policy.{name}": t for name, t in job.policy.state_dict().items()}
    tensors |= {f"average.{name}": t for name, t in job.average.state_dict().items()}
    for index, values in job.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": t for name, t in values.items()}
    return {name: t.detach().clone().contiguous() for name, t in tensors.items()} | {"gamma": torch.tensor(job.weight.value)}


def curve(made):
    lines = [json.loads(line) for line in (made.run_folder / "metrics.jsonl").read_text().splitlines()]
    names = ("train/loss", "train/gradient_norm", "train/gamma", "train/over_limit", "train/penalty", "train/measure_median")
    return {line["step"]: [line.get(name, 0.0) for name in names] for line in lines if "train/loss" in line}


# ---- one of the two processes --------------------------------------------------------------------------------------------------------------------


def as_rank(case, folder):
    """What one process does; its state lies in ``<case>.<rank>.safetensors`` and its message, where it fails, in ``<case>.<rank>.txt``."""
    with joined(CPU, 5.0 if case == "silent" else 60.0) as ranks:
        cases = [*CONTRACTION, "resumed", "signalled", "failing"] if case == "all" else [case]
        for name in cases:
            job = trainer(config(folder, name), ranks)
            steps = job.step
            job.step = lambda step, steps=steps, name=name: disturbed(name, ranks, step, steps)
            try:
                job.run(resume=name == "resumed")
            except (TrainingError, TrainingInterrupted) as error:
                (folder / f"{name}.{ranks.rank}.txt").write_text(str(error))
            save_file(state(job), folder / f"{name}.{ranks.rank}.safetensors")


def disturbed(case, ranks, step, steps):
    """A step, before which process 1 may be signalled, fail, or fall silent."""
    if ranks.rank == 1 and step == 5:
        if case == "signalled":
            os.kill(os.getpid(), signal.SIGTERM)
        if case == "failing":
            raise SystemExit("process 1 has no more memory")
        if case == "silent":
            sys.stdin.read()
    return steps(step)


# ---- the tests -----------------------------------------------------------------------------------------------------------------------------------


def launch(case, folder):
    """Start both processes and wait for process 0; no process outlives this."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = os.environ | {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, __file__, case, str(folder)]
    children = [
        subprocess.Popen(words, env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    try:
        deadline = time.monotonic() + DEADLINE_S
        return children[0].communicate(timeout=deadline - time.monotonic())[1]
    finally:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            child.communicate()


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """A folder in which two processes have done every case; beside it what one process did, of which the case "resumed" goes on."""
    folder = tmp_path_factory.mktemp("together")
    with pytest.raises(InterruptedError):
        trainer(config(folder, "resumed")).run(progress=stop_at_5)
    said = launch("all", folder)
    assert (folder / "signalled.0.safetensors").exists(), said
    return folder


def stop_at_5(done, figures):
    if done == 5:
        raise InterruptedError


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """``alone(case)`` -> configuration and state of one process's training."""
    folder, known = tmp_path_factory.mktemp("alone"), {}

    def train(case):
        if case not in known:
            made = config(folder, case)
            job = trainer(made)
            job.run()
            known[case] = made, state(job)
        return known[case]

    return train


def close(one, other):
    """Alike but for rounding, which Adam enlarges where a gradient nearly vanishes: a weight may have moved by 10 steps of up to 3e-3 each."""
    for name, tensor in one.items():
        difference = (other[name] - tensor).double()
        if name.startswith("optimiser"):
            assert float(difference.norm()) <= 2e-3 * float(tensor.double().norm()) + 1e-7, name
        else:
            assert float(difference.abs().max()) <= 2e-4, name


@pytest.mark.parametrize("case", CONTRACTION)
def test_two_processes_train_as_one(together, alone, case):
    """Catches noise, crops or penalised samples that depend on the number of processes, and a gradient, loss or violation of one share alone."""
    made, expected = alone(case)
    states = [load_file(together / f"{case}.{rank}.safetensors") for rank in range(2)]
    assert states[0].keys() == states[1].keys() == expected.keys()
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), f"{name} differs between the processes"
    close(expected, states[0])
    of_two, of_one = curve(config(together, case)), curve(made)
    assert list(of_two) == list(of_one) == list(range(1, 11)), "one process writes the log, each point once"
    np.testing.assert_allclose(list(of_two.values()), list(of_one.values()), rtol=2e-3, atol=1e-5)
    if case == "auto":
        assert 0.0 < np.mean([figures[3] for figures in of_one.values()]) < 1.0


def test_a_training_of_one_process_goes_on_in_two(together, alone):
    """From the checkpoint after 4 steps. Catches an optimiser or average that only the process which reads the files restores."""
    expected = alone("none")[1]
    for rank in range(2):
        close(expected, load_file(together / f"resumed.{rank}.safetensors"))
    assert list(curve(config(together, "resumed"))) == list(range(1, 11))


def test_a_signal_to_one_process_ends_all_after_the_same_step_and_one_goes_on_alone(together, alone):
    made = config(together, "signalled")
    for rank in range(2):
        assert (together / f"signalled.{rank}.txt").read_text().startswith("stopped after step 6 of 10")
    assert latest_checkpoint(made.run_folder / "checkpoints").name == "step_000000006"
    job = trainer(made)
    job.run(resume=True)
    close(alone("none")[1], state(job))
    assert list(curve(made)) == list(range(1, 11))


def test_a_process_that_fails_leaves_no_other_waiting(together):
    said = (together / "failing.0.txt").read_text()
    assert "process 0 of 2: another process of this training has ended" in said and "go on with --resume" in said
    assert latest_checkpoint(config(together, "failing").run_folder / "checkpoints").name == "step_000000004"


def test_a_process_that_falls_silent_is_waited_for_no_longer_than_configured(tmp_path):
    launch("silent", tmp_path)
    assert "was silent for 5 s" in (tmp_path / "silent.0.txt").read_text()


SETTINGS = """
task: reach
device: cpu
horizon: 4
steps: 6
batch_size: 6
precision: bf16
validate_every: 6
validate_windows: 4
checkpoint_every: 3
report_windows: 2
report_seeds: 2
observation: {image_size: 24, lowdim_keys: [robot0_eef_pos]}
network:
  encoder: {blocks: [1], width: 8, keypoints: 2, crop_size: 16, condition_width: 8}
  denoiser: {kind: mlp, width: 16, depth: 1}
optimiser: {warmup_steps: 2}
"""


def test_accelerate_launches_the_command_and_one_process_writes_the_bundle_in_float32(make_demo_file, tmp_path):
    demos, settings = make_demo_file(demos=4, ticks=8, image_size=24), tmp_path / "reach.yaml"
    settings.write_text(SETTINGS + f"dataset: {demos}\noutput: {tmp_path / 'policy'}\n")
    launcher = (
        "accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --main_process_port 0 --mixed_precision no --dynamo_backend no"
    )
    words = [sys.executable, "-m", *launcher.split(), "-m", "cdp", "train", str(settings)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        out, said = process.communicate(timeout=DEADLINE_S)
    finally:
        # The launcher hands a signal on to its processes, and kills those that stay.
        if process.poll() is None:
            process.terminate()
            process.communicate()
    assert process.returncode == 0, said
    assert out.count("trained 6 steps") == 1, "one summary"
    points = [json.loads(line) for line in (tmp_path / "policy.run" / "metrics.jsonl").read_text().splitlines()]
    assert [point["step"] for point in points if "train/loss" in point] == [6] and sum("valid/loss" in point for point in points) == 1
    assert len(list((tmp_path / "policy.run" / "tensorboard").iterdir())) == 1, "one process logs"
    assert {t.dtype for t in load_file(tmp_path / "policy" / "weights.safetensors").values()} == {torch.float32}
    kinds = {tensor.data_type for name in ("encoder", "denoiser") for tensor in onnx.load(tmp_path / "policy" / f"{name}.onnx").graph.initializer}
    assert onnx.TensorProto.FLOAT in kinds and not kinds & {onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT16}


def test_a_launch_that_would_start_one_process_alone_is_refused(monkeypatch):
    """`accelerate launch --cpu --num_processes 2` sets this, and no more; it would be taken for a training in one process."""
    for name, value in {"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(ConfigError, match="starts one process, whatever --num_processes says; give it --multi_gpu"), joined(CPU, 1.0):
        pass


def test_more_processes_than_gpus_are_refused(monkeypatch):
    for name, value in {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="4 processes were started here, for 2 GPUs"), joined(torch.device("cuda"), 1.0):
        pass


def test_shares_are_consecutive_and_nearly_equal():
    for total in range(1, 20):
        for size in range(1, 6):
            shares = [Share.of(total, rank, size) for rank in range(size)]
            assert [row for share in shares for row in range(total)[share.rows]] == list(range(total))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
            assert sum(share.weight for share in shares) == pytest.approx(1.0)
    assert ALL.weight == 1.0


@pytest.mark.parametrize("kind", [torch.rand, torch.randn])
@pytest.mark.parametrize("repeats", [1, 3])
def test_draws_of_the_shares_are_the_draw_of_the_whole(kind, repeats):
    """Two draws in a row: the second catches a process that has drawn for its own rows only."""
    start = torch.Generator().manual_seed(3)
    shared = [SharedGenerator(Share.of(7, rank, 3), start) for rank in range(3)]
    for _ in range(2):
        parts = [draw(kind, (repeats * len(g.share), 5), g, torch.float64) for g in shared]
        assert torch.equal(torch.cat(parts), kind((repeats * 7, 5), generator=start, dtype=torch.float64))
    with pytest.raises(ValueError, match="no multiple of the 2"):
        draw(kind, (3, 5), shared[0])


def test_a_batch_smaller_than_the_number_of_processes_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="batch_size: 7 leaves some of the 8 processes without a row"):
        trainer(config(tmp_path, "none"), Ranks(rank=0, size=8))


if __name__ == "__main__":
    as_rank(sys.argv[1], Path(sys.argv[2]))
