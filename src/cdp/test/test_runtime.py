import subprocess
import sys

import numpy as np
import openvino
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.actions import eef_pose, gripper_to_width_m
from cdp.bundle import Bundle
from cdp.config import ConfigError, from_mapping
from cdp.data.normalise import MinMax, Stats
from cdp.diffusion.sampler import sample
from cdp.geometry import matrix_to_rot6d, rot6d_to_matrix
from cdp.runtime import InferenceError, PolicyRuntime, RuntimeConfig

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
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
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
