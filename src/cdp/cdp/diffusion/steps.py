"""Solver steps that are affine in the state and the denoiser's output, as coefficients; all of them computed before the first evaluation.

``a_s = r a_t + c (x0 + extrapolation (x0 - x0_previous)) + noise z`` with ``x0 = x0_hat(a_t, t)`` and z standard normal. The Jacobian of a step
without extrapolation is ``r I + c J_x0``.

- ``ddim`` (arXiv 2010.02502) = ``dpmpp_1``: the first-order exponential integrator of the probability-flow ODE, ``r = sigma_s / sigma_t`` and
  ``c = alpha_s - alpha_t r``. Exact for a constant x0.
- ``dpmpp_2m`` (arXiv 2211.01095): the second-order multistep one. Its first step is first order, and so is one that ends at sigma = 0: it
  extrapolates in the log signal-to-noise ratio, which is infinite there.
- ``euler``: ``a_s = a_t + (s - t)(alpha' x0 + sigma' eps)``, the derivatives taken at t.
- ``ancestral``: the posterior ``q(a_s | a_t, x0)`` of the forward process (DDPM, arXiv 2006.11239), its variance
  ``sigma_s^2 (1 - (alpha_t sigma_s / (alpha_s sigma_t))^2)`` times eta^2; with eta = 0 it is ``ddim`` (equation 16 of arXiv 2010.02502).
- ``euler_maruyama``: ``da = (u + w^2 eps / (2 sigma)) dt + w dW`` run backwards, with u the flow's velocity and ``w = eta g``: for eta = 1 the time
  reversal of the forward SDE (equation 6 of arXiv 2011.13456), for eta = 0 ``euler``. Any w leaves the marginals as they are (equation 6 of
  arXiv 2206.00364), so w^2 is held below ``sigma_t^2 / (t - s)``, where an explicit step would overshoot: g is unbounded where alpha reaches 0.
  The step to t = 0 adds no noise, which nothing after it could take away.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cdp.diffusion.path import NoisePath

STOCHASTIC = ("ancestral", "euler_maruyama")
AFFINE = ("ddim", "dpmpp_2m", "dpmpp_1", "euler", *STOCHASTIC)


@dataclass(frozen=True)
class Step:
    """One sampler step ``a_s = r a_t + c (x0 + extrapolation (x0 - x0_previous)) + noise z``."""

    t: float
    s: float
    r: float
    c: float
    extrapolation: float
    noise: float = 0.0


def affine_steps(times: Sequence[float], solver: str, path: NoisePath, eta: float = 1.0) -> list[Step]:
    """The steps between the descending ``times``, of which the last may be 0. ``eta`` in [0, 1] scales the noise of the stochastic solvers.

    Raises ValueError for an unknown solver or an eta outside its range.
    """
    if solver not in AFFINE:
        raise ValueError(f"solver {solver!r} is not one of {', '.join(AFFINE)}")
    if not 0.0 <= eta <= 1.0:
        raise ValueError(f"eta {eta} is outside [0, 1]")
    pairs = itertools.pairwise(float(t) for t in times)
    if solver == "euler":
        return [euler_step(path, t, s) for t, s in pairs]
    if solver == "euler_maruyama":
        return [_euler_maruyama_step(path, t, s, eta) for t, s in pairs]
    if solver == "ancestral":
        return [_ancestral_step(path, t, s, eta) for t, s in pairs]
    made = []
    previous_h = None
    for t, s in pairs:
        extrapolation = 0.0
        if solver == "dpmpp_2m" and s > 0.0:
            h = _log_snr(path, s) - _log_snr(path, t)
            if previous_h is not None:
                extrapolation = 0.5 * h / previous_h
            previous_h = h
        made.append(_ancestral_step(path, t, s, 0.0, extrapolation))
    return made


def standardised_step(step: Step, path: NoisePath) -> Step:
    """The step of the state divided by :meth:`NoisePath.size`: for ``ddim`` the one of a variance-preserving path at the same noise ratios.

    The product of its factors over a sampler's steps bounds how far the sampler stretches its unit noise, whatever scale the path starts from.
    """
    before, after = path.size(step.t), path.size(step.s)
    return replace(step, r=step.r * before / after, c=step.c / after, noise=step.noise / after)


def euler_step(path: NoisePath, t: float, s: float) -> Step:
    """The explicit Euler step of the probability-flow ODE."""
    growth = path.dlog_sigma_dt(t)
    return Step(t, s, 1.0 + (s - t) * growth, (s - t) * (path.alpha_dt(t) - path.alpha(t) * growth), 0.0)


def _euler_maruyama_step(path: NoisePath, t: float, s: float, eta: float) -> Step:
    flow = euler_step(path, t, s)
    if s == 0.0 or eta == 0.0:
        return flow
    variance = path.sigma(t) ** 2
    if path.alpha(t) > 0.0:
        variance = min(variance, eta**2 * path.diffusion_squared(t) * (t - s))
    # (s - t) w^2 eps / (2 sigma), with eps = (a - alpha x0) / sigma.
    pull = 0.5 * variance / path.sigma(t) ** 2
    return Step(t, s, flow.r - pull, flow.c + pull * path.alpha(t), 0.0, math.sqrt(variance))


def _ancestral_step(path: NoisePath, t: float, s: float, eta: float, extrapolation: float = 0.0) -> Step:
    kept = path.alpha(t) * path.sigma(s) / (path.alpha(s) * path.sigma(t))
    fresh = eta**2 * (1.0 - kept**2)
    r = path.sigma(s) * math.sqrt(1.0 - fresh) / path.sigma(t)
    return Step(t, s, r, path.alpha(s) - path.alpha(t) * r, extrapolation, path.sigma(s) * math.sqrt(fresh))


def _log_snr(path: NoisePath, t: float) -> float:
    return float(path.log_snr(t)) if path.alpha(t) > 0.0 else -math.inf
