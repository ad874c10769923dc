"""The known denoisers against the density they come from, by automatic differentiation."""

import numpy as np
import pytest
import torch

from cdp.diffusion.conversions import coefficients, score_to_x0
from cdp.diffusion.known import Gaussian, GaussianMixture, four_modes
from cdp.diffusion.paths import PATHS
from cdp.diffusion.schedule import Schedule

EVERY_PATH = pytest.mark.parametrize("path", [factory() for factory in PATHS.values()], ids=list(PATHS))
MEANS = np.array([[1.0, 0.2, 0.0], [-1.0, 0.3, 0.5]])
STDS, WEIGHTS = [0.2, 0.6], [1.0, 3.0]


def points(mixture, count=20):
    rng = np.random.default_rng(1)
    t = mixture.path.time_of_log_snr(rng.uniform(-2.0, 2.0, count))
    clean = mixture.draw(count, rng)
    alpha, sigma = coefficients(mixture.path, t, clean)
    return torch.from_numpy(alpha * clean + sigma * rng.standard_normal(clean.shape)), torch.from_numpy(t)


@EVERY_PATH
def test_the_denoiser_of_a_mixture_is_tweedies_formula_on_its_density(path):
    mixture = GaussianMixture(MEANS, STDS, path, WEIGHTS)
    x, t = points(mixture)
    x.requires_grad_()
    alpha, sigma = coefficients(path, t, x)
    modes = torch.distributions.Normal(alpha[..., None] * torch.from_numpy(MEANS), (alpha**2 * torch.tensor(STDS) ** 2 + sigma**2).sqrt()[..., None])
    log_density = torch.logsumexp(modes.log_prob(x[:, None]).sum(-1) + torch.tensor([0.25, 0.75]).log(), dim=1)
    (score,) = torch.autograd.grad(log_density.sum(), x)
    torch.testing.assert_close(mixture.denoise(x, t), score_to_x0(x, score, alpha, sigma), rtol=1e-6, atol=1e-7)
    rows = [torch.autograd.grad(mixture.denoise(x, t)[:, i].sum(), x)[0] for i in range(3)]
    torch.testing.assert_close(mixture.jacobian_x0(x.detach(), t), torch.stack(rows, 1), rtol=1e-9, atol=1e-9)


@EVERY_PATH
def test_arrays_and_tensors_agree(path):
    mixture = GaussianMixture(MEANS, STDS, path, WEIGHTS)
    x, t = points(mixture)
    np.testing.assert_allclose(mixture.denoise(x.numpy(), t.numpy()), mixture.denoise(x, t).numpy(), rtol=1e-12)
    np.testing.assert_allclose(mixture.jacobian_x0(x.numpy(), t.numpy()), mixture.jacobian_x0(x, t).numpy(), rtol=1e-10, atol=1e-12)
    assert mixture.denoise(x.float(), t.float()).dtype == torch.float32


@EVERY_PATH
def test_one_mode_is_the_gaussian(path):
    mixture, data = GaussianMixture(np.full((1, 4), 0.3), 0.5, path), Gaussian(0.5, path, 0.3)
    x, t = points(mixture)
    torch.testing.assert_close(mixture.denoise(x, t), data.denoise(x, t))
    torch.testing.assert_close(mixture.jacobian_x0(x, t), data.jacobian_x0(t)[:, None, None] * torch.eye(4, dtype=torch.float64))


def test_chunks_are_flattened_and_restored():
    mixture = GaussianMixture([[0.1, 0.2, 0.3, 0.4]], 0.2, Schedule())
    x, t = np.ones((5, 2, 2)), np.full(5, 0.5)
    assert mixture.denoise(x, t).shape == (5, 2, 2)
    np.testing.assert_array_equal(mixture.denoise(x, t).reshape(5, 4), mixture.denoise(x.reshape(5, 4), t))


def test_samples_have_the_mixtures_moments():
    drawn = GaussianMixture(MEANS, STDS, Schedule(), WEIGHTS).draw(40_000, np.random.default_rng(0))
    np.testing.assert_allclose(drawn.mean(0), 0.25 * MEANS[0] + 0.75 * MEANS[1], atol=0.02)
    variance = 0.25 * 0.2**2 + 0.75 * 0.6**2 + 0.25 * 0.75 * (MEANS[0] - MEANS[1]) ** 2
    np.testing.assert_allclose(drawn.var(0), variance, rtol=0.03)


def test_mixtures_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"means \(3,\) are not"):
        GaussianMixture(np.zeros(3), 0.1, Schedule())
    for std, weights in ((-0.1, None), (0.1, [1.0]), (0.1, [1.0, 0.0])):
        with pytest.raises(ValueError, match="2 modes need 2 positive weights"):
            GaussianMixture(np.zeros((2, 2)), std, Schedule(), weights)
    assert four_modes(Schedule()).means.shape == (4, 2)
