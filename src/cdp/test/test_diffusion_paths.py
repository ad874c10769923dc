"""Every noise path against its definition: rates, inverse, grids, conversions, configuration."""

import subprocess
import sys
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cdp.config import ConfigError, from_mapping, to_mapping
from cdp.diffusion import conversions
from cdp.diffusion.paths import EDM, PATHS, FlowMatching, PathConfig, Schedule, VPLinear, path_from_mapping
from cdp.diffusion.prediction import PREDICTIONS, as_x0, standardised, target

GRIDS = [
    *(Schedule(grid=grid) for grid in ("uniform", "quadratic", "logsnr")),
    *(VPLinear(grid=grid) for grid in ("uniform", "quadratic", "logsnr")),
    *(FlowMatching(grid=grid) for grid in ("uniform", "quadratic")),
    EDM(),
    EDM(sigma_max=10.0, rho=3.0),
]
EVERY_PATH = pytest.mark.parametrize("path", [factory() for factory in PATHS.values()], ids=list(PATHS))
EVERY_GRID = pytest.mark.parametrize("path", GRIDS, ids=lambda path: f"{path.kind}-{getattr(path, 'grid', 'karras')}")
LOG_SNRS = st.floats(-4.0, 4.0)


def test_the_robot_imports_neither_torch_nor_scipy():
    modules = ["arrays", "conversions", "known", "path", "paths", "prediction", "reference", "sampler", "schedule", "steps"]
    code = f"import sys, {', '.join(f'cdp.diffusion.{name}' for name in modules)}; sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@EVERY_PATH
def test_data_at_one_end_and_noise_at_the_other(path):
    assert path.alpha(0.0) == pytest.approx(1.0, abs=1e-12) and path.sigma(0.0) == 0.0
    assert path.alpha(path.t_max) <= 0.013 * path.sigma(path.t_max), "little of the data is left where sampling starts"
    # Data of spread 1 hardly widen the state that sampling takes for pure noise.
    assert np.hypot(path.alpha(path.t_max), path.sigma(path.t_max)) == pytest.approx(path.noise_scale, rel=1e-4)
    times = path.time_grid(50)
    assert np.all(np.diff(path.sigma(times)) < 0) and np.all(np.diff(path.alpha(times)) >= 0)


@EVERY_PATH
@given(log_snr=LOG_SNRS)
def test_the_inverse_inverts_and_rates_are_derivatives(path, log_snr):
    t = path.time_of_log_snr(log_snr)
    assert isinstance(t, float) and 0.0 < t < path.t_max
    assert path.log_snr(t) == pytest.approx(log_snr, abs=1e-9)
    h = 1e-5 * t
    for value, rate in ((path.alpha, path.alpha_dt), (path.sigma, path.sigma_dt)):
        assert rate(t) == pytest.approx((value(t + h) - value(t - h)) / (2 * h), rel=1e-6, abs=1e-9)
    assert path.dlog_alpha_dt(t) == pytest.approx(path.alpha_dt(t) / path.alpha(t), rel=1e-9)
    assert path.dlog_sigma_dt(t) == pytest.approx(path.sigma_dt(t) / path.sigma(t), rel=1e-9)


@EVERY_PATH
@given(log_snr=LOG_SNRS)
def test_diffusion_is_what_the_forward_marginals_ask_for(path, log_snr):
    """d(sigma^2)/dt = 2 f sigma^2 + g^2: the variance balance of da = f a dt + g dW."""
    t = path.time_of_log_snr(log_snr)
    balance = 2.0 * path.sigma(t) * path.sigma_dt(t) - 2.0 * path.dlog_alpha_dt(t) * path.sigma(t) ** 2
    assert path.diffusion_squared(t) == pytest.approx(balance, rel=1e-9) and path.diffusion_squared(t) > 0


@given(LOG_SNRS)
def test_closed_forms_of_the_linear_schedule(log_snr):
    path = VPLinear()
    t = path.time_of_log_snr(log_snr)
    assert path.alpha(t) ** 2 + path.sigma(t) ** 2 == pytest.approx(1.0, abs=1e-12)
    integral = np.trapezoid([0.1 + s * 19.9 for s in np.linspace(0, t, 3)], np.linspace(0, t, 3))
    assert path.alpha(t) == pytest.approx(np.exp(-0.5 * integral), rel=1e-12)


@EVERY_PATH
def test_floats_arrays_and_tensors_agree(path):
    times = path.time_of_log_snr(np.linspace(-4.0, 4.0, 7))
    names = ["alpha", "sigma", "alpha_dt", "sigma_dt", "dlog_alpha_dt", "dlog_sigma_dt", "log_snr", "diffusion_squared", "contraction_limit"]
    for name in names:
        function = getattr(path, name)
        by_float = [function(t) for t in times.tolist()]
        assert all(isinstance(value, float) for value in by_float), name
        np.testing.assert_allclose(function(times), by_float, rtol=1e-12)
        tensor = function(torch.from_numpy(times).float())
        assert isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float32
        np.testing.assert_allclose(tensor.numpy(), by_float, rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(path.time_of_log_snr(path.log_snr(torch.from_numpy(times))).numpy(), times, rtol=1e-9)


@EVERY_GRID
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 200])
def test_grids_descend_and_go_on_as_they_began(path, steps):
    times = path.time_grid(steps)
    assert times.shape == (steps + 1,) and times[0] == path.t_max and times[-1] == 0.0
    assert np.all(np.diff(times) < 0)
    for k in {0, 1, steps // 2, steps - 1} - {steps}:
        np.testing.assert_allclose(path.time_grid(steps - k, float(times[k])), times[k:], rtol=1e-9, atol=1e-15)


@EVERY_GRID
def test_no_steps_and_starts_off_the_path_are_refused(path):
    with pytest.raises(ValueError, match="at least 1 step, not 0"):
        path.time_grid(0)
    for start in (0.0, -0.5, 1.01 * path.t_max, float("nan")):
        with pytest.raises(ValueError, match=f"not at {start}"):
            path.time_grid(3, start)


def test_karras_grid_has_its_published_ends():
    times = EDM().time_grid(18)
    assert times[0] == 80.0 and times[-2] == pytest.approx(0.002) and times[-1] == 0.0
    np.testing.assert_allclose(np.diff(times[:-1] ** (1 / 7)), np.diff(times[:-1] ** (1 / 7))[0], rtol=1e-9)


@EVERY_PATH
def test_training_times_cover_the_path(path):
    times = path.training_time(np.linspace(0.0, 1.0, 101))
    assert times[0] == pytest.approx(path.t_min) and times[-1] == pytest.approx(path.t_max) and np.all(np.diff(times) > 0)
    snr = path.log_snr(path.training_time(np.linspace(0.05, 0.95, 19)))
    assert snr.max() > 1.5 and snr.min() < -1.5, "both the data's end and the noise's end are trained"


@EVERY_PATH
@given(log_snr=LOG_SNRS, seed=st.integers(0, 1000))
def test_conversions_are_exact_on_every_path(path, log_snr, seed):
    x0, eps = np.random.default_rng(seed).standard_normal((2, 2, 3))
    t = np.full(2, path.time_of_log_snr(log_snr))
    alpha, sigma = conversions.coefficients(path, t, x0)
    alpha_dt, sigma_dt = conversions.rates(path, t, x0)
    noisy = alpha * x0 + sigma * eps
    v, u = alpha * eps - sigma * x0, alpha_dt * x0 + sigma_dt * eps
    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(conversions.x0_to_eps(noisy, x0, alpha, sigma), eps, **close)
    np.testing.assert_allclose(conversions.eps_to_x0(noisy, eps, alpha, sigma), x0, **close)
    np.testing.assert_allclose(conversions.x0_to_v(noisy, x0, alpha, sigma), v, **close)
    np.testing.assert_allclose(conversions.eps_to_v(noisy, eps, alpha, sigma), v, **close)
    np.testing.assert_allclose(conversions.v_to_x0(noisy, v, alpha, sigma), x0, **close)
    np.testing.assert_allclose(conversions.v_to_eps(noisy, v, alpha, sigma), eps, **close)
    np.testing.assert_allclose(conversions.x0_to_flow(noisy, x0, alpha, sigma, alpha_dt, sigma_dt), u, **close)
    np.testing.assert_allclose(conversions.flow_to_x0(noisy, u, alpha, sigma, alpha_dt, sigma_dt), x0, **close)
    np.testing.assert_allclose(conversions.flow_to_eps(noisy, u, alpha, sigma, alpha_dt, sigma_dt), eps, **close)


@EVERY_PATH
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_perfect_network_of_any_prediction_is_a_perfect_denoiser(path, prediction):
    if prediction == "eps" and path.alpha(path.t_max) == 0.0:
        path = FlowMatching(t_max=0.99)
    rng = np.random.default_rng(0)
    x0, eps = rng.standard_normal((2, 5, 2, 3))
    t = path.training_time(rng.uniform(0.2, 0.8, 5))
    alpha, sigma = conversions.coefficients(path, t, x0)
    seen = []

    def network(x, times, condition):
        seen.append(condition)
        return target(prediction, x0, eps, times, path)

    found = as_x0(network, prediction, path)(alpha * x0 + sigma * eps, t, "condition")
    np.testing.assert_allclose(found, x0, atol=1e-9)
    assert seen == ["condition"]


def test_predictions_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"no x0 at t = 1\.0 of flow, where alpha is 0"):
        as_x0(lambda x, t: x, "eps", FlowMatching())
    as_x0(lambda x, t: x, "eps", FlowMatching(t_max=0.99))
    for call in (lambda: as_x0(lambda x, t: x, "noise", Schedule()), lambda: target("noise", np.ones(1), np.ones(1), np.ones(1), Schedule())):
        with pytest.raises(ValueError, match="prediction 'noise' is not one of x0, eps, v, flow"):
            call()


def test_flow_matching_predicts_noise_minus_data():
    x0, eps = np.random.default_rng(0).standard_normal((2, 4, 3))
    np.testing.assert_allclose(target("flow", x0, eps, np.full(4, 0.3), FlowMatching()), eps - x0)


@EVERY_PATH
def test_a_standardised_network_sees_unit_states_and_times(path):
    rng = np.random.default_rng(0)
    t = np.append(path.training_time(rng.uniform(size=2000)), path.t_max)
    x0, eps = rng.standard_normal((2, len(t), 3))
    alpha, sigma = conversions.coefficients(path, t, x0)
    states, times = standardised(lambda x, s: (x, s), path)(alpha * x0 + sigma * eps, t)
    assert states.std() == pytest.approx(1.0, rel=0.05)
    assert times.min() > 0.0 and times.max() <= 1.0
    np.testing.assert_allclose(np.tan(0.5 * np.pi * times[:-1]), path.sigma(t[:-1]) / path.alpha(t[:-1]), rtol=1e-6)


@EVERY_PATH
def test_a_configuration_names_its_path(path):
    mapping = to_mapping(path)
    assert mapping["kind"] == path.kind and PATHS[path.kind] is type(path)
    assert path_from_mapping(mapping) == path
    assert path_from_mapping({"kind": path.kind}) == path


def test_a_configuration_without_a_kind_is_the_cosine_schedule():
    assert path_from_mapping({"grid": "quadratic"}) == Schedule(grid="quadratic")


@dataclass(frozen=True)
class Holder:
    path: PathConfig = field(default_factory=Schedule)


def test_a_configuration_may_hold_any_path():
    assert from_mapping(Holder, {"path": {"kind": "edm", "sigma_max": 20.0}}).path == EDM(sigma_max=20.0)
    assert from_mapping(Holder, {"path": {"kind": "flow"}}).path == FlowMatching()
    assert from_mapping(Holder, {"path": {"offset": 0.01}}).path == Schedule(offset=0.01)
    assert from_mapping(Holder, to_mapping(Holder(VPLinear()))) == Holder(VPLinear())


def test_mistakes_in_a_path_are_named():
    with pytest.raises(ConfigError, match=r"diffusion\.kind: 'vp' is not one of 'vp_cosine', 'vp_linear', 'edm', 'flow'"):
        path_from_mapping({"kind": "vp"}, "diffusion.")
    with pytest.raises(ConfigError, match=r"diffusion\.sigma_max: 0\.5 is outside \[1\.0, 1000\.0\]"):
        path_from_mapping({"kind": "edm", "sigma_max": 0.5}, "diffusion.")
    with pytest.raises(ConfigError, match=r"grid: 'logsnr' is not one of 'uniform', 'quadratic'"):
        path_from_mapping({"kind": "flow", "grid": "logsnr"})
    with pytest.raises(ConfigError, match=r"beta_max: 1\.0 is below beta_min, 2\.0"):
        path_from_mapping({"kind": "vp_linear", "beta_min": 2.0, "beta_max": 1.0})
