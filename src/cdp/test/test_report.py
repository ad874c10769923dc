"""The measurements of a report against closed forms: denoisers whose sampler is known on paper, in double precision."""

import math

import numpy as np
import pytest
import torch

from cdp.contraction.report_errors import prediction_gains, root_mean_square, solver_errors, state_gains
from cdp.contraction.report_lipschitz import independent_pair_ratios, pair_distance, sigma_max, tiny_pair_ratios
from cdp.contraction.report_paths import path_excess, step_factors
from cdp.contraction.report_sampler import Sampler, spread
from cdp.contraction.report_spread import action_spread, mode_labels
from cdp.diffusion.conversions import coefficients
from cdp.diffusion.sampler import sampler_steps
from cdp.diffusion.schedule import Schedule
from cdp.report.columns import Measuring, measure_column

SCHEDULE = Schedule()
SHAPE = (2, 3)
MU = 0.4


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def gain_at(std, t):
    """The linear factor of the exact denoiser of N(mu, std^2) data."""
    alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
    return alpha * std**2 / (alpha**2 * std**2 + sigma**2)


def gaussian(std):
    def denoise(x, t, cond):
        alpha, sigma = coefficients(SCHEDULE, t, x)
        return MU + alpha * std**2 / (alpha**2 * std**2 + sigma**2) * (x - alpha * MU)

    return denoise


def mixture(half, std):
    """The exact denoiser of two modes of equal weight at -half and +half on the first of two axes: the toy, an action without rows."""

    def denoise(x, t, cond):
        alpha, sigma = coefficients(SCHEDULE, t, x)
        variance = alpha**2 * std**2 + sigma**2
        side = torch.tanh(alpha * half * x[:, :1] / variance)
        centre = torch.cat([half * side, torch.zeros_like(side)], dim=1)
        return centre + alpha * std**2 / variance * (x - alpha * centre)

    return denoise


def sampler_of(denoise, solver="dpmpp_2m", steps=100, temperature=1.0, observations=3, shape=SHAPE, dtype=torch.float64):
    return Sampler(denoise, torch.zeros(observations, 4, dtype=dtype), shape, SCHEDULE, solver, steps, temperature)


def slope(std, solver, steps):
    """What the solver multiplies (noise - mean) with: its recursion for a linear denoiser, on numbers."""
    x, before = 1.0, 0.0
    for k, step in enumerate(sampler_steps(steps, solver, SCHEDULE)):
        x0 = gain_at(std, step.t) * x
        x, before = step.r * x + step.c * (x0 + step.extrapolation * (x0 - (before if k else x0))), x0
    return x


@pytest.mark.parametrize(("solver", "steps"), [("dpmpp_2m", 100), ("ddim", 400)])
@pytest.mark.parametrize("std", [0.3, 1.5])
def test_the_whole_map_of_a_gaussian_has_its_standard_deviation_as_every_ratio(std, solver, steps):
    sampler = sampler_of(gaussian(std), solver, steps)
    noise = sampler.noise(6, generator())
    phi, start = sampler.map(6), noise.flatten(0, 1)
    with torch.no_grad():
        tiny = tiny_pair_ratios(phi, start, generator(1))
        independent = independent_pair_ratios(phi(start).reshape(noise.shape), noise)
    largest = sigma_max(phi, start[:6], generator(2)) if solver == "dpmpp_2m" else tiny
    for ratios in (tiny, independent, largest):
        torch.testing.assert_close(ratios, torch.full_like(ratios, std), rtol=0.01, atol=0)
    assert len(independent) == 9, "three disjoint pairs for each of three observations"
    torch.testing.assert_close(tiny[:9], independent, rtol=1e-6, atol=0)


def test_sigma_max_finds_the_direction_that_a_random_pair_misses():
    gains = torch.tensor([0.01, 0.02, 0.9, 0.01, 0.02, 0.03], dtype=torch.float64)
    x = torch.randn(4, 6, generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(sigma_max(lambda v: v * gains, x, generator(1)), torch.full((4,), 0.9, dtype=torch.float64), rtol=1e-6, atol=0)
    assert tiny_pair_ratios(lambda v: v * gains, x, generator(1)).median() < 0.5


def test_rounding_does_not_pass_for_expansion_in_single_precision():
    """A map a thousand times smaller than the numbers that it answers with: a difference over 0.001 would be mostly rounding."""
    x = torch.randn(64, 160, generator=generator())
    offset = torch.linspace(-1.0, 1.0, 160)
    ratios = tiny_pair_ratios(lambda v: offset + 3e-4 * v, x, generator(1))
    assert float(ratios.median()) == pytest.approx(3e-4, rel=0.02)
    assert pair_distance(x) > pair_distance(x.double())


def test_pairs_of_one_point_have_no_ratio():
    same = torch.ones(2, 4, *SHAPE)
    assert len(independent_pair_ratios(same, same)) == 0


@pytest.mark.parametrize("std", [0.3, 0.98, 1.02, 2.0])
def test_the_excess_along_paths_is_that_of_the_exact_denoiser(std):
    """lambda_max(sym J_x0) - alpha_t, negative everywhere for data narrower than the noise and positive everywhere for wider ones."""
    sampler = sampler_of(gaussian(std))
    found = path_excess(sampler, sampler.noise(2, generator()), 7, generator(1))
    expected = torch.tensor([gain_at(std, t) - SCHEDULE.alpha(t) for t in found.times], dtype=torch.float64)
    torch.testing.assert_close(found.excess, expected[:, None].expand(7, 6), rtol=1e-5, atol=1e-7)
    assert found.fraction == (1.0 if std > 1.0 else 0.0)
    assert found.quantile_at_time(0.5) == pytest.approx(expected.tolist(), rel=1e-5)


def test_step_factors_are_those_of_the_step_map_and_their_product_is_the_whole_map():
    sampler = sampler_of(gaussian(0.3), "ddim", 4)
    found = step_factors(sampler, sampler.noise(2, generator()), generator(1))
    expected = torch.tensor([step.r + step.c * gain_at(0.3, step.t) for step in found.steps], dtype=torch.float64)
    torch.testing.assert_close(found.factors, expected[:, None].expand(4, 6), rtol=1e-6, atol=0)
    assert found.bounds
    torch.testing.assert_close(found.product, torch.full((6,), slope(0.3, "ddim", 4), dtype=torch.float64), rtol=1e-6, atol=0)
    second_order = sampler_of(gaussian(0.3), "dpmpp_2m", 4)
    assert not step_factors(second_order, second_order.noise(1, generator()), generator()).bounds


def test_two_modes_are_found_and_the_spread_is_split_between_them():
    """Samples are the mixture itself: std within each mode, and half the distance of the modes on one of two axes between them."""
    half, std = 0.8, 0.1
    sampler = sampler_of(mixture(half, std), steps=100, observations=2, shape=(2,))
    with torch.no_grad():
        noise = sampler.noise(400, generator())
        found = action_spread(sampler.map(400)(noise.flatten(0, 1)).reshape(noise.shape))
    assert found.modes.tolist() == [2.0, 2.0]
    torch.testing.assert_close(found.within, torch.full((2,), std, dtype=torch.float64), rtol=0.06, atol=0)
    torch.testing.assert_close(found.between, torch.full((2,), half / math.sqrt(2.0), dtype=torch.float64), rtol=0.03, atol=0)
    torch.testing.assert_close(found.total.square(), found.within.square() + found.between.square())


def test_a_mixture_expands_between_its_modes_and_contracts_within():
    sampler = sampler_of(mixture(0.8, 0.1), steps=50, observations=1, shape=(2,))
    noise = sampler.noise(200, generator())
    with torch.no_grad():
        ratios = spread(tiny_pair_ratios(sampler.map(200), noise.flatten(0, 1), generator(1)), tail=True)
        paths = path_excess(sampler, noise[:, :50], 10, generator(1))
    assert ratios["median"] < 0.5 and ratios["p999"] > 1.0
    assert 0.0 < paths.fraction < 1.0


def test_the_total_spread_is_the_standard_deviation_over_the_seeds():
    actions = torch.randn(3, 50, *SHAPE, generator=generator(), dtype=torch.float64)
    found = action_spread(actions)
    torch.testing.assert_close(found.total, actions.std(dim=1).square().mean(dim=(1, 2)).sqrt())


def test_modes_are_chains_of_close_samples_and_stragglers_make_none():
    rng = np.random.default_rng(0)
    chain = np.stack([np.linspace(-1, 1, 60), np.zeros(60)], axis=1)
    assert set(mode_labels(chain)) == {0}, "a long mode without a gap is one"
    modes = np.concatenate([rng.normal(-1, 0.02, (50, 2)), rng.normal(1, 0.02, (48, 2)), [[0.3, 0.3], [-0.3, 0.3]]])
    labels = mode_labels(modes)
    assert np.array_equal(labels, [0] * 50 + [1] * 48 + [1, 0]) or np.array_equal(labels, [1] * 50 + [0] * 48 + [0, 1])
    assert set(mode_labels(rng.normal(0, 1, (40, 100)))) == {0}, "scattered everywhere: one broad mode"
    assert set(mode_labels(np.zeros((5, 2)))) == {0}


@pytest.mark.parametrize("temperature", [0.0, 0.3, 0.7])
def test_a_reduced_temperature_scales_the_spread_of_a_gaussian_and_leaves_the_map_alone(temperature):
    one, cooled = (sampler_of(gaussian(0.3), steps=60, temperature=t) for t in (1.0, temperature))
    figures = []
    for sampler in (one, cooled):
        noise = sampler.noise(64, generator())
        with torch.no_grad():
            actions = sampler.map(64)(noise.flatten(0, 1)).reshape(noise.shape)
            figures.append((action_spread(actions).total, tiny_pair_ratios(sampler.map(64), noise.flatten(0, 1), generator(1))))
    torch.testing.assert_close(figures[1][0], temperature * figures[0][0], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(figures[0][0], torch.full((3,), 0.3, dtype=torch.float64), rtol=0.15, atol=0)
    torch.testing.assert_close(figures[1][1], figures[0][1], rtol=1e-6, atol=0)


def test_solver_errors_are_those_of_the_recursion_and_fall_with_steps_and_order():
    sampler = sampler_of(gaussian(0.3))
    start = sampler.noise(2, generator()).flatten(0, 1)
    found = {}
    with torch.no_grad():
        reference = sampler.map(2, 200, "dpmpp_2m")(start)
        for solver in ("ddim", "dpmpp_2m"):
            found[solver] = solver_errors(lambda k, solver=solver: sampler.map(2, k, solver)(start), reference, (5, 10, 20, 50))
    mean_free = root_mean_square(start - SCHEDULE.alpha(SCHEDULE.t_max) * MU)
    for solver, errors in found.items():
        for count, error in errors.items():
            expected = abs(slope(0.3, solver, count) - slope(0.3, "dpmpp_2m", 200)) * mean_free
            torch.testing.assert_close(error, expected, rtol=1e-6, atol=1e-12)
        values = [float(e.mean()) for e in errors.values()]
        assert values == sorted(values, reverse=True)
    mean = {solver: {k: float(e.mean()) for k, e in errors.items()} for solver, errors in found.items()}
    assert 1.7 < mean["ddim"][10] / mean["ddim"][20] < 2.1, "first order: twice the steps, half the error"
    assert mean["dpmpp_2m"][10] / mean["dpmpp_2m"][20] > 4.0, "second order"
    assert mean["dpmpp_2m"][10] < 0.7 * mean["ddim"][10] and mean["dpmpp_2m"][20] < 0.3 * mean["ddim"][20]


@pytest.mark.parametrize("solver", ["ddim", "dpmpp_2m"])
def test_noise_gains_of_a_linear_denoiser_are_known(solver):
    """Noise in a prediction enters as c and is then multiplied by every later step; noise in a state by its own step too."""
    std, steps = 0.3, 4
    sampler = sampler_of(gaussian(std), solver, steps)
    noise = sampler.noise(2, generator())
    predicted, moved = prediction_gains(sampler, noise, generator(1)), state_gains(sampler, noise, generator(1))

    def response(k, on_state):
        x = before = 0.0
        for i, step in enumerate(sampler_steps(steps, solver, SCHEDULE)):
            x += float(on_state and i == k)
            x0 = gain_at(std, step.t) * x + float(not on_state and i == k)
            x, before = step.r * x + step.c * (x0 + step.extrapolation * (x0 - (before if i else x0))), x0
        return abs(x)

    for found, on_state in ((predicted, False), (moved, True)):
        assert found.shape == (steps + 1, 6)
        expected = torch.tensor([response(k, on_state) for k in range(steps)], dtype=torch.float64)
        torch.testing.assert_close(found[:-1], expected[:, None].expand(steps, 6), rtol=1e-6, atol=1e-9)
    assert float(predicted[-2].mean()) == pytest.approx(1.0), "what is added to the last prediction is added to the action"
    assert float(moved[0].mean()) == pytest.approx(abs(slope(std, solver, steps)), rel=1e-6), "the first state is the noise"


def test_independent_noise_adds_in_squares():
    sampler = sampler_of(gaussian(0.3), "ddim", 4, observations=50)
    found = prediction_gains(sampler, sampler.noise(8, generator()), generator(1))
    together, each = found[-1].square().mean(), found[:-1].square().mean(dim=1).sum()
    assert float(together) == pytest.approx(float(each), rel=0.1)


def test_a_column_is_the_same_again_and_its_noise_does_not_depend_on_the_parts():
    sampler = sampler_of(gaussian(0.3), "ddim", 3, dtype=torch.float32)
    measuring = Measuring(seeds=8, costly_seeds=2, path_steps=4)
    heard = []
    whole = measure_column(sampler, measuring, progress=heard.append)
    assert heard == list(whole) and whole == measure_column(sampler, measuring)
    assert measure_column(sampler, measuring, ("spread", "violation")) == {part: whole[part] for part in ("spread", "violation")}
    assert whole["solver_error"]["resolution"] < whole["solver_error"]["errors"]["ddim"]["50"]["rms"]
    quantiles = whole["lipschitz"]["tiny"]["quantiles"]
    assert len(quantiles) == 101 and quantiles == sorted(quantiles) and quantiles[-1] == whole["lipschitz"]["tiny"]["max"]


def test_what_is_not_measured_at_the_start_of_all_samplers_is_none():
    """All paths from one point: no two that differ, no spread, one mode."""
    found = measure_column(sampler_of(gaussian(0.3), "ddim", 3, 0.0), Measuring(seeds=4, costly_seeds=1, path_steps=2), ("lipschitz", "spread"))
    assert found["lipschitz"]["independent"] is None
    assert found["spread"]["total"]["max"] == pytest.approx(0.0, abs=1e-12) and found["spread"]["modes"]["max"] == 1.0
