"""Samplers on every noise path against closed forms and the adaptive reference."""

import numpy as np
import pytest
import torch

from cdp.checks import orders
from cdp.checks.diffusion import largest_symmetric, lipschitz_ratio, reverse_generator, scattered_points
from cdp.diffusion.known import Gaussian, four_modes
from cdp.diffusion.paths import PATHS, FlowMatching, Schedule
from cdp.diffusion.reference import solve_reference
from cdp.diffusion.sampler import ALL_SOLVERS, DETERMINISTIC, SOLVERS, STOCHASTIC, integrate, sample, sample_path, sampler_steps
from cdp.diffusion.steps import AFFINE, affine_steps

EVERY_PATH = pytest.mark.parametrize("path", [factory() for factory in PATHS.values()], ids=list(PATHS))


def noise(*shape):
    return np.random.default_rng(5).standard_normal(shape)


def test_every_solver_is_offered():
    assert set(ALL_SOLVERS) == {"ddim", "dpmpp_1", "dpmpp_2m", "euler", "heun", "ancestral", "euler_maruyama"}
    assert set(DETERMINISTIC) == set(ALL_SOLVERS) - set(STOCHASTIC) and set(SOLVERS) < set(DETERMINISTIC)


@EVERY_PATH
@pytest.mark.parametrize("std", [0.5, 1.5])
@pytest.mark.parametrize("solver", [*DETERMINISTIC, "rk45"])
def test_the_lipschitz_constant_for_gaussian_data_is_its_standard_deviation(path, std, solver):
    assert lipschitz_ratio(path, std, solver, 400, 0) == pytest.approx(std, rel=0.01)


@EVERY_PATH
def test_the_reference_is_the_exact_flow(path):
    for std in (0.1, 0.5, 1.5):
        data = Gaussian(std, path, 0.3)
        x = path.noise_scale * noise(3, 2)
        middle = path.time_of_log_snr(0.5)
        for end in (middle, 0.0):
            found = solve_reference(data.denoise, x, path, path.t_max, end)
            np.testing.assert_allclose(found, data.flow(x, path.t_max, end), rtol=1e-6, atol=1e-6)
        with pytest.raises(ValueError, match="from a start down to an end"):
            solve_reference(data.denoise, x, path, middle, path.t_max)


@EVERY_PATH
def test_contraction_has_the_predicted_sign_at_every_point(path):
    mixture = four_modes(path)
    x, t = scattered_points(mixture, 3000, 0)
    contracts = largest_symmetric(reverse_generator(mixture, x, t)) < 0.0
    largest = largest_symmetric(mixture.jacobian_x0(x, t))
    assert np.array_equal(largest < path.contraction_limit(t), contracts)
    assert 0.1 < contracts.mean() < 0.9
    # The eps form of the same condition: lambda_min(sym J_eps) > -alpha' / (alpha sigma' - alpha' sigma), sigma on a variance-preserving path.
    smallest_eps = (1.0 - path.alpha(t) * largest) / path.sigma(t)
    limit_eps = -path.alpha_dt(t) / (path.alpha(t) * path.sigma_dt(t) - path.alpha_dt(t) * path.sigma(t))
    assert np.array_equal(smallest_eps > limit_eps, contracts)


def test_the_variance_preserving_limit_is_wrong_on_the_straight_path():
    mixture = four_modes(FlowMatching())
    x, t = scattered_points(mixture, 3000, 0)
    contracts = largest_symmetric(reverse_generator(mixture, x, t)) < 0.0
    predicted = largest_symmetric(mixture.jacobian_x0(x, t)) < mixture.path.alpha(t)
    assert (predicted != contracts).mean() > 0.02


@EVERY_PATH
def test_the_general_limit_is_alpha_where_variance_is_preserved_and_one_elsewhere(path):
    t = path.time_of_log_snr(np.linspace(-3.0, 3.0, 9))
    expected = path.alpha(t) if path.kind.startswith("vp") else np.ones(9)
    np.testing.assert_allclose(path.contraction_limit(t), expected, rtol=1e-12)
    rise, fall = path.sigma_dt(t), path.alpha_dt(t)
    np.testing.assert_allclose(path.contraction_limit(t), rise / (path.alpha(t) * rise - fall * path.sigma(t)), rtol=1e-9)


@pytest.mark.parametrize("kind", PATHS)
def test_solvers_converge_at_their_order(kind):
    found = {solver: orders.slope(curve) for solver, curve in orders.errors(kind, 0).items()}
    assert found == {solver: pytest.approx(order, abs=orders.SLOPE_TOLERANCE) for solver, order in orders.ORDERS.items()}


@EVERY_PATH
@pytest.mark.parametrize("solver", DETERMINISTIC)
def test_to_the_data_every_solver_converges(path, solver):
    """Down to t = 0, where the ODE's right-hand side is not defined, with at least order 1."""
    data, x = Gaussian(0.5, path, 0.3), noise(4, 2)
    exact = data.flow(path.noise_scale * x, path.t_max, 0.0)
    coarse, fine = (np.abs(sample(data.denoise, x, steps, solver, path) - exact).max() for steps in (100, 400))
    assert fine < 0.35 * coarse and fine < 0.02


@EVERY_PATH
@pytest.mark.parametrize("solver", ALL_SOLVERS)
def test_any_number_of_steps_and_any_shape(path, solver):
    data = Gaussian(0.4, path)
    for steps in (1, 2, 3, 7):
        for x in (noise(5), noise(5, 4, 3), noise(2, 3).astype(np.float32), torch.from_numpy(noise(2, 3)).float()):
            states = sample_path(data.denoise, x, steps, solver, path, generator=np.random.default_rng(0))
            assert len(states) == steps + 1 and states[-1].shape == x.shape and states[-1].dtype == x.dtype
            assert bool(np.isfinite(np.asarray(states[-1])).all())
            assert float(abs(np.asarray(states[0]) - path.noise_scale * np.asarray(x)).max()) < 1e-5


@EVERY_PATH
@pytest.mark.parametrize("solver", ALL_SOLVERS)
def test_numpy_and_torch_take_the_same_steps(path, solver):
    mixture, x = four_modes(path), noise(8, 2)
    for steps in (1, 2, 9):
        by_numpy = sample(mixture.denoise, x, steps, solver, path, generator=np.random.default_rng(1))
        by_torch = sample(mixture.denoise, torch.from_numpy(x), steps, solver, path, generator=np.random.default_rng(1))
        np.testing.assert_allclose(by_torch.numpy(), by_numpy, rtol=1e-9, atol=1e-9)


@EVERY_PATH
def test_numpy_and_torch_have_the_same_reference(path):
    mixture, x = four_modes(path), path.noise_scale * noise(4, 2)
    by_torch = solve_reference(mixture.denoise, torch.from_numpy(x), path, path.t_max, rtol=1e-7)
    assert isinstance(by_torch, torch.Tensor)
    np.testing.assert_allclose(by_torch.numpy(), solve_reference(mixture.denoise, x, path, path.t_max, rtol=1e-7), atol=1e-7)


@EVERY_PATH
@pytest.mark.parametrize("solver", ["ddim", "dpmpp_1", "dpmpp_2m", "ancestral"])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_constant_denoiser_is_sampled_exactly(path, solver, steps):
    target = np.full((2, 3), 0.3)
    found = sample(lambda x, t: target, noise(2, 3), steps, solver, path, generator=np.random.default_rng(0))
    np.testing.assert_allclose(found, target, rtol=1e-12)


@EVERY_PATH
def test_first_order_solvers_agree_where_they_are_the_same(path):
    data, x = Gaussian(0.4, path, 0.2), noise(3, 2)
    ddim = sample(data.denoise, x, 5, "ddim", path)
    np.testing.assert_array_equal(sample(data.denoise, x, 5, "dpmpp_1", path), ddim)
    generator = np.random.default_rng(0)
    np.testing.assert_allclose(sample(data.denoise, x, 5, "ancestral", path, generator=generator, eta=0.0), ddim, rtol=1e-12)
    euler = sample(data.denoise, x, 5, "euler", path)
    np.testing.assert_allclose(sample(data.denoise, x, 5, "euler_maruyama", path, eta=0.0), euler, rtol=1e-12)
    # Along a straight or unscaled path the exponential integrator is the explicit one.
    assert np.allclose(euler, ddim, rtol=1e-9) == (path.kind in ("edm", "flow"))


@EVERY_PATH
@pytest.mark.parametrize("solver", ["ddim", "dpmpp_1", "euler", "heun"])
def test_a_warm_start_goes_on_where_the_path_was_left(path, solver):
    """One-step solvers: the last four of ten steps, begun from the state after six."""
    mixture, x = four_modes(path), noise(6, 2)
    states = sample_path(mixture.denoise, x, 10, solver, path)
    start = float(path.time_grid(10)[6])
    resumed = sample_path(mixture.denoise, states[6], 4, solver, path, start=start)
    for found, expected in zip(resumed, states[6:], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@EVERY_PATH
@pytest.mark.parametrize("solver", ALL_SOLVERS)
def test_a_warm_start_from_a_noised_sample_keeps_its_mode(path, solver):
    mixture = four_modes(path)
    rng = np.random.default_rng(3)
    clean = mixture.means[rng.integers(4, size=50)]
    start = path.time_of_log_snr(1.5)
    found = sample(mixture.denoise, path.noised(clean, noise(50, 2), start), 30, solver, path, start=start, generator=rng)
    assert np.linalg.norm(found - clean, axis=1).max() < 0.6


@EVERY_PATH
@pytest.mark.parametrize("solver", [solver for solver in AFFINE if solver != "dpmpp_2m"])
def test_a_steps_jacobian_is_its_coefficients(path, solver):
    data = Gaussian(0.4, path)
    for step in sampler_steps(4, solver, path):
        gain = step.r + step.c * data.jacobian_x0(step.t)
        ends = [
            integrate(data.denoise, np.full((1, 1), at), [step.t, step.s], solver, path, generator=np.random.default_rng(0))[-1] for at in (0.0, 1.0)
        ]
        assert (ends[1] - ends[0]).item() == pytest.approx(gain, rel=1e-9, abs=1e-12)


@EVERY_PATH
@pytest.mark.parametrize("solver", STOCHASTIC)
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_stochastic_samplers_keep_the_moments_of_gaussian_data(path, solver, eta):
    """Affine steps of an affine denoiser: mean and variance of the samples follow exactly, without sampling."""
    data = Gaussian(0.5, path, 0.3)
    mean, variance = 0.0, path.noise_scale**2
    for step in sampler_steps(1000, solver, path, eta=eta):
        offset = float(data.denoise(np.zeros((1, 1)), np.full(1, step.t))[0, 0])
        gain = step.r + step.c * data.jacobian_x0(step.t)
        mean, variance = gain * mean + step.c * offset, gain**2 * variance + step.noise**2
    assert mean == pytest.approx(0.3, abs=0.01) and np.sqrt(variance) == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("solver", STOCHASTIC)
def test_sampled_moments_are_those(solver):
    path = FlowMatching()
    data = Gaussian(0.5, path, 0.3)
    rng = np.random.default_rng(0)
    found = sample(data.denoise, rng.standard_normal((20_000, 1)), 200, solver, path, generator=rng)
    assert found.mean() == pytest.approx(0.3, abs=0.02) and found.std() == pytest.approx(0.5, rel=0.04)
    torch_found = sample(data.denoise, torch.randn(20_000, 1), 200, solver, path, generator=torch.Generator().manual_seed(0))
    assert float(torch_found.mean()) == pytest.approx(0.3, abs=0.02) and float(torch_found.std()) == pytest.approx(0.5, rel=0.04)


def test_the_ancestral_step_is_the_posterior_of_the_forward_process():
    """Bayes' rule on a_t = ratio a_s + extra z and a_s ~ N(alpha_s x0, sigma_s^2)."""
    path = Schedule()
    (step,) = affine_steps([0.6, 0.4], "ancestral", path)
    ratio = path.alpha(0.6) / path.alpha(0.4)
    extra = path.sigma(0.6) ** 2 - ratio**2 * path.sigma(0.4) ** 2
    precision = 1.0 / path.sigma(0.4) ** 2 + ratio**2 / extra
    assert step.noise**2 == pytest.approx(1.0 / precision, rel=1e-9)
    assert step.r == pytest.approx(ratio / extra / precision, rel=1e-9)
    assert step.c == pytest.approx(path.alpha(0.4) / path.sigma(0.4) ** 2 / precision, rel=1e-9)


@pytest.mark.parametrize("solver", STOCHASTIC)
def test_a_seed_fixes_the_samples(solver):
    data = Gaussian(0.5, Schedule())
    x = torch.from_numpy(noise(4, 3))
    draw = [sample(data.denoise, x, 5, solver, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draw[0], draw[1]) and not torch.equal(draw[0], draw[2])
    with pytest.raises(ValueError, match=f"{solver} draws noise: give it a generator"):
        sample(data.denoise, x, 5, solver)


def test_mistakes_are_refused():
    data = Gaussian(0.5, Schedule())
    with pytest.raises(ValueError, match="'rk4' is not one of"):
        sample(data.denoise, noise(2, 2), 3, "rk4")
    with pytest.raises(ValueError, match=r"eta 1\.5 is outside \[0, 1\]"):
        sample(data.denoise, noise(2, 2), 3, "ancestral", generator=np.random.default_rng(0), eta=1.5)
    with pytest.raises(ValueError, match=r"not at 1\.5"):
        sample(data.denoise, noise(2, 2), 3, start=1.5)
