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
from cdp.runtime import PolicyRuntime, RuntimeConfig, engine_openvino, openvino_networks
from cdp.runtime.config import JoinConfig
from cdp.runtime.openvino_core import openvino_core
from cdp.runtime.openvino_networks import Request, open_denoiser
from cdp.runtime.openvino_norms import fuse_norms
from cdp.runtime.openvino_split import SplitDenoiser, split_denoiser
from cdp.runtime.planner import Job, Planner
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
    read = openvino_core().read_model(str(bundle.denoiser_path))
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
    return openvino_core().compile_model(model, "CPU", SETTINGS)


def whole_and_split(read):
    core = openvino_core()
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
        split.begin(grid[: rng.integers(len(grid) + 1)])
        for time in grid:
            inputs = {"x": rng.standard_normal(SHAPE).astype(np.float32), "t": np.array([time], np.float32), "cond": condition}
            np.testing.assert_allclose(split(inputs), whole(inputs), atol=2e-5)


@pytest.fixture
def computed(monkeypatch):
    """The times that first parts are computed for, one list a computation."""
    asked, own = [], SplitDenoiser._compute
    monkeypatch.setattr(SplitDenoiser, "_compute", lambda self, times: (asked.append(np.round(times, 3).tolist()), own(self, times))[1])
    return asked


def test_what_is_told_is_computed_at_once_and_the_rest_one_by_one_whatever_came_before(model, computed):
    _, read, width = model
    _, split = whole_and_split(read)
    if split is None:
        return
    rng = np.random.default_rng(0)
    conditions = rng.standard_normal((2, 1, width)).astype(np.float32)

    def chunk(told, grid, condition):
        computed.clear()
        split.begin(told)
        for time in grid:
            split({"x": np.zeros(SHAPE, np.float32), "t": np.array([time], np.float32), "cond": condition})
        return list(computed)

    for first, second in ((0, 1), (1, 1), (1, 0)):
        assert chunk([], [0.9, 0.5], conditions[first]) == [[0.9], [0.5]]
        assert chunk([0.9, 0.5, 0.1], [0.9, 0.5, 0.1, 0.5], conditions[second]) == [[0.9, 0.5, 0.1]]
        assert chunk([0.9, 0.5], [0.9, 0.7], conditions[second]) == [[0.9, 0.5], [0.7]]


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


def failing(error):
    def fail(*_):
        raise error

    return fail


def test_a_form_that_cannot_be_made_gives_way_to_the_next_simpler_one(dit, monkeypatch):
    read, width = read_denoiser(dit)
    shapes = {"x": SHAPE, "t": (1,), "cond": (1, width)}
    whole = Request(compiled(read.clone()), shapes)
    inputs = {name: np.full(shape, 0.5, np.float32) for name, shape in shapes.items()}
    seen = []
    errors = {"fuse_norms": KeyError("cond"), "sampling_loop": RuntimeError("no kernel"), "split_denoiser": ValueError("shape")}
    for broken, error in errors.items():
        monkeypatch.setattr(openvino_networks, broken, failing(error))
        seen.append(open_denoiser(read.clone(), shapes, compiled, 1e-4, 3))
        np.testing.assert_allclose(seen[-1](inputs), whole(inputs), atol=2e-5)
    assert [type(each) for each in seen] == [SampledDenoiser, SplitDenoiser, Request] and isinstance(seen[0].once, SplitDenoiser)


def test_a_runtime_says_in_which_form_its_networks_are_computed(dit, monkeypatch):
    runtime = PolicyRuntime(dit, RuntimeConfig(steps=3))
    assert runtime.form == "frame by frame, one call a chunk" and runtime.engine == f"openvino cpu fp32, {runtime.form}"
    runtime.reconfigure(steps=4)
    assert runtime.form == "frame by frame, step by step"
    assert PolicyRuntime(dit, RuntimeConfig(backend="onnxruntime")).form == "whole windows, whole network"
    for broken in ("sampling_loop", "split_denoiser", "split_encoder"):
        monkeypatch.setattr(openvino_networks, broken, failing(RuntimeError("refused")))
    simple = PolicyRuntime(dit, RuntimeConfig(steps=4))
    assert simple.form == "whole windows, whole network"
    np.testing.assert_allclose(simple.act(window(dit, 0)).normalised, runtime.act(window(dit, 0)).normalised, atol=5e-5)


def with_coefficients(model, factors):
    """The loop with its coefficients (N, 3) multiplied by ``factors`` (1, 3) or (N, 3)."""
    coefficients = next(each for each in model.get_parameters() if each.output(0).get_any_name() == "coefficients")
    consumers = list(coefficients.output(0).get_target_inputs())
    changed = opset13.multiply(coefficients, opset13.constant(np.array(factors, np.float32)))
    for consumer in consumers:
        consumer.replace_source_output(changed.output(0))
    model.validate_nodes_and_infer_types()
    return model


def forgetful():
    """A denoiser that hardly looks at its state: x0 = tanh(t W cond) + 1e-6 x."""
    x, t, cond = (opset13.parameter(shape, np.float32, name=name) for name, shape in (("x", SHAPE), ("t", [1]), ("cond", [1, 4])))
    for parameter in (x, t, cond):
        parameter.output(0).set_names({parameter.get_friendly_name()})
    weights = opset13.constant(np.random.default_rng(0).standard_normal((4, 160)).astype(np.float32))
    rows = opset13.reshape(opset13.tanh(opset13.multiply(t, opset13.matmul(cond, weights, False, False))), opset13.constant(np.array(SHAPE)), False)
    return openvino.Model([opset13.result(opset13.add(rows, opset13.multiply(x, opset13.constant(np.float32(1e-6)))))], [x, t, cond], "forgetful")


@pytest.mark.parametrize(
    ("factors", "used"),
    [([[1, 1, 1]], True), ([[1, 1, 0]], False), ([[1, 1, 1], [1, 0.99, 1], [1, 1, 1]], False), ([[1, 1, 1], [1, 1, 1], [0, 1, 1]], False)],
    ids=["as it is", "no extrapolation", "c of an inner step", "r of the last step"],
)
def test_a_wrong_step_inside_the_loop_is_found_though_the_denoiser_forgets_its_state(monkeypatch, factors, used):
    own = openvino_networks.sampling_loop
    monkeypatch.setattr(openvino_networks, "sampling_loop", lambda model, steps: with_coefficients(own(model, steps), factors))
    made = open_denoiser(forgetful(), {"x": SHAPE, "t": (1,), "cond": (1, 4)}, compiled, 1e-4, 3)
    assert isinstance(made, SampledDenoiser) == used


def test_a_denoiser_that_amplifies_rounding_over_many_steps_is_still_split(dit, monkeypatch):
    read, width = read_denoiser(dit)
    (result,) = read.get_results()
    steep = opset13.sin(opset13.multiply(opset13.add(result.input_value(0), read.input("x").get_node()), opset13.constant(np.float32(30.0))))
    result.input(0).replace_source_output(steep.output(0))
    read.validate_nodes_and_infer_types()
    tried, own = [], openvino_networks.split_denoiser
    monkeypatch.setattr(openvino_networks, "split_denoiser", lambda graph: (tried.append(1), own(graph))[1])
    made = open_denoiser(read, {"x": SHAPE, "t": (1,), "cond": (1, width)}, compiled, 1e-3, 12)
    assert isinstance(made.once if isinstance(made, SampledDenoiser) else made, SplitDenoiser)
    assert tried == [1], "the first form, with its norms put together, is kept"


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
        for denoiser in (runtime._denoiser, runtime._denoiser, runtime._denoiser.once):
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


def test_what_chunks_that_have_to_agree_with_rows_need_is_warm_before_the_first(dit, computed):
    runtime = PolicyRuntime(dit, RuntimeConfig(steps=3))
    computed.clear()
    runtime.warm_up()
    assert len(computed) >= 2 and {len(times) for times in computed} == {3}
    computed.clear()
    runtime.act(window(dit, 0), given=Given(np.full((16, 10), 0.3, np.float32), np.array([1.0] * 4 + [0.0] * 12)))
    assert [len(times) for times in computed] == [3]


def test_an_episode_is_the_same_whatever_was_planned_before_it(dit, computed):
    planner, period_ns = Planner(PolicyRuntime(dit, RuntimeConfig(steps=3)), JoinConfig(join="rtc")), dit.policy.observation.period_ns
    episodes = []

    def episode(seed, count):
        computed.clear()
        episodes.append(seed)
        jobs = (Job(len(episodes), tick * 4 * period_ns, window(dit, seed + tick), period_ns, seed=seed) for tick in range(count))
        return [planner.plan(job).normalised for job in jobs], list(computed)

    chunks, rows = episode(1, 4)
    planner.runtime.reconfigure(steps=5)
    episode(50, 3)
    planner.runtime.reconfigure(steps=3)
    again, rows_again = episode(1, 4)
    np.testing.assert_array_equal(chunks, again)
    assert rows == rows_again and {len(times) for times in rows} == {3}


def test_in_bf16_the_arithmetic_of_the_sampler_stays_out_of_the_graph(dit, monkeypatch):
    monkeypatch.setattr(engine_openvino, "_precision", lambda core, asked: "bf16")
    half = PolicyRuntime(dit, RuntimeConfig(steps=3))
    assert half.precision == "bf16" and not isinstance(half._denoiser, SampledDenoiser)
    monkeypatch.undo()
    np.testing.assert_allclose(
        half.act(window(dit, 0)).normalised, PolicyRuntime(dit, RuntimeConfig(steps=3)).act(window(dit, 0)).normalised, atol=0.1
    )
