"""The estimators of the denoiser's Jacobian and the penalties' gradients, against exact matrices and finite differences in double precision."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from cdp.checks.figure import Figure, Suite
from cdp.contraction.config import LABELS, ContractionConfig
from cdp.contraction.estimators import (
    Map,
    frobenius_squared,
    lambda_max_lanczos,
    lambda_max_symmetric,
    sigma_max_affine,
    sigma_max_lanczos,
    symmetric_part,
)
from cdp.contraction.penalties import ContractionPenalty, bind
from cdp.diffusion.schedule import Schedule
from cdp.networks.config import DenoiserConfig
from cdp.networks.policy import build_denoiser

DIMENSION = 16
MATRICES = 8
EIGENVALUE_TOLERANCE = 0.01
PROBES = 4096
# Hutchinson's standard error with that many probes on these matrices is about one per cent.
HUTCHINSON_TOLERANCE = 0.05
GRADIENT_TOLERANCE = 1e-4
STEP = 1e-5
SHAPE = (2, 2)

#: Spectra that an estimator without a shift gets wrong, and one whose symmetric part is not the matrix.
SPECTRA: dict[str, Callable[[torch.Generator], Tensor]] = {
    "largest is positive": lambda g: _with_spectrum(torch.linspace(-0.5, 1.5, DIMENSION), g),
    "largest is negative": lambda g: _with_spectrum(torch.cat([torch.tensor([-2.0]), torch.linspace(-0.5, 0.3, DIMENSION - 1)]), g),
    "all are negative": lambda g: _with_spectrum(torch.linspace(-3.0, -0.5, DIMENSION), g),
    "not symmetric": lambda g: torch.randn((DIMENSION, DIMENSION), generator=g, dtype=torch.float64),
}
#: Random weights of this spread give eigenvalues that a few dozen power iterations tell apart.
NETWORKS = {"dit": 0.4, "unet": 0.8, "mlp": 0.4, "pearce": 0.4}


def eigenvalues(seed: int) -> list[Figure]:
    """Worst error of lambda_max(sym J), over the spread of the spectrum, on 16-D matrices."""
    title = f"lambda_max(sym J) of {DIMENSION}-D matrices, worst error over the spread of the spectrum"
    made = []
    for name, draw in SPECTRA.items():
        jacobian = torch.stack([draw(_generator(seed + i)) for i in range(MATRICES)])
        exact = torch.linalg.eigvalsh(symmetric_part(jacobian))
        fn, x = _linear(jacobian), torch.zeros((MATRICES, DIMENSION), dtype=torch.float64)
        estimates = {
            "power": lambda_max_symmetric(fn, x, _generator(seed), 300, None),
            "lanczos": lambda_max_lanczos(fn, x, _generator(seed), DIMENSION, None),
        }
        for estimator, estimate in estimates.items():
            error = (estimate - exact[:, -1]).abs() / (exact[:, -1] - exact[:, 0])
            made.append(Figure(title, f"{estimator}, {name}", float(error.max()), high=EIGENVALUE_TOLERANCE))
    return made


def singular_values(seed: int) -> list[Figure]:
    """Worst relative error of sigma_max(r I + c J) and of the Frobenius norm on 16-D matrices."""
    jacobian = torch.stack([SPECTRA["not symmetric"](_generator(seed + i)) for i in range(MATRICES)])
    fn, x = _linear(jacobian), torch.zeros((MATRICES, DIMENSION), dtype=torch.float64)
    r, c = (torch.full((MATRICES,), value, dtype=torch.float64) for value in (0.6, 0.3))
    exact = torch.linalg.svdvals(0.6 * torch.eye(DIMENSION, dtype=torch.float64) + 0.3 * jacobian)[:, 0]
    norm = jacobian.square().sum(dim=(1, 2))
    errors = {
        "power": (sigma_max_affine(fn, x, r, c, _generator(seed), 300, None) / exact - 1.0, EIGENVALUE_TOLERANCE),
        "lanczos": (sigma_max_lanczos(fn, x, r, c, _generator(seed), DIMENSION, None) / exact - 1.0, EIGENVALUE_TOLERANCE),
        f"hutchinson, {PROBES} probes": (frobenius_squared(fn, x, _generator(seed), PROBES, None) / norm - 1.0, HUTCHINSON_TOLERANCE),
    }
    title = "sigma_max(r I + c J) and ||J||_F^2, worst relative error"
    return [Figure(title, name, float(error.abs().max()), high=tolerance) for name, (error, tolerance) in errors.items()]


def gradients(seed: int) -> list[Figure]:
    """Relative error of the penalties' parameter gradients along a random direction, for every network and label."""
    title = "parameter gradient of the penalty, exact Jacobian, against central differences, relative error"
    made = []
    for kind in NETWORKS:
        for label in LABELS:
            if label != "diffusion":
                made.append(Figure(title, f"{kind} {label}", gradient_error(kind, label, seed), high=GRADIENT_TOLERANCE))
    return made


def gradient_error(kind: str, label: str, seed: int) -> float:
    """``|slope by autograd / slope by central differences - 1|`` of one penalty on one tiny network with random weights."""
    model = _network(kind, seed)
    parameters = list(model.parameters())
    along = [torch.randn(p.shape, generator=_generator(seed + 10 + i), dtype=p.dtype) for i, p in enumerate(parameters)]
    found = torch.autograd.grad(_penalty(model, label, seed), parameters, allow_unused=True)
    slope = sum(float((g * d).sum()) for g, d in zip(found, along, strict=True) if g is not None)
    ends = []
    for sign in (1.0, -2.0):
        with torch.no_grad():
            for parameter, direction in zip(parameters, along, strict=True):
                parameter.add_(direction, alpha=sign * STEP)
        ends.append(float(_penalty(model, label, seed).detach()))
    return abs(slope / ((ends[0] - ends[1]) / (2.0 * STEP)) - 1.0)


def _penalty(model: nn.Module, label: str, seed: int) -> Tensor:
    # A margin of 1 keeps the hinges active: a penalty of zero has the right gradient whatever the code does.
    config = ContractionConfig(label=label, beta=1.0, delta=1e-4)
    x = torch.randn((2, *SHAPE), generator=_generator(seed + 1), dtype=torch.float64)
    t, cond = torch.tensor([0.2, 0.6], dtype=torch.float64), torch.randn((2, 4), generator=_generator(seed + 2), dtype=torch.float64)
    half = torch.full_like(t, 0.5)
    return ContractionPenalty(config, Schedule(), 3, "ddim").at(bind(model, t, cond), x, t, half, half, _generator(seed + 3)).loss


def _network(kind: str, seed: int) -> nn.Module:
    config = DenoiserConfig(kind=kind, width=8, depth=2 if kind == "unet" else 1, heads=2, kernel=3)
    model = build_denoiser(config, *SHAPE, 4).double()
    with torch.no_grad():
        for i, parameter in enumerate(model.parameters()):
            parameter.copy_(NETWORKS[kind] * torch.randn(parameter.shape, generator=_generator(seed + 100 + i), dtype=torch.float64))
    return model


def _linear(jacobian: Tensor) -> Map:
    """The map with these Jacobians (N, d, d); it takes (N, d), or several such stacked."""

    def fn(x: Tensor) -> Tensor:
        out: Tensor = torch.einsum("nij,rnj->rni", jacobian, x.reshape(-1, len(jacobian), x.shape[1])).reshape(x.shape)
        return out

    return fn


def _with_spectrum(values: Tensor, generator: torch.Generator) -> Tensor:
    basis = torch.linalg.qr(torch.randn((len(values), len(values)), generator=generator, dtype=torch.float64)).Q
    matrix: Tensor = basis @ torch.diag(values.double()) @ basis.T
    return matrix


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


SUITE = Suite(checks={"eigenvalues": eigenvalues, "singular values": singular_values, "gradients": gradients})
