"""All steps of a sampler as one network give what they give one by one, and a network that does not is not used."""

from dataclasses import replace

import numpy as np
import openvino
import pytest
import torch
from openvino import opset13

from cdp.bundle import Bundle
from cdp.bundle.writer import write_bundle
from cdp.diffusion.paths import EDM, FlowMatching
from cdp.diffusion.sampler import SOLVERS, sample
from cdp.diffusion.schedule import Schedule
from cdp.networks.config import DenoiserConfig
from cdp.networks.policy import build_policy
from cdp.runtime import PolicyRuntime, RuntimeConfig, openvino_networks
from cdp.runtime.openvino_networks import Request, open_denoiser
from cdp.runtime.openvino_norms import fuse_norms
from cdp.runtime.policy import Given, Overlap
from cdp.runtime.sampled import SampledDenoiser

SHAPES = {"x": (1, 16, 10), "t": (1,), "cond": (1, 12)}
DENOISERS = {
    "dit": DenoiserConfig(kind="dit", width=32, depth=2, heads=2),
    "mlp": DenoiserConfig(kind="mlp", width=32, depth=1),
    "pearce": DenoiserConfig(kind="pearce", width=32, depth=2),
    "unet": DenoiserConfig(kind="unet", width=16, depth=2),
}


def compiled(model):
    return openvino.Core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"})


def trained_a_little(tiny_policy, denoiser, folder):
    """Bundle of the tiny policy with another denoiser, no weight of which is zero."""
    t = tiny_policy
    config = replace(t.config, denoiser=denoiser, encoder=replace(t.config.encoder, condition_width=SHAPES["cond"][1]))
    spec = t.description.observation
    torch.manual_seed(1)
    policy = build_policy(config, lowdim_width=spec.lowdim_width, action_width=10, window=spec.window, horizon=16).eval()
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    write_bundle(folder, policy, description=t.description, config=config, stats=t.stats, report=t.report, card=t.card)
    return Bundle.open(folder)


def read(bundle):
    model = openvino.Core().read_model(str(bundle.denoiser_path))
    model.reshape({name: list(shape) for name, shape in SHAPES.items()})
    return model


@pytest.fixture(scope="module", params=DENOISERS)
def model(request, tiny_policy, tmp_path_factory):
    """A denoiser as OpenVINO reads it."""
    return read(trained_a_little(tiny_policy, DENOISERS[request.param], tmp_path_factory.mktemp("loop") / "one"))


@pytest.fixture(scope="module")
def dit(tiny_policy, tmp_path_factory):
    return trained_a_little(tiny_policy, DENOISERS["dit"], tmp_path_factory.mktemp("dit") / "one")


@pytest.mark.parametrize("steps", [1, 4])
def test_the_loop_is_the_sampler_on_the_whole_network_for_every_solver_path_and_start(model, steps):
    whole, made = Request(compiled(model.clone()), SHAPES), open_denoiser(model, SHAPES, compiled, 1e-4, steps)
    assert isinstance(made, SampledDenoiser) and made.steps == steps
    rng = np.random.default_rng(0)
    for solver in SOLVERS:
        for path in (Schedule(), FlowMatching(), EDM()):
            for start in (None, path.window_end(0.6)):
                noise, condition = (rng.standard_normal(SHAPES[name], dtype=np.float32) for name in ("x", "cond"))
                one_by_one = sample(lambda x, t, c=condition: whole({"x": x, "t": t, "cond": c}), noise, steps, solver, path, start=start)
                np.testing.assert_allclose(made.sample(noise, condition, solver, path, start), one_by_one, atol=5e-5)


def test_a_loop_or_a_norm_that_computes_something_else_is_not_used(dit, monkeypatch):
    whole, own = Request(compiled(read(dit)), SHAPES), openvino_networks.sampling_loop
    inputs = {"x": np.ones(SHAPES["x"], np.float32), "t": np.full(1, 0.5, np.float32), "cond": np.ones(SHAPES["cond"], np.float32)}

    def off(model):
        (result,) = model.get_results()
        result.input(0).replace_source_output(opset13.multiply(result.input_value(0), opset13.constant(np.float32(1.01))).output(0))
        model.validate_nodes_and_infer_types()
        return model

    monkeypatch.setattr(openvino_networks, "sampling_loop", lambda model, steps: off(own(model, steps)))
    kept = open_denoiser(read(dit), SHAPES, compiled, 1e-4, 3)
    assert not isinstance(kept, SampledDenoiser)
    np.testing.assert_allclose(kept(inputs), whole(inputs), atol=2e-5)
    monkeypatch.setattr(openvino_networks, "sampling_loop", own)
    monkeypatch.setattr(openvino_networks, "fuse_norms", off)
    kept = open_denoiser(read(dit), SHAPES, compiled, 1e-4, 3)
    assert isinstance(kept, SampledDenoiser)
    np.testing.assert_allclose(kept(inputs), whole(inputs), atol=2e-5)


def norm(*, epsilon=1e-5, axis=-1, value=None):
    """Graph of (x - mean(value)) / sqrt(mean((x - mean)^2) + epsilon), value x itself unless given."""
    x = opset13.parameter([2, 5, 7], np.float32, name="x")
    axes = opset13.constant(np.array([axis]))
    centred = opset13.subtract(x, opset13.reduce_mean(x if value is None else value(x), axes, True))
    variance = opset13.reduce_mean(opset13.multiply(centred, centred), axes, True)
    root = opset13.sqrt(opset13.add(variance, opset13.constant(np.float32(epsilon))))
    return openvino.Model([opset13.result(opset13.multiply(centred, opset13.divide(opset13.constant(np.float32(1.0)), root)))], [x], "norm")


@pytest.mark.parametrize("axis", [-1, 2])
@pytest.mark.parametrize("epsilon", [1e-5, 0.5])
def test_a_norm_in_pieces_becomes_one_operation_with_the_same_values(axis, epsilon):
    fused = norm(epsilon=epsilon, axis=axis)
    assert fuse_norms(fused) == 1 and "MVN" in {op.get_type_name() for op in fused.get_ops()}
    x = 3.0 + np.random.default_rng(0).standard_normal((2, 5, 7)).astype(np.float32)
    centred = x - x.mean(-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    np.testing.assert_allclose(compiled(fused)([x])[0], expected, atol=1e-5)


def test_what_only_looks_like_a_norm_is_left_alone():
    assert fuse_norms(norm(axis=1)) == 0
    assert fuse_norms(norm(value=lambda x: opset13.relu(x))) == 0


def test_every_norm_of_the_transformer_is_found(dit):
    assert fuse_norms(read(dit)) == 2 * DENOISERS["dit"].depth + 1


def window(bundle, seed):
    rng, spec = np.random.default_rng(seed), bundle.policy.observation
    image = rng.integers(0, 256, (spec.window, spec.image_size, spec.image_size, 3), dtype=np.uint8)
    return {"image": image, "lowdim": rng.uniform(-1, 1, (spec.window, spec.lowdim_width)).astype(np.float32)}


def test_a_runtime_samples_in_one_call_what_it_samples_step_by_step_and_repeats_it_exactly(dit):
    seen, overlap = window(dit, 0), Overlap(np.full((16, 10), 0.3, np.float32), 12)
    for changes in ({}, {"solver": "dpmpp_2m"}, {"initial_noise": "warm", "warm_level": 0.5}, {"temperature": 0.3}):
        config = RuntimeConfig(steps=4, seed=2, **changes)
        first, second, apart = (PolicyRuntime(dit, config) for _ in range(3))
        apart._denoiser = apart._denoiser._once
        chunks = [runtime.act(seen, overlap).normalised for runtime in (first, second, apart)]
        np.testing.assert_array_equal(chunks[0], chunks[1])
        np.testing.assert_allclose(chunks[0], chunks[2], atol=2e-5)


def test_other_steps_and_chunks_that_have_to_agree_with_rows_go_step_by_step(dit, monkeypatch):
    runtime, calls = PolicyRuntime(dit, RuntimeConfig(steps=3)), []
    own = runtime._denoiser.sample
    monkeypatch.setattr(runtime._denoiser, "sample", lambda *given: (calls.append(1), own(*given))[1])
    seen = window(dit, 0)
    given = Given(np.full((16, 10), 0.3, np.float32), np.array([1.0] * 4 + [0.0] * 12))
    assert np.abs(runtime.act(seen, given=given).normalised[:4] - 0.3).max() < 1e-5
    runtime.reconfigure(steps=5)
    runtime.reset()
    found = runtime.act(seen).normalised
    assert not calls
    np.testing.assert_allclose(found, PolicyRuntime(dit, RuntimeConfig(steps=5)).act(seen).normalised, atol=2e-5)
    runtime.reconfigure(steps=3)
    runtime.act(seen)
    assert calls == [1]
