"""Norms and eigenvalues of the Jacobian of a sample-wise map, without building it.

A map takes (N, ...) to (N, ...), sample i of the output depending on sample i of the input only; J_i is the Jacobian of sample i, d x d with d the
number of its elements. ``delta`` chooses how ``J v`` is computed: central differences over that length (any network, cheapest), or forward
differentiation where it is None. A result is differentiable with respect to the map's parameters where its docstring says so.

Central differences hand a map both ends in one batch (2 N, ...), sample N + i belonging to the same J_i as sample i: one large call is cheaper than
two.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]


def exact_jacobian(fn: Map, x: Tensor) -> Tensor:
    """J (N, d, d), row by row through autograd; differentiable. For small d, and the oracle of the estimators."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        out = fn(x).flatten(1)
        rows = [torch.autograd.grad(out[:, i].sum(), x, create_graph=True)[0].flatten(1) for i in range(out.shape[1])]
    return torch.stack(rows, dim=1)


def jvp(fn: Map, x: Tensor, v: Tensor, delta: float | None) -> Tensor:
    """J v, (N, ...) as x; differentiable."""
    if delta is None:
        product: Tensor = torch.func.jvp(fn, (x,), (v,))[1]
        return product
    length = _norm(v, x).clamp_min(1e-12)
    half = v * (delta / length)
    ahead, behind = fn(torch.cat([x + half, x - half])).chunk(2)
    return (ahead - behind) * (length / (2.0 * delta))


def vjp(fn: Map, x: Tensor, v: Tensor, create_graph: bool = False) -> Tensor:
    """J^T v, (N, ...) as x; exact; differentiable with ``create_graph``."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(fn(x), x, v, create_graph=create_graph)[0]


def random_direction(x: Tensor, generator: torch.Generator) -> Tensor:
    """Directions (N, ...) of unit length, uniform on the sphere of each sample."""
    v = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
    return v / _norm(v, x)


def frobenius_squared(fn: Map, x: Tensor, generator: torch.Generator, probes: int, delta: float | None) -> Tensor:
    """Unbiased estimate (N,) of ``||J||_F^2 = d E ||J u||^2`` over directions u (Hutchinson); differentiable."""
    dimension = x[0].numel()
    products = [jvp(fn, x, random_direction(x, generator), delta).flatten(1).square().sum(dim=1) for _ in range(probes)]
    return dimension * torch.stack(products).mean(dim=0)


def symmetric_frobenius_squared(fn: Map, x: Tensor, generator: torch.Generator, probes: int, delta: float | None, shift: float) -> Tensor:
    """Unbiased estimate (N,) of ``||sym(J) + shift I||_F^2``; differentiable."""
    dimension = x[0].numel()
    total = []
    for _ in range(probes):
        u = random_direction(x, generator)
        product = 0.5 * (jvp(fn, x, u, delta) + vjp(fn, x, u, create_graph=True)) + shift * u
        total.append(product.flatten(1).square().sum(dim=1))
    return dimension * torch.stack(total).mean(dim=0)


def lambda_max_symmetric(fn: Map, x: Tensor, generator: torch.Generator, iterations: int, delta: float | None) -> Tensor:
    """Lower bound (N,) on the largest eigenvalue of ``sym(J) = (J + J^T) / 2``; the last ``v^T J v`` is differentiable.

    Power iteration finds the eigenvalue of largest magnitude, so sym(J) is shifted by the greatest ``|sym(J) v|`` met so far: a direction of a large
    negative eigenvalue cancels itself.
    """
    v = random_direction(x, generator)
    shift = torch.zeros_like(_norm(v, x))
    with torch.no_grad():
        for _ in range(iterations):
            product = 0.5 * (jvp(fn, x, v, delta) + vjp(fn, x, v))
            shift = torch.maximum(shift, _norm(product, x))
            v = _unit(product + shift * v, fallback=v)
    return (v * jvp(fn, x, v, delta)).flatten(1).sum(dim=1)


def sigma_max_affine(fn: Map, x: Tensor, r: Tensor, c: Tensor, generator: torch.Generator, iterations: int, delta: float | None) -> Tensor:
    """Lower bound (N,) on the largest singular value of ``A = r I + c J``, r and c (N,).

    Power iteration on ``A^T A``; the last ``|A v|`` is differentiable.
    """
    shape = (-1,) + (1,) * (x.ndim - 1)
    r, c = r.reshape(shape), c.reshape(shape)
    v = random_direction(x, generator)
    with torch.no_grad():
        for _ in range(iterations):
            product = r * v + c * jvp(fn, x, v, delta)
            v = _unit(r * product + c * vjp(fn, x, product), fallback=v)
    # A vanishing product has no direction to differentiate a length along; the floor keeps its gradient zero instead of NaN.
    return (r * v + c * jvp(fn, x, v, delta)).flatten(1).square().sum(dim=1).clamp_min(1e-24).sqrt()


def lanczos_extremes(matvec: Map, start: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Smallest and largest Ritz value (N,) of the symmetric operators behind ``matvec`` (N, ...) -> (N, ...), after ``steps`` Lanczos steps.

    With full reorthogonalisation; bounds from inside the spectrum, exact once ``steps`` reaches d.
    """
    basis = [start.flatten(1) / start.flatten(1).norm(dim=1, keepdim=True)]
    rows = []
    for _ in range(min(steps, basis[0].shape[1])):
        product = matvec(basis[-1].reshape(start.shape)).flatten(1)
        rows.append(product)
        for _ in range(2):
            for q in basis:
                product = product - (product * q).sum(dim=1, keepdim=True) * q
        norm = product.norm(dim=1, keepdim=True)
        basis.append(torch.where(norm > 1e-9, product / norm.clamp_min(1e-12), torch.zeros_like(product)))
    q = torch.stack(basis[: len(rows)], dim=1)
    projected = q @ torch.stack(rows, dim=1).transpose(1, 2)
    values = torch.linalg.eigvalsh(0.5 * (projected + projected.transpose(1, 2)))
    return values[:, 0], values[:, -1]


def _norm(v: Tensor, like: Tensor) -> Tensor:
    length: Tensor = v.flatten(1).square().sum(dim=1).sqrt()
    return length.reshape((-1,) + (1,) * (like.ndim - 1))


def _unit(v: Tensor, fallback: Tensor) -> Tensor:
    length = _norm(v, v)
    return torch.where(length > 1e-12, v / length.clamp_min(1e-12), fallback)
