"""Estimators and penalties against exact Jacobians and finite differences, in double precision."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.config import ConfigError, from_mapping, to_mapping
from cdp.contraction.config import EXACT_UP_TO, LABEL_ESTIMATORS, ContractionConfig
from cdp.contraction.dual import PenaltyWeight
from cdp.contraction.estimators import (
    affine,
    exact_jacobian,
    jvp,
    lambda_max_lanczos,
    lambda_max_symmetric,
    lanczos_extremes,
    random_direction,
    sigma_max_affine,
    sigma_max_lanczos,
    stacked_jacobian,
    symmetric_part,
    vjp,
)
from cdp.contraction.measures import Measures
from cdp.contraction.penalties import ContractionPenalty, bind
from cdp.contraction.report import measure_sampler
from cdp.diffusion.conversions import coefficients
from cdp.diffusion.schedule import Schedule
from cdp.networks.config import DenoiserConfig
from cdp.networks.policy import build_denoiser
from cdp.networks.prediction import ConvertedDenoiser

SCHEDULE = Schedule()
NETWORKS = {
    "dit": DenoiserConfig(kind="dit", width=8, depth=1, heads=2),
    "unet": DenoiserConfig(kind="unet", width=8, depth=2, kernel=3),
    "mlp": DenoiserConfig(kind="mlp", width=8, depth=1),
    "pearce": DenoiserConfig(kind="pearce", width=8, depth=1),
}
# Spread of the random weights: large enough for eigenvalues that a few dozen power iterations tell apart.
GAINS = {"dit": 0.4, "unet": 1.2, "mlp": 0.4, "pearce": 0.4}
SHAPE = (2, 3)


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
def test_the_jacobian_in_one_batch_is_the_exact_one(kind):
    fn, x = map_of(kind)
    torch.testing.assert_close(stacked_jacobian(fn, x), exact_jacobian(fn, x))


@pytest.mark.parametrize("kind", NETWORKS)
def test_estimates_agree_with_the_exact_jacobian(kind):
    fn, x = map_of(kind)
    jacobian = exact_jacobian(fn, x).detach()
    r, c = torch.full((5,), 0.6, dtype=torch.float64), torch.full((5,), 0.5, dtype=torch.float64)
    with torch.no_grad():
        largest = lambda_max_symmetric(fn, x, generator(), 40, 1e-4)
        sigma = sigma_max_affine(fn, x, r, c, generator(), 40, 1e-4)
        extremes = lanczos_extremes(lambda v: 0.5 * (jvp(fn, x, v, 1e-5) + vjp(fn, x, v)), random_direction(x, generator()), 6)
    eigenvalues = torch.linalg.eigvalsh(symmetric_part(jacobian))
    torch.testing.assert_close(largest, eigenvalues[:, -1], rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(sigma, torch.linalg.matrix_norm(affine(jacobian, r, c), 2), rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(torch.stack(extremes, 1), eigenvalues[:, [0, -1]], rtol=1e-4, atol=1e-6)


def spectrum(eigenvalues, skew=0.0):
    """A matrix (16, 16) whose symmetric part has these eigenvalues, and whose antisymmetric part is ``skew`` in size."""
    rotation = torch.linalg.qr(torch.randn((16, 16), generator=generator(5), dtype=torch.float64))[0]
    other = torch.randn((16, 16), generator=generator(6), dtype=torch.float64)
    return rotation @ torch.diag(torch.as_tensor(eigenvalues, dtype=torch.float64)) @ rotation.T + skew * (other - other.T)


SPECTRA = {
    "negative_largest_in_magnitude": spectrum(np.linspace(-2.0, 0.3, 16)),
    "one_positive_among_large_negative": spectrum([-5.0] * 15 + [0.3]),
    "all_negative": spectrum(np.linspace(-3.0, -0.5, 16)),
    "positive": spectrum(np.linspace(0.0, 2.0, 16)),
    "far_from_zero": spectrum(40.0 + np.linspace(-1.0, 1.0, 16)),
    "not_symmetric": spectrum(np.linspace(-2.0, 0.3, 16), skew=1.0),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_estimators_find_the_eigenvalue_of_16_dimensions(name):
    """Power and Lanczos iterations against the exact Jacobian, within 1 %."""
    matrix, x = SPECTRA[name], torch.randn((3, 4, 4), generator=generator(), dtype=torch.float64)

    def fn(a):
        return (a.flatten(1) @ matrix.T).reshape(a.shape)

    expected = torch.linalg.eigvalsh(0.5 * (matrix + matrix.T))[-1].expand(3)
    exact = Measures(ContractionConfig(label="cdp-hinge", estimator="auto")).lambda_max_symmetric(fn, x, generator())
    torch.testing.assert_close(exact, expected, rtol=1e-9, atol=1e-9)
    for found in (lambda_max_symmetric(fn, x, generator(), 150, 0.1), lambda_max_lanczos(fn, x, generator(), 16, None)):
        torch.testing.assert_close(found, expected, rtol=0.01, atol=0.0)
    few = lambda_max_lanczos(fn, x, generator(), 8, 0.1)
    spread = expected - torch.linalg.eigvalsh(0.5 * (matrix + matrix.T))[0]
    assert torch.all(few <= expected + 1e-9) and torch.all(few >= expected - 0.1 * spread)


@pytest.mark.parametrize("name", SPECTRA)
def test_estimators_find_norms_of_16_dimensions(name):
    matrix, x = SPECTRA[name], torch.zeros((3, 16), dtype=torch.float64)
    r, c = torch.tensor([0.0, 0.5, 0.9], dtype=torch.float64), torch.tensor([1.0, 0.4, 0.2], dtype=torch.float64)

    def fn(a):
        return a @ matrix.T

    expected = torch.linalg.matrix_norm(affine(matrix.expand(3, 16, 16), r, c), 2)
    exact = Measures(ContractionConfig(label="cdp-step", estimator="exact")).sigma_max_affine(fn, x, r, c, generator())
    torch.testing.assert_close(exact, expected, rtol=1e-9, atol=0.0)
    for found in (sigma_max_affine(fn, x, r, c, generator(), 400, 0.1), sigma_max_lanczos(fn, x, r, c, generator(), 16, None)):
        torch.testing.assert_close(found, expected, rtol=0.01, atol=0.0)
    many = torch.zeros((20_000, 16), dtype=torch.float64)
    total, shifted = matrix.square().sum(), (0.5 * (matrix + matrix.T) + 0.1 * torch.eye(16, dtype=torch.float64)).square().sum()
    for measures, count, tolerance in (
        (Measures(ContractionConfig(estimator="exact")), x, 1e-9),
        (Measures(ContractionConfig(estimator="hutchinson")), many, 0.02),
    ):
        assert float(measures.frobenius_squared(fn, count, generator()).mean()) == pytest.approx(float(total), rel=tolerance)
        assert float(measures.symmetric_frobenius_squared(fn, count, generator(), 0.1).mean()) == pytest.approx(float(shifted), rel=tolerance)


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 8))
@settings(max_examples=25, deadline=None)
def test_iterations_never_exceed_the_eigenvalue(seed, dimension, iterations):
    matrix = torch.randn((dimension, dimension), generator=generator(seed), dtype=torch.float64)
    top = torch.linalg.eigvalsh(0.5 * (matrix + matrix.T))[-1]
    for estimate in (lambda_max_symmetric, lambda_max_lanczos):
        found = estimate(lambda a: a @ matrix.T, torch.zeros((2, dimension), dtype=torch.float64), generator(seed), iterations, 0.1)
        assert torch.all(found <= top + 1e-9)


def test_a_large_negative_eigenvalue_does_not_fool_the_power_iteration():
    matrix = torch.diag(torch.tensor([-2.0, -0.5, 0.3], dtype=torch.float64))
    largest = lambda_max_symmetric(lambda x: x @ matrix, torch.zeros(4, 3, dtype=torch.float64), generator(), 200, 0.1)
    torch.testing.assert_close(largest, torch.full((4,), 0.3, dtype=torch.float64), rtol=1e-3, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("diagonal", [[-0.5] * 6, [0.0] * 6, [-2.0, -0.5, -0.5, -0.5, -0.5, -0.5], [-2.0, -2.0, -2.0, 0.3, 0.3, 0.3]])
def test_lanczos_goes_on_where_its_space_ends(diagonal, dtype):
    """Few different eigenvalues: after as many steps the rest is zero, which is no eigenvalue."""
    values = torch.tensor(diagonal, dtype=dtype)
    for steps in (3, 6):
        found = lambda_max_lanczos(lambda x: x * values, torch.zeros((3, 6), dtype=dtype), generator(), steps, 0.1)
        torch.testing.assert_close(found, values.max().expand(3), rtol=1e-5, atol=1e-5)


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


GAIN_PAIRS = {"cdp-saturating": (0.1, 2.0), "cdp-hinge": (-1.0, 1.0), "cdp-step": (-0.5, 1.5), "cdp-paper": (-1.0, 3.0)}


def closed_form(label, gain, config, t):
    """The penalty of ``J = gain I`` in three dimensions."""
    alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
    if label == "cdp-saturating":
        return 3 * gain**2 / (3 * gain**2 + config.kappa)
    if label == "cdp-hinge":
        return max(0.0, gain - (alpha - config.beta)) ** 2
    if label == "cdp-step":
        return max(0.0, abs(0.2 + 0.9 * gain) - (1.0 - config.beta)) ** 2
    # f / h = -sigma on a variance-preserving path.
    return max(-config.beta, (1.0 - alpha * gain) / sigma - sigma)


@pytest.mark.parametrize(("label", "estimator"), [(label, e) for label in GAIN_PAIRS for e in ("auto", *LABEL_ESTIMATORS[label])])
def test_the_mean_is_taken_after_the_non_linearity(label, estimator):
    """Two samples that lie on either side of the limit: a penalty of their mean is another number."""
    low, high = GAIN_PAIRS[label]
    gains, t = torch.tensor([low, high], dtype=torch.float64), torch.full((2,), 0.5, dtype=torch.float64)
    config = ContractionConfig(label=label, estimator=estimator, beta=0.5)
    found = ContractionPenalty(config, SCHEDULE, 3, "ddim").at(
        lambda x: x * gains.repeat(len(x) // 2)[:, None, None],
        torch.zeros((2, 1, 3), dtype=torch.float64),
        t,
        torch.full_like(t, 0.2),
        torch.full_like(t, 0.9),
        generator(),
    )
    apart = [closed_form(label, gain, config, 0.5) for gain in (low, high)]
    assert float(found.loss) == pytest.approx(sum(apart) / 2, rel=1e-6)
    assert abs(closed_form(label, 0.5 * (low + high), config, 0.5) - sum(apart) / 2) > 0.02
    assert found.violation == 0.5


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

    penalty = ContractionPenalty(ContractionConfig(t_max=0.2, fraction=0.5, estimator="hutchinson"), SCHEDULE, 3, "ddim")
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


def test_the_paper_penalises_the_networks_own_noise():
    """A network that predicts the noise and its x0 form are penalised alike, by the Jacobian of the noise."""
    matrix = spectrum(np.linspace(-1.0, 2.0, 16), skew=0.5)
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    x = torch.randn((3, 4, 4), generator=generator(), dtype=torch.float64)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 16, bias=False, dtype=torch.float64), torch.nn.Unflatten(1, (4, 4)))
    with torch.no_grad():
        network[1].weight.copy_(matrix)

    class Noise(torch.nn.Module):
        def forward(self, x, t, cond):
            return network(x)

    denoiser = ConvertedDenoiser(Noise(), "eps", SCHEDULE)
    penalty = ContractionPenalty(ContractionConfig(label="cdp-paper", beta=0.1), SCHEDULE, 3, "ddim")
    found = penalty.at(bind(denoiser, t, torch.zeros(3, 1)), x, t, t, t, generator())
    torch.testing.assert_close(found.measure, torch.full((3,), 2.0, dtype=torch.float64))
    torch.testing.assert_close(found.limit, SCHEDULE.sigma(t) - 0.1)
    assert float(found.loss.detach()) == pytest.approx(float((2.0 - SCHEDULE.sigma(t)).mean()))


def test_the_paper_penalty_is_the_condition_of_noising_not_of_sampling():
    """The exact denoiser of narrow data contracts in sampling, and the literal form finds it in violation."""
    t = torch.full((2,), 0.5, dtype=torch.float64)
    alpha, sigma = SCHEDULE.alpha(0.5), SCHEDULE.sigma(0.5)
    gain = alpha * 0.1**2 / (alpha**2 * 0.1**2 + sigma**2)
    x = torch.randn((2, 1, 3), generator=generator(), dtype=torch.float64)
    found = {
        label: ContractionPenalty(ContractionConfig(label=label, beta=0.0), SCHEDULE, 3, "ddim").at(lambda x: gain * x, x, t, t, t, generator())
        for label in ("cdp-hinge", "cdp-paper")
    }
    assert found["cdp-hinge"].violation == 0.0 and found["cdp-paper"].violation == 1.0


@pytest.mark.parametrize("label", LABEL_ESTIMATORS)
def test_auto_is_exact_where_chunks_are_small(label):
    config = ContractionConfig(label=label)
    assert config.resolved_estimator(EXACT_UP_TO) == "exact"
    assert config.resolved_estimator(EXACT_UP_TO + 1) == ("hutchinson" if label in ("cdp-saturating", "cdp-frobenius") else "power")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"label": "cdp-hinge", "estimator": "hutchinson"}, r"estimator: 'hutchinson' .* cdp-hinge .*'auto', 'exact', 'lanczos', 'power'"),
        ({"label": "cdp-saturating", "estimator": "power"}, r"estimator: 'power' .* cdp-saturating .*'auto', 'exact', 'hutchinson'"),
        ({"estimator": "arnoldi"}, r"estimator: 'arnoldi' is not one of 'auto', 'exact', 'power', 'lanczos', 'hutchinson'"),
        ({"gamma": "automatic"}, r"gamma: 'automatic' is neither a number in \[0.0, 1000.0\] nor 'auto'"),
        ({"gamma": -0.1}, r"gamma: -0.1 is outside \[0.0, 1000.0\]"),
        ({"gamma": "auto", "label": "cdp-frobenius"}, r"gamma: 'auto' needs a limit to hold and cdp-frobenius has none"),
        ({"gamma": "auto", "gamma_max": 0.05}, r"gamma_start: 0.1 is outside \[0.0, 0.05\]"),
    ],
)
def test_values_that_do_not_suit_are_refused_by_name(values, message):
    with pytest.raises(ConfigError, match=f"^contraction.{message}"):
        from_mapping(ContractionConfig, values, "contraction.")


def test_gamma_auto_survives_a_configuration_file():
    config = from_mapping(ContractionConfig, {"gamma": "auto", "gamma_start": 0.3})
    assert config.active and config.automatic and config.first_gamma == 0.3
    assert from_mapping(ContractionConfig, to_mapping(config)) == config
    assert from_mapping(ContractionConfig, {"gamma": "1e-1"}).first_gamma == 0.1


def test_the_dual_variable_ascends_and_stays_within_its_bounds():
    weight = PenaltyWeight(ContractionConfig(gamma="auto", target_violation=0.2, gamma_start=0.1, gamma_rate=0.5, gamma_min=0.05, gamma_max=0.4))
    seen = []
    for violation in (0.4, 0.2, 1.0, 0.0, 0.0, 0.0, 0.0):
        weight.update(violation)
        seen.append(weight.value)
    assert seen == pytest.approx([0.2, 0.2, 0.4, 0.3, 0.2, 0.1, 0.05])
    fixed = PenaltyWeight(ContractionConfig(gamma=0.7))
    fixed.update(1.0)
    assert fixed.value == 0.7


def test_the_dual_variable_meets_the_target_violation():
    """A gain that the data pull to 1.2, and the penalty below the limits alpha_t - beta of all but the wanted share of the times."""
    config = ContractionConfig(
        label="cdp-hinge", gamma="auto", target_violation=0.3, gamma_start=0.0, gamma_rate=0.3, gamma_max=100.0, beta=0.0, fraction=1.0
    )
    penalty, weight = ContractionPenalty(config, SCHEDULE, 3, "ddim"), PenaltyWeight(config)
    gain = torch.tensor(1.2, dtype=torch.float64, requires_grad=True)
    chunk, cond, noise, seen = torch.zeros((16, 1, 1), dtype=torch.float64), torch.zeros((16, 1)), generator(), []
    for _ in range(800):
        found = penalty(lambda x, t, c, gain=gain: gain * x, chunk, cond, noise)
        (slope,) = torch.autograd.grad((gain - 1.2).square() + weight.value * found.loss, gain)
        with torch.no_grad():
            gain -= 0.02 * slope
        seen.append(found.violation)
        weight.update(found.violation)
    assert sum(seen[:10]) / 10 > 0.7 and sum(seen[-300:]) / 300 == pytest.approx(0.3, abs=0.03)


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
