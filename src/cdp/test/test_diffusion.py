"""Schedule, conversions and samplers against closed forms."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cdp.diffusion import conversions
from cdp.diffusion.sampler import SOLVERS, sample, sample_path, sampler_steps
from cdp.diffusion.schedule import GRIDS, Schedule

SCHEDULE = Schedule()
TIMES = st.floats(1e-4, SCHEDULE.t_max)


def gaussian_denoiser(std, schedule=SCHEDULE):
    """The exact denoiser of normal data: E[a_0 | a_t] = alpha s^2 / (alpha^2 s^2 + sigma^2) a_t."""

    def denoise(x, t):
        alpha, sigma = conversions.coefficients(schedule, t, x)
        return alpha * std**2 / (alpha**2 * std**2 + sigma**2) * x

    return denoise


class Mixture:
    """Equal isotropic Gaussians of std ``s`` at ``means`` (K, d): exact denoiser and its Jacobian."""

    def __init__(self, means, std):
        self.means, self.std = means, std

    def moments(self, x, t):
        alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
        variance = alpha**2 * self.std**2 + sigma**2
        log_weight = -np.square(x[:, None] - alpha * self.means).sum(-1) / (2 * variance)
        weight = np.exp(log_weight - log_weight.max(1, keepdims=True))
        weight /= weight.sum(1, keepdims=True)
        inner = self.means + alpha * self.std**2 / variance * (x[:, None] - alpha * self.means)
        return weight, inner, variance

    def denoise(self, x, t):
        weight, inner, _ = self.moments(x, float(t[0]))
        return (weight[..., None] * inner).sum(1)

    def jacobian(self, x, t):
        """(alpha / sigma^2) Cov(a_0 | a_t)."""
        alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
        weight, inner, variance = self.moments(x, t)
        centred = inner - (weight[..., None] * inner).sum(1, keepdims=True)
        between = np.einsum("nk,nki,nkj->nij", weight, centred, centred)
        within = self.std**2 * sigma**2 / variance * np.eye(x.shape[1])
        return alpha / sigma**2 * (between + within)


def test_importing_it_does_not_import_torch():
    code = "import sys, cdp.diffusion.sampler, cdp.diffusion.conversions; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(TIMES)
def test_variance_is_preserved_and_the_inverse_inverts(t):
    assert SCHEDULE.alpha(t) ** 2 + SCHEDULE.sigma(t) ** 2 == pytest.approx(1.0, abs=1e-12)
    assert SCHEDULE.time_of_log_snr(SCHEDULE.log_snr(t)) == pytest.approx(t, rel=1e-7, abs=1e-9)


@given(st.floats(0.01, 0.98))
def test_rates_are_derivatives(t):
    h = 1e-6
    for value, rate in ((SCHEDULE.alpha, SCHEDULE.dlog_alpha_dt), (SCHEDULE.sigma, SCHEDULE.dlog_sigma_dt)):
        assert rate(t) == pytest.approx((np.log(value(t + h)) - np.log(value(t - h))) / (2 * h), rel=1e-5)


def test_floats_arrays_and_tensors_agree():
    times = np.linspace(0.01, 0.99, 7)
    for name in ("alpha", "sigma", "dlog_alpha_dt", "dlog_sigma_dt", "log_snr"):
        function = getattr(SCHEDULE, name)
        by_float = [function(t) for t in times.tolist()]
        assert all(isinstance(value, float) for value in by_float)
        np.testing.assert_allclose(function(times), by_float, rtol=1e-13)
        tensor = function(torch.from_numpy(times))
        assert isinstance(tensor, torch.Tensor)
        np.testing.assert_allclose(tensor.numpy(), by_float, rtol=1e-13)
    restored = SCHEDULE.time_of_log_snr(SCHEDULE.log_snr(torch.from_numpy(times)))
    np.testing.assert_allclose(restored.numpy(), times, rtol=1e-9)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_grids_descend_from_noise_to_data(grid, steps):
    times = Schedule(grid=grid).time_grid(steps)
    assert times.shape == (steps + 1,) and times[0] == SCHEDULE.t_max and times[-1] == 0.0
    assert np.all(np.diff(times) < 0) and SCHEDULE.alpha(times[0]) > 0


def test_refuses_no_steps_and_unknown_solvers():
    with pytest.raises(ValueError, match="at least 1 step, not 0"):
        SCHEDULE.time_grid(0)
    with pytest.raises(ValueError, match="'heun' is not one of"):
        sampler_steps(3, "heun", SCHEDULE)


@given(TIMES.filter(lambda t: t > 1e-2), st.integers(0, 1000))
def test_conversions_invert_one_another(t, seed):
    rng = np.random.default_rng(seed)
    x0, eps = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))
    alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
    noisy = alpha * x0 + sigma * eps
    v = conversions.x0_to_v(noisy, x0, alpha, sigma)
    np.testing.assert_allclose(conversions.x0_to_eps(noisy, x0, alpha, sigma), eps, atol=1e-6)
    np.testing.assert_allclose(conversions.eps_to_x0(noisy, eps, alpha, sigma), x0, atol=1e-6)
    np.testing.assert_allclose(v, alpha * eps - sigma * x0, atol=1e-6)
    np.testing.assert_allclose(conversions.v_to_x0(noisy, v, alpha, sigma), x0, atol=1e-6)
    np.testing.assert_allclose(conversions.v_to_eps(noisy, v, alpha, sigma), eps, atol=1e-6)
    score = conversions.x0_to_score(noisy, x0, alpha, sigma)
    np.testing.assert_allclose(score, conversions.eps_to_score(eps, sigma), atol=1e-4)
    np.testing.assert_allclose(conversions.score_to_x0(noisy, score, alpha, sigma), x0, atol=1e-6)


@pytest.mark.parametrize("std", [0.1, 0.5, 1.5])
def test_the_lipschitz_constant_for_gaussian_data_is_its_standard_deviation(std):
    """Every solver converges to the map noise -> s noise, a_0 = mu + s z."""
    noise = np.random.default_rng(0).standard_normal((4, 3, 2))
    ratio = sample(gaussian_denoiser(std), noise, 200, "dpmpp_2m", SCHEDULE) / noise
    np.testing.assert_allclose(ratio, std, rtol=0.01)


@pytest.mark.parametrize(("solver", "order"), [("ddim", 1), ("dpmpp_2m", 2)])
def test_solvers_converge_at_their_order(solver, order):
    """Between two fixed times, so that the first-order step to sigma = 0 does not hide the order of the others."""
    std, coarse = 0.7, 20
    end = 0.25 * SCHEDULE.t_max

    def error(steps):
        # With 4/3 as many steps to 0, the state at a quarter of the way is on the grid.
        path = sample_path(gaussian_denoiser(std), np.ones((1, 1, 1)), steps, solver, SCHEDULE)
        state = path[3 * steps // 4][0, 0, 0]
        scale = [np.sqrt(SCHEDULE.alpha(t) ** 2 * std**2 + SCHEDULE.sigma(t) ** 2) for t in (end, SCHEDULE.t_max)]
        return abs(state - scale[0] / scale[1])

    measured = np.log2(error(4 * coarse) / error(8 * coarse))
    assert measured == pytest.approx(order, abs=0.25)


def test_numpy_and_torch_take_the_same_steps():
    noise = np.random.default_rng(1).standard_normal((5, 4, 3))
    for solver in SOLVERS:
        for steps in (1, 2, 3, 7):
            by_numpy = sample(gaussian_denoiser(0.4), noise, steps, solver, SCHEDULE)
            by_torch = sample(gaussian_denoiser(0.4), torch.from_numpy(noise), steps, solver, SCHEDULE)
            np.testing.assert_allclose(by_torch.numpy(), by_numpy, rtol=1e-12)
            assert sample(gaussian_denoiser(0.4), noise.astype(np.float32), steps, solver, SCHEDULE).dtype == np.float32


def test_one_step_from_a_perfect_denoiser_is_its_prediction():
    target = np.full((2, 3, 1), 0.3)
    assert np.array_equal(sample(lambda x, t: target, np.ones((2, 3, 1)), 1, "ddim", SCHEDULE), target)


def test_the_sampler_keeps_both_modes():
    means = np.array([[-1.0, 0.0], [1.0, 0.0]])
    noise = np.random.default_rng(2).standard_normal((400, 2))
    actions = sample(Mixture(means, 0.05).denoise, noise, 50, "dpmpp_2m", SCHEDULE)
    nearest = np.linalg.norm(actions[:, None] - means, axis=-1)
    assert (nearest.min(1) < 0.2).mean() > 0.99
    assert 0.4 < (nearest.argmin(1) == 0).mean() < 0.6


def test_the_contraction_condition_has_the_sign_of_the_reverse_generator():
    """lambda_max(sym J_x0) < alpha_t holds exactly where the flow, run from noise to data, contracts; the condition as printed does not."""
    rng = np.random.default_rng(3)
    mixture = Mixture(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]), 0.1)
    right, literal = [], []
    for t in rng.uniform(0.03, 0.97, 60).tolist():
        x = SCHEDULE.alpha(t) * mixture.means[rng.integers(4, size=40)] + SCHEDULE.sigma(t) * rng.standard_normal((40, 2))
        h = 1e-5

        def velocity(x, t=t):
            x0 = mixture.denoise(x, np.full(len(x), t))
            alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
            # d(alpha)/dt x0 + d(sigma)/dt eps, the derivative of the path itself; no use of the condition under test.
            rates = alpha * SCHEDULE.dlog_alpha_dt(t), sigma * SCHEDULE.dlog_sigma_dt(t)
            return rates[0] * x0 + rates[1] * conversions.x0_to_eps(x, x0, alpha, sigma)

        columns = [(velocity(x + h * e) - velocity(x - h * e)) / (2 * h) for e in np.eye(2)]
        reverse = -np.stack(columns, axis=-1)
        grows = np.linalg.eigvalsh(0.5 * (reverse + reverse.transpose(0, 2, 1)))[:, -1] > 0
        alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
        j_x0 = mixture.jacobian(x, t)
        right.append((np.linalg.eigvalsh(j_x0)[:, -1] > alpha) == grows)
        j_eps = (np.eye(2) - alpha * j_x0) / sigma
        f = SCHEDULE.dlog_alpha_dt(t)
        weight = sigma * (SCHEDULE.dlog_sigma_dt(t) - f)
        literal.append((np.linalg.eigvalsh(j_eps)[:, -1] > -f / weight) == grows)
    assert np.concatenate(right).mean() > 0.999
    assert np.concatenate(literal).mean() < 0.5
