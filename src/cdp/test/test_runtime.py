import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.actions import eef_pose, gripper_to_width_m
from cdp.bundle import Bundle
from cdp.config import ConfigError, from_mapping
from cdp.data.normalise import MinMax, Stats
from cdp.diffusion.paths import EDM, FlowMatching, VPLinear
from cdp.diffusion.sampler import sample
from cdp.diffusion.schedule import Schedule
from cdp.geometry import matrix_to_rot6d, rot6d_to_matrix
from cdp.runtime import InferenceError, PolicyRuntime, RuntimeConfig
from cdp.runtime.openvino_core import openvino_core
from cdp.runtime.policy import Given, Overlap

BACKENDS = ("openvino", "onnxruntime")


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return Bundle.open(tiny_bundle)


@pytest.fixture(scope="module")
def runtimes(bundle):
    return {backend: PolicyRuntime(bundle, RuntimeConfig(backend=backend)) for backend in BACKENDS}


def window(bundle, seed=0):
    rng = np.random.default_rng(seed)
    spec = bundle.policy.observation
    image = rng.integers(0, 256, (spec.window, spec.image_size, spec.image_size, 3), dtype=np.uint8)
    return {"image": image, "lowdim": rng.uniform(-1, 1, (spec.window, spec.lowdim_width)).astype(np.float32)}


def torch_chunk(policy, description, seen, noise, steps, solver):
    """The same chunk by torch: pictures to [0, 1], channels first, one encoder call, the sampler on tensors."""
    with torch.no_grad():
        image = torch.from_numpy(seen["image"]).permute(0, 3, 1, 2)[None].float() / 255
        cond = policy.encode(image, torch.from_numpy(seen["lowdim"])[None])
        return sample(lambda x, t: policy.denoise(x, t, cond), torch.from_numpy(noise), steps, solver, description.schedule)[0].numpy()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("steps", "solver"), [(1, "ddim"), (3, "ddim"), (4, "dpmpp_2m")])
def test_every_backend_gives_torchs_chunk(bundle, tiny_policy, backend, steps, solver):
    runtime = PolicyRuntime(bundle, RuntimeConfig(backend=backend, steps=steps, solver=solver, seed=5))
    seen = window(bundle)
    noise = np.random.default_rng(5).standard_normal((1, 16, 10), dtype=np.float32)
    expected = torch_chunk(tiny_policy.policy, tiny_policy.description, seen, noise, steps, solver)
    prediction = runtime.act(seen)
    np.testing.assert_allclose(prediction.normalised, expected, atol=1e-4)
    assert prediction.rows.shape == (16, 10) and prediction.rows.dtype == np.float64


def test_rows_are_the_denormalised_action_with_a_true_rotation_and_an_opening(bundle, runtimes):
    prediction = runtimes["onnxruntime"].act(window(bundle))
    raw = bundle.stats.action.denormalise(prediction.normalised)
    position, rotation, width = eef_pose(prediction.rows)
    np.testing.assert_allclose(position, raw[:, :3])
    np.testing.assert_allclose(prediction.rows[:, 3:9], matrix_to_rot6d(rot6d_to_matrix(raw[:, 3:9])))
    np.testing.assert_allclose(np.swapaxes(rotation, -1, -2) @ rotation, np.broadcast_to(np.eye(3), rotation.shape), atol=1e-12)
    np.testing.assert_allclose(width, np.clip(gripper_to_width_m(raw[:, 9]), 0.0, 0.08))


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 4))
def test_an_episode_repeats_exactly_from_its_seed(bundle, runtimes, backend, seed, count):
    def episode():
        runtimes[backend].reset(seed)
        return np.stack([runtimes[backend].act(window(bundle, i)).rows for i in range(count)])

    np.testing.assert_array_equal(episode(), episode())


def test_noise_moves_on_within_an_episode_and_not_at_all_when_it_is_zero(bundle, runtimes):
    seen = window(bundle)
    runtime = runtimes["openvino"]
    runtime.reset(1)
    first = runtime.act(seen).normalised
    assert np.abs(first - runtime.act(seen).normalised).max() > 1e-6
    still = PolicyRuntime(bundle, RuntimeConfig(initial_noise="zero"))
    np.testing.assert_array_equal(still.act(seen).normalised, still.act(seen).normalised)


def test_temperature_scales_the_initial_noise(bundle, tiny_policy):
    seen, noise = window(bundle), np.random.default_rng(0).standard_normal((1, 16, 10), dtype=np.float32)
    for temperature in (0.0, 0.5, 2.0):
        found = PolicyRuntime(bundle, RuntimeConfig(backend="onnxruntime", temperature=temperature)).act(seen).normalised
        expected = torch_chunk(tiny_policy.policy, tiny_policy.description, seen, np.float32(temperature) * noise, 3, "ddim")
        np.testing.assert_allclose(found, expected, atol=1e-4)
    for wrong in (-0.1, 2.1):
        with pytest.raises(ConfigError, match=rf"temperature: {wrong} is outside \[0.0, 2.0\]"):
            from_mapping(RuntimeConfig, {"temperature": wrong})


def test_warming_up_takes_no_noise(bundle, runtimes):
    seen = window(bundle)
    runtime = runtimes["onnxruntime"]
    runtime.reset(3)
    expected = runtime.act(seen).normalised
    runtime.reset(3)
    assert runtime.warm_up() > 0
    np.testing.assert_array_equal(runtime.act(seen).normalised, expected)


def test_steps_and_solver_default_to_what_was_measured(bundle, runtimes):
    assert (runtimes["openvino"].steps, runtimes["openvino"].solver) == (bundle.policy.steps, bundle.policy.solver)


def test_predictions_that_are_no_action_are_refused(bundle, tiny_policy):
    seen = window(bundle)
    seen["lowdim"][0, 0] = np.nan
    with pytest.raises(InferenceError, match="NaN"):
        PolicyRuntime(bundle).act(seen)
    zero = np.zeros(10)
    flat = Bundle(bundle.path, bundle.manifest, Stats(MinMax(zero, zero), bundle.stats.lowdim))
    with pytest.raises(InferenceError, match="no rotation"):
        PolicyRuntime(flat).act(window(bundle))


@pytest.mark.parametrize("part", ["image", "lowdim"])
def test_another_window_is_refused(bundle, runtimes, part):
    seen = window(bundle)
    seen[part] = seen[part][:1]
    with pytest.raises(ValueError, match="a window is image"):
        runtimes["openvino"].act(seen)


def test_bf16_is_close_where_the_cpu_has_it_and_refused_where_it_would_be_emulated(bundle, runtimes):
    config = RuntimeConfig(precision="bf16")
    if "BF16" not in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(InferenceError, match="AVX512_BF16"):
            PolicyRuntime(bundle, config)
        return
    runtimes["openvino"].reset(0)
    expected = runtimes["openvino"].act(window(bundle)).normalised
    np.testing.assert_allclose(PolicyRuntime(bundle, config).act(window(bundle)).normalised, expected, atol=0.1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_network_that_cannot_be_loaded_is_said_in_one_line(bundle, tmp_path, backend):
    for name in ("encoder.onnx", "denoiser.onnx"):
        (tmp_path / name).write_bytes(b"not a network")
    with pytest.raises(InferenceError, match=rf"{backend} .* cannot load .*encoder.onnx") as caught:
        PolicyRuntime(Bundle(tmp_path, bundle.manifest, bundle.stats), RuntimeConfig(backend=backend))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"backend": "tflite"}, "backend: 'tflite'"),
        ({"steps": 0}, "steps: 0 is outside"),
        ({"solver": "heun"}, "solver: 'heun'"),
        ({"backend": "onnxruntime", "precision": "bf16"}, "precision: 'bf16' needs"),
        ({"provider": "cuda"}, "provider: 'cuda' needs"),
    ],
)
def test_a_bad_setting_is_refused_by_name(values, said):
    with pytest.raises(ConfigError, match=said):
        from_mapping(RuntimeConfig, values)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_runtime_never_imports_torch(tiny_bundle, backend):
    code = (
        "import sys\nfrom cdp.bundle import Bundle\nfrom cdp.runtime import PolicyRuntime, RuntimeConfig\n"
        f"PolicyRuntime(Bundle.open({str(tiny_bundle)!r}), RuntimeConfig(backend={backend!r})).warm_up()\n"
        "loaded = {'torch', 'onnx', 'h5py', 'matplotlib', 'rclpy'} & set(sys.modules)\nassert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_torch_runs_the_weights_and_gives_the_same_chunk(bundle, runtimes):
    runtime = PolicyRuntime(bundle, RuntimeConfig(backend="torch"))
    assert runtime.engine == "torch cpu fp32"
    runtimes["onnxruntime"].reset()
    np.testing.assert_allclose(runtime.act(window(bundle)).normalised, runtimes["onnxruntime"].act(window(bundle)).normalised, atol=1e-4)


@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_onnxruntime_lacks_is_refused_in_one_line(bundle, provider, monkeypatch):
    config = RuntimeConfig(backend="onnxruntime", provider=provider)
    name = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}[provider]
    if name not in onnxruntime.get_available_providers():
        with pytest.raises(InferenceError, match=f"has no provider {provider}: it is not part") as caught:
            PolicyRuntime(bundle, config)
        assert "\n" not in str(caught.value)
        # Part of the package, but its libraries are not there: ONNX Runtime says nothing and takes the CPU.
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [name, "CPUExecutionProvider"])
        with pytest.raises(InferenceError, match=f"has no provider {provider}: its libraries|cannot load"):
            PolicyRuntime(bundle, config)
    else:
        assert PolicyRuntime(bundle, config).provider == provider


def test_precision_auto_is_bf16_only_where_the_cpu_has_it_and_is_told(bundle):
    native = "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    runtime = PolicyRuntime(bundle, RuntimeConfig(precision="auto"))
    assert runtime.precision == ("bf16" if native else "fp32") and runtime.engine.startswith(f"openvino cpu {runtime.precision}, ")
    assert PolicyRuntime(bundle, RuntimeConfig()).precision == "fp32", "never unasked"


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_changes_at_run_time_is_what_a_new_runtime_would_do(bundle, backend):
    seen, overlap = window(bundle), Overlap(np.full((16, 10), 0.3, np.float32), 12)
    runtime = PolicyRuntime(bundle, RuntimeConfig(backend=backend))
    encoder, denoiser, before = runtime._encoder, runtime._denoiser, runtime.act(seen, overlap).normalised
    for changes in (
        {"steps": 5},
        {"solver": "dpmpp_2m"},
        {"temperature": 0.5},
        {"seed": 7},
        {"initial_noise": "warm"},
        {"warm_level": 0.5},
        {"initial_noise": "zero"},
        {"steps": None},
    ):
        runtime.reconfigure(**changes)
        runtime.reset()
        # Of onnxruntime for both: it is loaded in no time, and is held against openvino elsewhere.
        expected = PolicyRuntime(bundle, replace(runtime.config, backend="onnxruntime")).act(seen, overlap).normalised
        found = runtime.act(seen, overlap).normalised
        np.testing.assert_allclose(found, expected, rtol=0, atol=5e-5 if backend == "openvino" else 0)
        assert np.abs(found - before).max() > 1e-4, f"{changes} changes something"
        before = found
    assert runtime.steps == bundle.policy.steps and (runtime._encoder, runtime._denoiser) == (encoder, denoiser)


def test_a_change_that_needs_the_networks_anew_or_is_bad_changes_nothing(bundle, runtimes):
    runtime = runtimes["onnxruntime"]
    before = runtime.config
    for changes, said in (({"threads": 2}, "threads: cannot change"), ({"backend": "torch"}, "load the bundle again"), ({"steps": 0}, "steps: 0")):
        with pytest.raises(ConfigError, match=said):
            runtime.reconfigure(temperature=0.5, **changes)
    assert runtime.config is before


def test_only_another_seed_starts_the_noise_anew(bundle):
    runtime = PolicyRuntime(bundle, RuntimeConfig(backend="onnxruntime"))
    first = runtime.act(window(bundle)).normalised
    runtime.reconfigure(seed=0, temperature=1.0)
    assert not np.array_equal(runtime.act(window(bundle)).normalised, first)
    runtime.reconfigure(seed=1)
    runtime.reconfigure(seed=0)
    np.testing.assert_array_equal(runtime.act(window(bundle)).normalised, first)


@pytest.mark.parametrize("level", [1.0, 0.5])
@pytest.mark.parametrize("path", [Schedule(), VPLinear(), EDM(), FlowMatching()], ids=lambda p: p.kind)
def test_a_warm_start_is_the_last_chunk_noised_to_where_the_sampler_starts(bundle, path, level):
    manifest = replace(bundle.manifest, policy=replace(bundle.policy, schedule=path))
    config = RuntimeConfig(backend="onnxruntime", initial_noise="warm", warm_level=level, temperature=0.5, seed=4)
    runtime = PolicyRuntime(replace(bundle, manifest=manifest), config)
    states = []
    runtime._denoiser = lambda inputs: states.append((inputs["x"], float(inputs["t"][0]))) or 0.1 * np.ones_like(inputs["x"])
    last = np.random.default_rng(1).uniform(-1, 1, (16, 10)).astype(np.float32)
    runtime.act(window(bundle), Overlap(last, 12))
    state, t = states[0]
    assert t == pytest.approx(path.window_end(level))
    noise = 0.5 * np.random.default_rng(4).standard_normal((1, 16, 10), dtype=np.float32)
    np.testing.assert_allclose(state[0], path.alpha(t) * last + path.sigma(t) * noise[0], rtol=1e-5, atol=1e-5)
    # The sampler makes its steps from there, down to the data.
    assert len(states) == 3 and [t for _, t in states] == pytest.approx(list(path.time_grid(3, t)[:-1]))
    states.clear()
    runtime.reset()
    runtime.act(window(bundle))
    assert states[0][1] == pytest.approx(path.t_max), "an episode's first chunk starts from noise"


def test_given_rows_are_met_and_without_weight_change_nothing(bundle):
    runtime = PolicyRuntime(bundle, RuntimeConfig(backend="onnxruntime"))
    seen, values = window(bundle), np.random.default_rng(1).uniform(-1, 1, (16, 10)).astype(np.float32)
    free = runtime.act(seen).normalised
    runtime.reset()
    np.testing.assert_array_equal(runtime.act(seen, given=Given(values, np.zeros(16))).normalised, free)
    for products in (0, 2):
        runtime.reset()
        found = runtime.act(seen, given=Given(values, (np.arange(16) < 3).astype(float), products)).normalised
        np.testing.assert_array_equal(found[:3], values[:3])
        # Random weights are no posterior mean: what they answer must not throw the free rows away.
        assert np.sqrt(np.mean((found - free) ** 2)) < 3.0
