"""Sampling a chunk some rows of which are given: a change of the denoiser, so that it serves every solver and every path.

Given rows Y with weights W in [0, 1] (1: met exactly, 0: free), the prediction x0 of each step becomes

    x0' = x0 + S W^1/2 (W^1/2 S W^1/2 + lambda (I - W))^-1 W^1/2 (Y - x0),

the mean of a Gaussian of mean x0 and covariance proportional to S when its rows are observed with noise that grows as W falls; lambda, the mean of S
along W (Y - x0), makes W = 1/2 mean that both are believed alike. With ``products`` = 0, S is the identity and ``x0' = x0 + W (Y - x0)``: the rows
are replaced, and others hear of it through the denoiser's input at the next step alone. With ``products`` = k, S is the denoiser's Jacobian J, since
``Cov(a_0 | a_t) = (sigma^2 / alpha) J`` for an exact denoiser, and the system is solved by k steps of conjugate gradients, one difference quotient of
the denoiser each. For Gaussian data and enough steps the result is the exact conditional distribution (a test).

The idea and the mask are those of real-time chunking (Black et al., arXiv 2506.07339), which guides a flow's velocity by the vector-Jacobian product
``J^T W (Y - x0)`` of pseudo-inverse guidance with a clipped weight. Here there is no autograd: ``J v`` stands for ``J^T v``, which is the same for an
exact denoiser, whose Jacobian is symmetric; the system is solved rather than weighted; and rows of weight 1 are set, so that they are met whatever
the number of steps.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cdp.diffusion.arrays import array_like, call
from cdp.diffusion.path import NoisePath
from cdp.diffusion.sampler import Denoise

#: Length of the difference quotient in states of unit size, as the contraction penalty uses.
DELTA = 0.1
#: Part of ``|J b|`` that is added to J: a residual that the denoiser does not answer in kind must not be divided by next to nothing.
FLOOR = 0.1
#: Root mean square of the change over all rows, in that over the given ones: a denoiser that is no posterior mean must not throw the free rows away.
LIMIT = 2.0


def guided(denoise: Denoise, given: Any, weights: Any, path: NoisePath, products: int = 0, floor: float = FLOOR, delta: float = DELTA) -> Denoise:
    """``denoise`` on ``path``, drawn to the rows ``given`` (T, D) by ``weights`` (T,) in [0, 1]; ``denoise`` itself where no weight is above 0.

    Each call evaluates ``denoise`` 1 + ``products`` times. Raises ValueError for weights outside their range or of another length.
    """
    w = np.asarray(weights, dtype=np.float64)
    if w.shape != (len(given),) or not np.all((w >= 0.0) & (w <= 1.0)):
        raise ValueError(f"weights of the given rows are {len(given)} numbers in [0, 1], not {w.tolist()}")
    if not np.any(w > 0.0):
        return denoise

    def fn(x: Any, t: Any) -> Any:
        x0 = denoise(x, t)
        weight, target = array_like(w[:, None], x0), array_like(np.asarray(given), x0)
        residual = target - x0
        drawn = x0 + (weight * residual if products == 0 else correction(x, t, x0, weight, residual))
        # Exact, where x0 + (Y - x0) would be off by a rounding.
        met = weight == 1.0
        return met * target + ~met * drawn

    def correction(x: Any, t: Any, x0: Any, weight: Any, residual: Any) -> Any:
        size = path.size(t).reshape((-1,) + (1,) * (x.ndim - 1))
        root = call("sqrt", weight)

        def product(v: Any) -> Any:
            length = call("sqrt", _dot(v, v))
            return length / (delta * size) * (denoise(x + _over(delta * size, length) * v, t) - x0)

        b = root * residual
        p, rest = b, b
        answer = product(root * p)
        ridge = floor * call("sqrt", _over(_dot(answer, answer), _dot(b, b)))
        answer = answer + ridge * root * p
        # The mean of S along the residual; without a positive one the denoiser is no guide, and the rows are replaced.
        trust = _over(_dot(root * p, answer), _dot(root * p, root * p))
        usable = trust > 0.0
        asked = weight * residual
        allowed = LIMIT * math.sqrt(len(w) / float(np.sum(w**2))) * call("sqrt", _dot(asked, asked))
        shift = 0.0 * b
        for k in range(products):
            if k > 0:
                answer = product(root * p) + ridge * root * p
            applied = root * answer + trust * (1.0 - weight) * p
            curvature, before = _dot(p, applied), _dot(rest, rest)
            step = _over(before, curvature) * (curvature > 0.0)
            shift = shift + step * answer
            rest = rest - step * applied
            p = rest + _over(_dot(rest, rest), before) * p
        excess = _over(call("sqrt", _dot(shift, shift)), allowed)
        return usable * shift / (1.0 + (excess > 1.0) * (excess - 1.0)) + ~usable * asked

    return fn


def _dot(a: Any, b: Any) -> Any:
    """Inner products of a batch (B, T, D), shaped (B, 1, 1)."""
    return (a * b).reshape((a.shape[0], -1)).sum(-1).reshape((-1,) + (1,) * (a.ndim - 1))


def _over(a: Any, b: Any) -> Any:
    """``a / b``, 0 where b is 0."""
    zero = b == 0.0
    return a / (b + zero) * ~zero
