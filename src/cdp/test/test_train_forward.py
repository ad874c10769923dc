"""The networks in bfloat16 and through torch.compile: the same training but for rounding, and float32 wherever something is kept."""

import json
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from training_windows import Windows

from cdp.config import ConfigError, from_mapping
from cdp.train import trainer as trainer_module
from cdp.train.checkpoint import CheckpointError
from cdp.train.config import TrainConfig
from cdp.train.forward import Compiled
from cdp.train.trainer import Trainer

CPU = torch.device("cpu")
TINY = {
    "task": "reach",
    "dataset": "unused.hdf5",
    "horizon": 4,
    "steps": 8,
    "batch_size": 8,
    "log_every": 1,
    "validate_every": 1000,
    "validate_windows": 4,
    "checkpoint_every": 4,
    "observation": {"image_size": 20, "lowdim_keys": ["robot0_eef_pos"]},
    "network": {
        "encoder": {"blocks": [1], "width": 8, "keypoints": 2, "crop_size": 16, "condition_width": 8},
        "denoiser": {"kind": "dit", "width": 16, "depth": 1, "heads": 2},
    },
    "optimiser": {"warmup_steps": 2, "learning_rate": 3e-3},
}


def trainer(folder, **changes):
    torch.set_num_threads(1)
    made = from_mapping(TrainConfig, {**TINY, "output": str(folder / "bundle"), **changes})
    return Trainer(made, Windows(40), Windows(10), CPU)


def losses(job):
    lines = [json.loads(line) for line in (job.config.run_folder / "metrics.jsonl").read_text().splitlines()]
    return np.array([line["train/loss"] for line in lines if "train/loss" in line])


# The state alone says where to go; without images a step takes milliseconds.
LOWDIM = {
    "encoder": {"kind": "lowdim", "state_width": 32, "condition_width": 16},
    "denoiser": {"kind": "mlp", "width": 64, "depth": 1},
}


def test_bf16_learns_as_fp32_does_and_keeps_float32(tmp_path):
    """Catches weights, averages or moments held in bfloat16, whose 2^-8 swallows an update, and a bf16 that is none."""
    changes = {"network": LOWDIM, "steps": 150, "batch_size": 32, "noise_samples": 4, "contraction": {"gamma": 0.01, "every": 2}}
    jobs = {p: trainer(tmp_path / p, precision=p, **changes) for p in ("fp32", "bf16")}
    results = {name: job.run() for name, job in jobs.items()}
    ends = {name: losses(job)[-30:].mean() for name, job in jobs.items()}
    assert ends["fp32"] < 0.5 * losses(jobs["fp32"])[:5].mean(), "the task is learnt at all"
    assert 0.9 < ends["bf16"] / ends["fp32"] < 1.1
    assert not np.array_equal(losses(jobs["bf16"]), losses(jobs["fp32"]))
    job = jobs["bf16"]
    kept = [*job.policy.state_dict().values(), *results["bf16"].policy.state_dict().values()]
    kept += [t for values in job.optimiser.state_dict()["state"].values() for t in values.values()]
    assert {t.dtype for t in kept} == {torch.float32}


def test_the_loss_is_float32_and_the_penalty_sees_no_autocast(tmp_path, monkeypatch):
    seen, usual = {}, trainer_module.diffusion_loss

    def loss(denoise, chunk, cond, *rest):
        value = usual(denoise, chunk, cond, *rest)
        seen["loss"] = {chunk.dtype, cond.dtype, value.dtype, denoise(chunk, torch.full((len(chunk),), 0.5), cond).dtype}
        return value

    job = trainer(tmp_path, precision="bf16")
    penalty = job.penalty

    def penalised(denoise, *rest):
        seen["penalty"] = (torch.is_autocast_enabled("cpu"), denoise(torch.zeros(1, 4, 10), torch.ones(1), torch.zeros(1, 8)).dtype)
        return penalty(denoise, *rest)

    monkeypatch.setattr(trainer_module, "diffusion_loss", loss)
    job.penalty = penalised
    job.step(0)
    assert seen == {"loss": {torch.float32}, "penalty": (False, torch.float32)}


def test_a_precision_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="precision: 'fp16'"):
        trainer(tmp_path, precision="fp16")


def test_compiled_training_follows_the_same_curve(tmp_path, monkeypatch):
    """The penalty, uncompiled, between compiled steps: catches a graph that keeps weights or gradients of its own.

    Traced and differentiated ahead of time as always; without the C++ that comes after, which takes minutes on a busy machine.
    """
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    plain, compiled = trainer(tmp_path / "plain"), trainer(tmp_path / "compiled", compile=True)
    expected, result = plain.run(), compiled.run()
    np.testing.assert_allclose(losses(compiled), losses(plain), rtol=1e-3)
    assert result.policy.state_dict().keys() == expected.policy.state_dict().keys(), "names of a bundle's weights"
    for name, tensor in expected.policy.state_dict().items():
        assert float((result.policy.state_dict()[name] - tensor).abs().max()) < 2e-4, name
    assert compiled.forward._encode._call is not compiled.policy.encoder, "it was compiled"


def test_without_a_compiler_the_module_runs_as_it_is_and_says_so(monkeypatch):
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("/no/such/compiler",))
    torch.compiler.reset()
    module, x = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.SiLU()), torch.ones(1, 3)
    compiled = Compiled(module)
    with pytest.warns(UserWarning, match=r"compile: Sequential cannot be compiled here \(.*needs a C\+\+ compiler, e\.g\. g\+\+"):
        assert torch.equal(compiled(x), module(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(compiled(x), module(x)), "and says it once"


def test_a_mistake_in_a_network_is_not_taken_for_a_missing_compiler():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), pytest.warns(UserWarning, match="Linear cannot be compiled here"):
        Compiled(torch.nn.Linear(3, 2))(torch.zeros(1, 4))


def test_what_is_compiled_cannot_be_differentiated_twice():
    """Why the penalty stays uncompiled: the day this fails, it need not."""
    fn = torch.compile(lambda x: x.sin() * x, backend="aot_eager")
    x = torch.ones(3, requires_grad=True)
    first = torch.autograd.grad(fn(x).sum(), x, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="double backward"):
        first.sum().backward()


def test_a_checkpoint_from_before_the_precision_goes_on_in_fp32_alone(tmp_path):
    job = trainer(tmp_path)
    job.run()
    last = sorted((job.config.run_folder / "checkpoints").iterdir())[-1] / "state.json"
    stored = json.loads(last.read_text())
    for name in ("precision", "compile", "process_timeout_s"):
        stored["identity"].pop(name, None)
    last.write_text(json.dumps(stored))
    longer = {"validate_every": 3, "compile": False, "threads": 2}
    assert Trainer(replace(job.config, **longer), job.train, job.valid, CPU).run(resume=True).steps == 8
    with pytest.raises(CheckpointError, match="its precision was 'fp32', now it is 'bf16'"):
        Trainer(replace(job.config, precision="bf16"), job.train, job.valid, CPU).run(resume=True)
