"""Estimators and penalties against exact Jacobians and finite differences, in double precision."""

import json

import pytest
import torch

from cdp.config import ConfigError
from cdp.contraction.config import LABELS, ContractionConfig
from cdp.contraction.estimators import (
    exact_jacobian,
    frobenius_squared,
    jvp,
    lambda_max_symmetric,
    lanczos_extremes,
    random_direction,
    sigma_max_affine,
    symmetric_frobenius_squared,
    vjp,
)
from cdp.contraction.penalties import ContractionPenalty, bind, squared_hinge
from cdp.contraction.report import measure_sampler
from cdp.diffusion.conversions import coefficients
from cdp.diffusion.schedule import Schedule
from cdp.networks.config import DenoiserConfig
from cdp.networks.policy import build_denoiser

SCHEDULE = Schedule()
NETWORKS = {
    "dit": DenoiserConfig(kind="dit", width=8, depth=1, heads=2),
    "unet": DenoiserConfig(kind="unet", width=8, depth=2, kernel=3),
    "mlp": DenoiserConfig(kind="mlp", width=8, depth=1),
}
# Spread of the random weights: large enough for eigenvalues that a few dozen power iterations tell apart.
GAINS = {"dit": 0.4, "unet": 1.2, "mlp": 0.4}
SHAPE = (2, 3)
PENALTIES = [label for label in LABELS if label != "diffusion"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(kind):
    """A tiny denoiser in double precision with no weight zero."""
    model = build_denoiser(NETWORKS[kind], *SHAPE, 4).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(GAINS[kind] * torch.randn(parameter.shape, generator=generator(parameter.numel()), dtype=torch.float64))
    return model


def batch(count=5):
    x = torch.randn((count, *SHAPE), generator=generator(1), dtype=torch.float64)
    return x, torch.linspace(0.1, 0.9, count, dtype=torch.float64), torch.randn((count, 4), generator=generator(2), dtype=torch.float64)


def map_of(kind):
    x, t, cond = batch()
    return bind(network(kind), t, cond), x


def symmetric(jacobian):
    return 0.5 * (jacobian + jacobian.transpose(1, 2))


@pytest.mark.parametrize("kind", NETWORKS)
def test_products_with_the_jacobian_are_those_of_the_exact_one(kind):
    fn, x = map_of(kind)
    jacobian, v = exact_jacobian(fn, x), random_direction(x, generator(3))
    flat = v.flatten(1)[..., None]
    torch.testing.assert_close(vjp(fn, x, v).flatten(1), (jacobian.transpose(1, 2) @ flat)[..., 0])
    torch.testing.assert_close(jvp(fn, x, v, None).flatten(1), (jacobian @ flat)[..., 0])
    torch.testing.assert_close(jvp(fn, x, v, 1e-4).flatten(1), (jacobian @ flat)[..., 0], rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(jvp(fn, x, 3.0 * v, 1e-4), 3.0 * jvp(fn, x, v, 1e-4))


@pytest.mark.parametrize("kind", NETWORKS)
def test_estimates_agree_with_the_exact_jacobian(kind):
    fn, x = map_of(kind)
    jacobian = exact_jacobian(fn, x).detach()
    many = x.repeat(800, 1, 1)
    with torch.no_grad():
        estimate = frobenius_squared(fn, many, generator(), 5, 1e-4).reshape(800, 5).mean(dim=0)
        largest = lambda_max_symmetric(fn, x, generator(), 80, 1e-4)
        r, c = torch.full((5,), 0.6, dtype=torch.float64), torch.full((5,), 0.5, dtype=torch.float64)
        sigma = sigma_max_affine(fn, x, r, c, generator(), 80, 1e-4)
        extremes = lanczos_extremes(lambda v: 0.5 * (jvp(fn, x, v, 1e-5) + vjp(fn, x, v)), random_direction(x, generator()), 6)
    shifted = symmetric_frobenius_squared(fn, many, generator(), 5, 1e-4, 0.1).detach().reshape(800, 5).mean(dim=0)
    eigenvalues = torch.linalg.eigvalsh(symmetric(jacobian))
    torch.testing.assert_close(estimate, jacobian.square().sum(dim=(1, 2)), rtol=0.1, atol=0)
    torch.testing.assert_close(shifted, (symmetric(jacobian) + 0.1 * torch.eye(6)).square().sum(dim=(1, 2)), rtol=0.1, atol=0)
    torch.testing.assert_close(largest, eigenvalues[:, -1], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(sigma, torch.linalg.matrix_norm(0.6 * torch.eye(6) + 0.5 * jacobian, 2), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(torch.stack(extremes, 1), eigenvalues[:, [0, -1]], rtol=1e-4, atol=1e-6)


def test_a_large_negative_eigenvalue_does_not_fool_the_power_iteration():
    matrix = torch.diag(torch.tensor([-2.0, -0.5, 0.3], dtype=torch.float64))
    largest = lambda_max_symmetric(lambda x: x @ matrix, torch.zeros(4, 3, dtype=torch.float64), generator(), 200, 0.1)
    torch.testing.assert_close(largest, torch.full((4,), 0.3, dtype=torch.float64), rtol=1e-3, atol=0)


def test_only_the_symmetric_part_counts():
    """A rotation neither expands nor contracts."""
    matrix = torch.tensor([[0.2, 5.0], [-5.0, 0.1]], dtype=torch.float64)
    largest = lambda_max_symmetric(lambda x: x @ matrix.T, torch.zeros(3, 2, dtype=torch.float64), generator(), 200, 0.1)
    torch.testing.assert_close(largest, torch.full((3,), 0.2, dtype=torch.float64), rtol=1e-3, atol=0)


def test_vanishing_jacobians_give_zero_and_no_nan():
    weight = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def fn(x):
        return weight * x

    x = torch.ones(2, 3, dtype=torch.float64)
    zero, one = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    total = lambda_max_symmetric(fn, x, generator(), 3, 0.1).sum() + sigma_max_affine(fn, x, zero, one, generator(), 3, 0.1).sum()
    total.backward()
    assert total.detach().abs() < 1e-9 and torch.isfinite(weight.grad)


@pytest.mark.parametrize("derivative", ["central", "jvp"])
@pytest.mark.parametrize("label", PENALTIES)
@pytest.mark.parametrize("kind", NETWORKS)
def test_parameter_gradients_of_the_penalties_agree_with_finite_differences(kind, label, derivative):
    """Guards against layers whose derivative of a derivative is wrong (fused layer normalisation under forward differentiation)."""
    model = network(kind)
    # A margin of 1 keeps the hinges active; many iterations, since the eigenvector is taken as converged by the gradient.
    config = ContractionConfig(label=label, beta=1.0, iterations=40, derivative=derivative, delta=1e-3)
    penalty = ContractionPenalty(config, SCHEDULE, 3, "ddim")
    x, t, cond = batch(2)

    def value():
        return penalty.at(bind(model, t, cond), x, t, torch.full_like(t, 0.5), torch.full_like(t, 0.7), generator(4)).loss

    loss = value()
    assert loss > 1e-4
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    directions = [torch.randn(p.shape, generator=generator(p.numel() + 7), dtype=p.dtype) for p in model.parameters()]
    expected = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True) if g is not None)
    h = 1e-5
    measured = []
    for sign in (1.0, -1.0):
        with torch.no_grad():
            for parameter, direction in zip(model.parameters(), directions, strict=True):
                parameter.add_(direction, alpha=sign * h)
        measured.append(value().item())
        with torch.no_grad():
            for parameter, direction in zip(model.parameters(), directions, strict=True):
                parameter.sub_(direction, alpha=sign * h)
    slope = (measured[0] - measured[1]) / (2 * h)
    assert float(expected) == pytest.approx(slope, rel=2e-3, abs=1e-7)


def test_the_mean_is_taken_after_the_hinge():
    """Samples at -1 and +1 have mean 0: a hinge on the mean would see nothing to penalise."""
    gains = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    penalty = ContractionPenalty(ContractionConfig(label="cdp-hinge", beta=0.5, iterations=2), SCHEDULE, 3, "ddim")
    t = torch.full((2,), 0.5, dtype=torch.float64)
    alpha = SCHEDULE.alpha(0.5)
    found = penalty.at(lambda x: x * gains.repeat(len(x) // 2)[:, None, None], torch.zeros(2, 1, 3, dtype=torch.float64), t, t, t, generator())
    assert float(found.loss) == pytest.approx(0.5 * (1.0 - (alpha - 0.5)) ** 2, rel=1e-6)
    assert float(squared_hinge(found.measure.mean(), alpha - 0.5)) == 0.0


def test_the_hinge_starts_where_the_exact_gaussian_denoiser_stops_contracting():
    """J_x0 = alpha s^2 / (alpha^2 s^2 + sigma^2) I meets alpha where s = 1: data wider than the noise must expand."""
    t = torch.full((3,), 0.4, dtype=torch.float64)
    alpha, sigma = SCHEDULE.alpha(0.4), SCHEDULE.sigma(0.4)
    penalty = ContractionPenalty(ContractionConfig(label="cdp-hinge", beta=0.0), SCHEDULE, 3, "ddim")
    for std, active in ((0.5, False), (0.99, False), (1.01, True), (2.0, True)):
        gain = alpha * std**2 / (alpha**2 * std**2 + sigma**2)
        loss = penalty.at(lambda x, gain=gain: gain * x, torch.randn(3, 1, 2, dtype=torch.float64), t, t, t, generator()).loss
        assert (float(loss) > 1e-12) == active, std


def test_the_condition_is_detached_and_times_stay_in_their_window():
    seen = []
    cond = torch.randn(8, 4, requires_grad=True)
    weight = torch.tensor(0.5, requires_grad=True)

    def denoise(x, t, c):
        seen.append((t, len(x)))
        return weight * x + c.sum(dim=1)[:, None, None]

    penalty = ContractionPenalty(ContractionConfig(t_max=0.2, fraction=0.5), SCHEDULE, 3, "ddim")
    penalty(denoise, torch.randn(8, 2, 3), cond, generator()).loss.backward()
    assert cond.grad is None and weight.grad is not None
    assert seen[0][1] == 8, "half of 8 samples, both ends of the difference"
    assert all(t.min() >= SCHEDULE.t_min and t.max() <= 0.2 for t, _ in seen)


def test_the_step_penalty_looks_at_the_deployed_grid():
    penalty = ContractionPenalty(ContractionConfig(label="cdp-step"), SCHEDULE, 3, "ddim")
    t, r, c = penalty._times(200, generator(), torch.zeros(1, dtype=torch.float64))
    assert set(t.tolist()) == set(SCHEDULE.time_grid(3)[:-1].tolist())
    last = t == t.min()
    assert torch.all(r[last] == 0) and torch.all(c[last] == 1)
    with pytest.raises(ValueError, match="step map of ddim"):
        ContractionPenalty(ContractionConfig(label="cdp-step"), SCHEDULE, 3, "dpmpp_2m")


def test_a_penalty_on_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"fraction: 0\.0 penalises nothing"):
        ContractionConfig(fraction=0.0)
    assert not ContractionConfig(gamma=0.0).active and not ContractionConfig(label="diffusion").active


def test_the_report_of_a_gaussian_policy_is_known_in_closed_form():
    """Actions are s z: every Lipschitz ratio and the spread over seeds are s, and nothing expands while s < 1."""
    std = 0.3

    def denoise(x, t, cond):
        alpha, sigma = coefficients(SCHEDULE, t, x)
        return alpha * std**2 / (alpha**2 * std**2 + sigma**2) * x

    report = measure_sampler(denoise, torch.zeros(6, 4), (4, 5), 32, 200, "dpmpp_2m", SCHEDULE)
    for figure in ("lipschitz", "sigma_max"):
        assert report[figure]["median"] == pytest.approx(std, rel=0.02)
        assert report[figure]["max"] == pytest.approx(std, rel=0.05)
    assert report["action_std"]["median"] == pytest.approx(std, rel=0.1)
    assert report["violation"]["fraction"] == 0.0
    errors = [report["solver_error"][k] for k in ("1", "2", "3", "5", "10")]
    assert errors == sorted(errors, reverse=True) and errors[-1] > 0
    assert json.loads(json.dumps(report)) == report


def test_the_report_finds_expansion():
    """Data wider than the noise: the sampler has to expand nearly everywhere."""
    std = 2.0

    def denoise(x, t, cond):
        alpha, sigma = coefficients(SCHEDULE, t, x)
        return alpha * std**2 / (alpha**2 * std**2 + sigma**2) * x

    report = measure_sampler(denoise, torch.zeros(3, 4), (2, 2), 4, 100, "dpmpp_2m", SCHEDULE)
    assert report["violation"]["fraction"] > 0.99
    assert report["sigma_max"]["median"] == pytest.approx(std, rel=0.02)
