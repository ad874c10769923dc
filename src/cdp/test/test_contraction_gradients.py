"""Parameter gradients of every penalty, on every network, against finite differences in double precision.

They guard against layers whose derivative of a derivative is wrong (fused layer normalisation under forward-over-reverse differentiation): the value
of a penalty stays right there, and only the gradient that training follows is not.
"""

import functools

import pytest
import torch

from cdp.contraction.config import LABEL_ESTIMATORS, ContractionConfig
from cdp.contraction.penalties import ContractionPenalty, bind
from cdp.diffusion.schedule import Schedule
from cdp.networks.config import DenoiserConfig
from cdp.networks.policy import build_denoiser

SCHEDULE = Schedule()
NETWORKS = {
    "dit": DenoiserConfig(kind="dit", width=8, depth=1, heads=2),
    "unet": DenoiserConfig(kind="unet", width=8, depth=2, kernel=3),
    "mlp": DenoiserConfig(kind="mlp", width=8, depth=1),
    "pearce": DenoiserConfig(kind="pearce", width=8, depth=1),
    "mlp-eps": DenoiserConfig(kind="mlp", width=8, depth=1, prediction="eps"),
    "mlp-v": DenoiserConfig(kind="mlp", width=8, depth=1, prediction="v"),
}
# Spread of the random weights: large enough for eigenvalues that a few dozen power iterations tell apart.
GAINS = {"dit": 0.4, "unet": 0.8, "mlp": 0.4, "pearce": 0.4, "mlp-eps": 0.4, "mlp-v": 0.4}
SHAPE = (2, 2)
TOLERANCE = 1e-4
ITERATED = ("power", "lanczos")
CASES = [
    (kind, label, estimator, derivative)
    for kind, config in NETWORKS.items()
    for label, estimators in LABEL_ESTIMATORS.items()
    for estimator in estimators
    for derivative in (("central",) if estimator in ("exact", "power") else ("central", "jvp"))
    # Power iterations converge where the network's own output is measured, not a small part of it beside a multiple of the noisy action.
    if label != "diffusion" and (estimator != "power" or (config.prediction == "x0") == (label != "cdp-paper"))
]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(kind):
    """A tiny denoiser in double precision with no weight zero."""
    model = build_denoiser(NETWORKS[kind], *SHAPE, 4).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(GAINS[kind] * torch.randn(parameter.shape, generator=generator(parameter.numel()), dtype=torch.float64))
    return model


def loss(model, label, estimator, derivative):
    # A margin of 1 keeps the hinges active. The gradient takes a power iteration's vector as converged, which asks for many.
    config = ContractionConfig(label=label, estimator=estimator, derivative=derivative, beta=1.0, iterations=50, delta=1e-4)
    x = torch.randn((2, *SHAPE), generator=generator(1), dtype=torch.float64)
    t, cond = torch.tensor([0.2, 0.6], dtype=torch.float64), torch.randn((2, 4), generator=generator(2), dtype=torch.float64)
    penalty = ContractionPenalty(config, SCHEDULE, 3, "ddim")
    return penalty.at(bind(model, t, cond), x, t, torch.full_like(t, 0.5), torch.full_like(t, 0.7), generator(4)).loss


def directions(model):
    return [torch.randn(p.shape, generator=generator(p.numel() + 7), dtype=p.dtype) for p in model.parameters()]


@functools.cache
def measured_slope(kind, label, estimator, derivative):
    """Central difference of the penalty along one random direction in the space of the parameters."""
    h, values = 1e-5, []
    for sign in (1.0, -1.0):
        model = network(kind)
        with torch.no_grad():
            for parameter, direction in zip(model.parameters(), directions(model), strict=True):
                parameter.add_(direction, alpha=sign * h)
        values.append(float(loss(model, label, estimator, derivative).detach()))
    return (values[0] - values[1]) / (2 * h)


@pytest.mark.parametrize(("kind", "label", "estimator", "derivative"), CASES)
def test_parameter_gradients_agree_with_finite_differences(kind, label, estimator, derivative):
    """Eigenvalues and singular values against the differences of the exact ones, a random estimate against those of the same estimate."""
    model = network(kind)
    penalty = loss(model, label, estimator, derivative)
    gradients = torch.autograd.grad(penalty, list(model.parameters()), allow_unused=True)
    slope = float(sum((g * d).sum() for g, d in zip(gradients, directions(model), strict=True) if g is not None))
    reference = (label, "exact", "central") if estimator in ITERATED else (label, estimator, derivative)
    assert abs(float(penalty.detach())) > 1e-4
    assert slope == pytest.approx(measured_slope(kind, *reference), rel=TOLERANCE)
