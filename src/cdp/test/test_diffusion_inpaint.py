"""Given rows in a chunk, on Gaussian data: the conditional distribution is known, and so is what replacing rows does."""

import numpy as np
import pytest
import torch

from cdp.diffusion.inpaint import guided
from cdp.diffusion.paths import EDM, FlowMatching, VPLinear
from cdp.diffusion.prediction import as_x0, target
from cdp.diffusion.sampler import SOLVERS, sample
from cdp.diffusion.schedule import Schedule

PATHS = (Schedule(), VPLinear(), EDM(), FlowMatching(t_max=0.99))
ROWS, WIDTH, FROZEN = 6, 2, 2
RNG = np.random.default_rng(3)
MEAN = RNG.normal(size=(ROWS, WIDTH)) * 0.3
GIVEN = MEAN + RNG.normal(size=(ROWS, WIDTH)) * 0.5
HARD = (np.arange(ROWS) < FROZEN).astype(float)


def covariance(correlation=0.9, std=0.6):
    """Neighbouring rows alike, (T D, T D): the columns are independent."""
    rows = std**2 * correlation ** np.abs(np.subtract.outer(np.arange(ROWS), np.arange(ROWS)))
    return np.kron(rows, np.eye(WIDTH))


def denoiser(path, cov):
    """E[a_0 | a_t] for Gaussian data: mean + alpha C (alpha^2 C + sigma^2)^-1 (a_t - alpha mean)."""

    def denoise(x, t):
        alpha, sigma = float(path.alpha(t[0])), float(path.sigma(t[0]))
        gain = alpha * cov @ np.linalg.inv(alpha**2 * cov + sigma**2 * np.eye(len(cov)))
        return (MEAN.ravel() + (x.reshape(len(x), -1) - alpha * MEAN.ravel()) @ gain.T).reshape(x.shape)

    return denoise


def conditional(cov):
    """Mean (T, D) and covariance of all rows when the first are GIVEN."""
    k = FROZEN * WIDTH
    gain = cov[:, :k] @ np.linalg.inv(cov[:k, :k])
    mean = MEAN.ravel() + gain @ (GIVEN - MEAN).ravel()[:k]
    return mean.reshape(ROWS, WIDTH), cov - gain @ cov[:k]


def noises(count=4):
    return np.random.default_rng(0).standard_normal((count, ROWS, WIDTH))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.kind)
def test_without_weights_nothing_changes_bit_for_bit(path, solver):
    denoise = denoiser(path, covariance())
    assert guided(denoise, GIVEN, np.zeros(ROWS), path) is denoise
    np.testing.assert_array_equal(
        sample(guided(denoise, GIVEN, np.zeros(ROWS), path), noises(), 3, solver, path), sample(denoise, noises(), 3, solver, path)
    )


@pytest.mark.parametrize("products", [0, 2])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.kind)
def test_frozen_rows_are_met_in_any_number_of_steps(path, solver, products):
    for steps in (1, 2, 7):
        drawn = guided(denoiser(path, covariance()), GIVEN, HARD, path, products)
        chunk = sample(drawn, noises(), steps, solver, path)
        np.testing.assert_allclose(chunk[:, :FROZEN], np.broadcast_to(GIVEN[:FROZEN], (4, FROZEN, WIDTH)), atol=1e-12)
        free = sample(denoiser(path, covariance()), noises(), steps, solver, path)
        assert np.abs(chunk - free)[:, :FROZEN].max() > 0.1


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.kind)
def test_enough_products_sample_the_exact_conditional_distribution(path):
    cov = covariance()
    # Exact arithmetic: as many conjugate directions as numbers given, no floor; the map from noise to chunk is affine.
    drawn = guided(denoiser(path, cov), GIVEN, HARD, path, products=FROZEN * WIDTH, floor=0.0)
    units = np.eye(ROWS * WIDTH).reshape(-1, ROWS, WIDTH)
    ends = sample(drawn, np.concatenate([np.zeros((1, ROWS, WIDTH)), units]), 400, "dpmpp_2m", path).reshape(-1, ROWS * WIDTH)
    mean, rest = conditional(cov)
    np.testing.assert_allclose(ends[0].reshape(ROWS, WIDTH), mean, atol=0.02)
    gain = (ends[1:] - ends[0]).T
    np.testing.assert_allclose(gain @ gain.T, rest, atol=0.02)


def test_replacing_rows_moves_the_free_ones_the_right_way_but_not_all_of_it():
    cov, path = covariance(), Schedule()
    mean, _ = conditional(cov)
    wanted = (mean - MEAN)[FROZEN:]
    moved = {}
    for products in (0, 1, 4):
        end = sample(guided(denoiser(path, cov), GIVEN, HARD, path, products, floor=0.0), np.zeros((1, ROWS, WIDTH)), 50, "ddim", path)[0]
        moved[products] = float(np.sum((end - MEAN)[FROZEN:] * wanted) / np.sum(wanted**2))
    assert 0.1 < moved[0] < 0.95 and abs(moved[4] - 1.0) < 0.05
    assert abs(moved[1] - 1.0) < abs(moved[0] - 1.0)


def test_independent_rows_take_nothing_from_the_given_ones():
    cov, path = covariance(correlation=0.0), Schedule()
    free = sample(denoiser(path, cov), noises(), 20, "ddim", path)
    for products in (0, 1, 3):
        chunk = sample(guided(denoiser(path, cov), GIVEN, HARD, path, products), noises(), 20, "ddim", path)
        np.testing.assert_allclose(chunk[:, FROZEN:], free[:, FROZEN:], atol=1e-6)


def test_where_the_jacobian_is_a_multiple_of_one_products_change_nothing():
    # Rows alike in variance and uncorrelated: then W alone says how far to go, whatever the number of products.
    cov, path = covariance(correlation=0.0), Schedule()
    weights = np.linspace(1.0, 0.0, ROWS)
    chunks = [sample(guided(denoiser(path, cov), GIVEN, weights, path, k), noises(), 10, "ddim", path) for k in (0, ROWS)]
    np.testing.assert_allclose(chunks[1], chunks[0], atol=1e-6)


def test_a_denoiser_that_does_not_answer_falls_back_to_replacement():
    path, weights = Schedule(), np.linspace(1.0, 0.0, ROWS)

    def constant(x, t):
        return np.zeros_like(x)

    chunks = [sample(guided(constant, GIVEN, weights, path, k), noises(), 3, "ddim", path) for k in (0, 1, 3)]
    np.testing.assert_array_equal(chunks[1], chunks[0])
    np.testing.assert_array_equal(chunks[2], chunks[0])
    np.testing.assert_allclose(chunks[0], np.broadcast_to(weights[:, None] * GIVEN, chunks[0].shape), atol=1e-12)


@pytest.mark.parametrize("prediction", ["x0", "eps", "v", "flow"])
def test_every_prediction_is_drawn_alike(prediction):
    path, cov = FlowMatching(t_max=0.99), covariance()
    exact = denoiser(path, cov)

    def network(x, t):
        x0 = exact(x, t)
        alpha, sigma = (c.reshape(-1, 1, 1) for c in (path.alpha(t), path.sigma(t)))
        return target(prediction, x0, (x - alpha * x0) / sigma, t, path)

    one, other = (sample(guided(fn, GIVEN, HARD, path, 2), noises(), 5, "ddim", path) for fn in (exact, as_x0(network, prediction, path)))
    np.testing.assert_allclose(other, one, atol=1e-6)


def test_tensors_and_arrays_agree():
    path, weights = Schedule(), np.linspace(1.0, 0.0, ROWS)

    def scaled(x, t):
        return 0.5 * x

    array = sample(guided(scaled, GIVEN, weights, path, 2), noises(), 4, "ddim", path)
    tensor = sample(guided(scaled, torch.from_numpy(GIVEN), weights, path, 2), torch.from_numpy(noises()), 4, "ddim", path)
    np.testing.assert_allclose(tensor.numpy(), array, atol=1e-9)


@pytest.mark.parametrize("weights", [[1.0], [2.0] * ROWS, [-0.1] * ROWS, [np.nan] * ROWS])
def test_weights_of_another_kind_are_refused(weights):
    with pytest.raises(ValueError, match="weights of the given rows"):
        guided(lambda x, t: x, GIVEN, weights, Schedule())
