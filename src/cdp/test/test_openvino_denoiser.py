"""The denoiser in two networks, and all steps of a sampler as one, give what the whole network gives step by step."""

from dataclasses import replace
from functools import cache

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
from cdp.runtime.openvino_split import SplitDenoiser, split_denoiser
from cdp.runtime.policy import Given, Overlap
from cdp.runtime.sampled import SampledDenoiser

SETTINGS = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
SHAPE = (1, 16, 10)
DENOISERS = {
    "dit": DenoiserConfig(kind="dit", width=32, depth=2, heads=2),
    "mlp": DenoiserConfig(kind="mlp", width=32, depth=1),
    "pearce": DenoiserConfig(kind="pearce", width=32, depth=2),
    "unet": DenoiserConfig(kind="unet", width=16, depth=2),
}


@pytest.fixture(scope="module")
def bundles(tiny_policy, tmp_path_factory):
    """Bundles of the tiny policy with other denoisers, no weight of which is zero, made once each when they are asked for."""
    return cache(lambda kind: bundle_of(tiny_policy, DENOISERS[kind], tmp_path_factory.mktemp("split") / kind))


def bundle_of(tiny_policy, denoiser, folder):
    t = tiny_policy
    config = replace(t.config, denoiser=denoiser)
    spec = t.description.observation
    torch.manual_seed(1)
    policy = build_policy(config, lowdim_width=spec.lowdim_width, action_width=10, window=spec.window, horizon=16).eval()
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    write_bundle(folder, policy, description=t.description, config=config, stats=t.stats, report=t.report, card=t.card)
    return Bundle.open(folder)


def read_denoiser(bundle):
    read = openvino.Core().read_model(str(bundle.denoiser_path))
    width = read.input("cond").get_partial_shape()[1].get_length()
    read.reshape({"x": list(SHAPE), "t": [1], "cond": [1, width]})
    return read, width


@pytest.fixture(scope="module", params=DENOISERS)
def model(request, bundles):
    """Name of a denoiser, it as OpenVINO reads it, and the width of its condition."""
    return request.param, *read_denoiser(bundles(request.param))


@pytest.fixture(scope="module")
def dit(bundles):
    return bundles("dit")


def compiled(model):
    return openvino.Core().compile_model(model, "CPU", SETTINGS)


def whole_and_split(read):
    core = openvino.Core()
    request = core.compile_model(read, "CPU", SETTINGS).create_infer_request()
    parts = split_denoiser(read)
    if parts is None:
        split = None
    else:
        head, body = (core.compile_model(part, "CPU", SETTINGS) for part in parts[:2])
        split = SplitDenoiser(head, body, parts[2])

    def whole(inputs):
        request.infer(inputs)
        return np.array(request.get_output_tensor().data)

    return whole, split


def test_every_sequence_of_times_and_conditions_gives_what_the_whole_network_gives(model):
    kind, read, width = model
    whole, split = whole_and_split(read)
    assert split is not None or kind in ("mlp", "pearce"), f"{kind}: nothing to compute once a chunk"
    if split is None:
        return
    rng = np.random.default_rng(0)
    grids = [[0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [0.9], [0.9, 0.7, 0.5, 0.3], [0.2, 0.2, 0.9]]
    for grid in [*grids, *(rng.choice([0.1, 0.4, 0.9], 3).tolist() for _ in range(10))]:
        condition = rng.standard_normal((1, width)).astype(np.float32)
        for time in grid:
            inputs = {"x": rng.standard_normal(SHAPE).astype(np.float32), "t": np.array([time], np.float32), "cond": condition}
            np.testing.assert_allclose(split(inputs), whole(inputs), atol=2e-5)


def test_a_chunk_like_the_last_computes_the_first_part_once_and_one_with_fewer_steps_forgets_the_others(model, monkeypatch):
    _, read, width = model
    _, split = whole_and_split(read)
    if split is None:
        return
    asked = []
    monkeypatch.setattr(split, "_compute", lambda times, own=split._compute: (asked.append(times), own(times)))
    rng = np.random.default_rng(0)

    def chunk(grid):
        asked.clear()
        condition = rng.standard_normal((1, width)).astype(np.float32)
        for time in grid:
            split({"x": np.zeros(SHAPE, np.float32), "t": np.array([time], np.float32), "cond": condition})
        return [np.round(times, 3).tolist() for times in asked]

    assert chunk([0.9, 0.5, 0.1]) == [[0.9], [0.5], [0.1]]
    assert chunk([0.9, 0.5, 0.1]) == [[0.9, 0.5, 0.1]]
    assert chunk([0.9]) == [[0.9, 0.5, 0.1]]
    assert chunk([0.9]) == [[0.9]]


def test_an_input_of_another_shape_is_refused(model):
    _, read, width = model
    _, split = whole_and_split(read)
    if split is None:
        return
    with pytest.raises(ValueError, match="x: shape"):
        split({"x": np.zeros((1, 1, 10), np.float32), "t": np.zeros(1, np.float32), "cond": np.zeros((1, width), np.float32)})


@pytest.mark.parametrize("steps", [1, 4])
def test_the_loop_is_the_sampler_on_the_whole_network_for_every_solver_path_and_start(model, steps):
    _, read, width = model
    shapes = {"x": SHAPE, "t": (1,), "cond": (1, width)}
    whole, made = Request(compiled(read.clone()), shapes), open_denoiser(read.clone(), shapes, compiled, 1e-4, steps)
    assert isinstance(made, SampledDenoiser) and made.steps == steps
    rng = np.random.default_rng(0)
    for solver in SOLVERS:
        for path in (Schedule(), FlowMatching(), EDM()):
            for start in (None, path.window_end(0.6)):
                noise, condition = (rng.standard_normal(shapes[name], dtype=np.float32) for name in ("x", "cond"))
                one_by_one = sample(lambda x, t, c=condition: whole({"x": x, "t": t, "cond": c}), noise, steps, solver, path, start=start)
                np.testing.assert_allclose(made.sample(noise, condition, solver, path, start), one_by_one, atol=5e-5)


def test_a_loop_or_a_norm_that_computes_something_else_is_not_used(dit, monkeypatch):
    read, width = read_denoiser(dit)
    shapes = {"x": SHAPE, "t": (1,), "cond": (1, width)}
    whole, own = Request(compiled(read.clone()), shapes), openvino_networks.sampling_loop
    inputs = {name: np.full(shape, 0.5, np.float32) for name, shape in shapes.items()}

    def off(model):
        (result,) = model.get_results()
        result.input(0).replace_source_output(opset13.multiply(result.input_value(0), opset13.constant(np.float32(1.01))).output(0))
        model.validate_nodes_and_infer_types()
        return model

    monkeypatch.setattr(openvino_networks, "sampling_loop", lambda model, steps: off(own(model, steps)))
    kept = open_denoiser(read.clone(), shapes, compiled, 1e-4, 3)
    assert not isinstance(kept, SampledDenoiser)
    np.testing.assert_allclose(kept(inputs), whole(inputs), atol=2e-5)
    monkeypatch.setattr(openvino_networks, "sampling_loop", own)
    monkeypatch.setattr(openvino_networks, "fuse_norms", off)
    kept = open_denoiser(read.clone(), shapes, compiled, 1e-4, 3)
    assert isinstance(kept, SampledDenoiser)
    np.testing.assert_allclose(kept(inputs), whole(inputs), atol=2e-5)


def test_every_norm_of_the_transformer_is_found(dit):
    assert fuse_norms(read_denoiser(dit)[0]) == 2 * DENOISERS["dit"].depth + 1


def window(bundle, seed):
    rng, spec = np.random.default_rng(seed), bundle.policy.observation
    image = rng.integers(0, 256, (spec.window, spec.image_size, spec.image_size, 3), dtype=np.uint8)
    return {"image": image, "lowdim": rng.uniform(-1, 1, (spec.window, spec.lowdim_width)).astype(np.float32)}


def test_a_runtime_samples_in_one_call_what_it_samples_step_by_step_and_repeats_it_exactly(dit):
    seen, overlap = window(dit, 0), Overlap(np.full((16, 10), 0.3, np.float32), 12)
    for changes in ({}, {"solver": "dpmpp_2m"}, {"initial_noise": "warm", "warm_level": 0.5}, {"temperature": 0.3}):
        config = RuntimeConfig(steps=4, seed=2, **changes)
        runtime, chunks = PolicyRuntime(dit, config), []
        for denoiser in (runtime._denoiser, runtime._denoiser, runtime._denoiser._once):
            runtime._denoiser = denoiser
            runtime.reset()
            chunks.append([runtime.act(seen, overlap).normalised for _ in range(2)])
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
