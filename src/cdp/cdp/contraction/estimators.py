"""Norms and eigenvalues of the Jacobian of a sample-wise map, without building it.

A map takes (N, ...) to (N, ...), sample i of the output depending on sample i of the input only; J_i is the Jacobian of sample i, d x d with d the
number of its elements. ``delta`` chooses how ``J v`` is computed: central differences over that length (any network, cheapest), or forward
differentiation where it is None. A result is differentiable with respect to the map's parameters where its docstring says so.

A map is called with several such batches stacked, (k N, ...), sample j N + i belonging to the same J_i as sample i: one large call is cheaper than
k small ones. Central differences stack the two ends, a Jacobian its d rows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cdp.shares import draw, like

Map = Callable[[Tensor], Tensor]


def standardised_map(fn: Map, size: Tensor) -> Map:
    """``y -> fn(size y)`` with size (N,): of a map of noisy states that of the states divided by their size, so that one ``delta`` suits all."""

    def scaled(y: Tensor) -> Tensor:
        return fn(size.repeat(len(y) // len(size)).reshape((-1,) + (1,) * (y.ndim - 1)) * y)

    return scaled


def exact_jacobian(fn: Map, x: Tensor) -> Tensor:
    """J (N, d, d), row by row through autograd; differentiable. For small d, and the oracle of the estimators."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        out = fn(x).flatten(1)
        rows = [torch.autograd.grad(out[:, i].sum(), x, create_graph=True)[0].flatten(1) for i in range(out.shape[1])]
    return torch.stack(rows, dim=1)


def stacked_jacobian(fn: Map, x: Tensor) -> Tensor:
    """J (N, d, d) as :func:`exact_jacobian`, its d rows in one pass over a batch of d N; differentiable. For training with small d."""
    count, dimension = len(x), x[0].numel()
    with torch.enable_grad():
        many = x.detach().repeat((dimension,) + (1,) * (x.ndim - 1)).requires_grad_()
        cotangents = torch.eye(dimension, dtype=x.dtype, device=x.device).repeat_interleave(count, 0).reshape(many.shape)
        rows = torch.autograd.grad(fn(many), many, cotangents, create_graph=True)[0]
    return rows.reshape(dimension, count, dimension).transpose(0, 1)


def symmetric_part(jacobian: Tensor) -> Tensor:
    """``(J + J^T) / 2`` of Jacobians (N, d, d)."""
    return 0.5 * (jacobian + jacobian.transpose(1, 2))


def affine(jacobian: Tensor, r: Tensor, c: Tensor) -> Tensor:
    """``r I + c J`` of Jacobians (N, d, d) with r and c (N,)."""
    identity = torch.eye(jacobian.shape[1], dtype=jacobian.dtype, device=jacobian.device)
    return r[:, None, None] * identity + c[:, None, None] * jacobian


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
    v = draw(torch.randn, x.shape, generator, x.dtype).to(x.device)
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

    Power iteration finds the eigenvalue of largest magnitude, so sym(J) is centred by its first Rayleigh quotient (a large multiple of I would hide
    the rest) and shifted by the greatest ``|sym(J) v|`` met so far after that: a direction of a large negative eigenvalue cancels itself.
    """
    v = random_direction(x, generator)
    centre = shift = torch.zeros_like(_norm(v, x))
    with torch.no_grad():
        for iteration in range(iterations):
            product = 0.5 * (jvp(fn, x, v, delta) + vjp(fn, x, v))
            if iteration == 0:
                centre = (v * product).flatten(1).sum(dim=1).reshape(shift.shape)
            product = product - centre * v
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
    return _length(r * v + c * jvp(fn, x, v, delta))


def lambda_max_lanczos(fn: Map, x: Tensor, generator: torch.Generator, steps: int, delta: float | None) -> Tensor:
    """Lower bound (N,) on the largest eigenvalue of ``sym(J)``, exact after d steps; ``v^T J v`` of the Ritz vector v is differentiable, v is not."""
    with torch.no_grad():
        v = lanczos(lambda u: 0.5 * (jvp(fn, x, u, delta) + vjp(fn, x, u)), random_direction(x, generator), steps, _spare(generator))[1][:, -1]
    return (v * jvp(fn, x, v, delta)).flatten(1).sum(dim=1)


def sigma_max_lanczos(fn: Map, x: Tensor, r: Tensor, c: Tensor, generator: torch.Generator, steps: int, delta: float | None) -> Tensor:
    """Lower bound (N,) on the largest singular value of ``A = r I + c J``, by Lanczos on ``A^T A``.

    ``|A v|`` of the Ritz vector v is differentiable, v is not.
    """
    shape = (-1,) + (1,) * (x.ndim - 1)
    r, c = r.reshape(shape), c.reshape(shape)

    def normal(u: Tensor) -> Tensor:
        product = r * u + c * jvp(fn, x, u, delta)
        return r * product + c * vjp(fn, x, product)

    with torch.no_grad():
        v = lanczos(normal, random_direction(x, generator), steps, _spare(generator))[1][:, -1]
    return _length(r * v + c * jvp(fn, x, v, delta))


def lanczos_extremes(matvec: Map, start: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Smallest and largest Ritz value (N,) of the symmetric operators behind ``matvec``: bounds from inside the spectrum; see :func:`lanczos`."""
    values, _ = lanczos(matvec, start, steps)
    return values[:, 0], values[:, -1]


def lanczos(matvec: Map, start: Tensor, steps: int, spare: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Ritz values (N, k), ascending, and unit Ritz vectors (N, k, ...) of the symmetric operators behind ``matvec`` (N, ...) -> (N, ...).

    ``k = min(steps, d)`` steps from ``start`` (N, ...) with full reorthogonalisation; exact once ``steps`` reaches d. ``spare`` draws the
    direction to go on in where the Krylov space ends.
    """
    basis = [start.flatten(1) / start.flatten(1).norm(dim=1, keepdim=True)]
    rows = []
    spare = spare if spare is not None else torch.Generator().manual_seed(0)
    for _ in range(min(steps, basis[0].shape[1])):
        product = matvec(basis[-1].reshape(start.shape)).flatten(1)
        rows.append(product)
        left = _orthogonal(product, basis)
        # Where the Krylov space ends (a multiple of I ends it at once) any other direction goes on: a zero vector would be a false eigenvector.
        ended = left.norm(dim=1, keepdim=True) <= 1e-6 * product.norm(dim=1, keepdim=True)
        # Uniform, since a normal draw could be the very start: both may come from the same seed.
        other = (draw(torch.rand, product.shape, spare, product.dtype) - 0.5).to(product.device)
        left = torch.where(ended, other, left / left.norm(dim=1, keepdim=True).clamp_min(1e-30))
        left = _orthogonal(left, basis)
        basis.append(left / left.norm(dim=1, keepdim=True).clamp_min(1e-30))
    q = torch.stack(basis[: len(rows)], dim=1)
    projected = q @ torch.stack(rows, dim=1).transpose(1, 2)
    values, weights = torch.linalg.eigh(symmetric_part(projected))
    vectors = (weights.transpose(1, 2) @ q).reshape(len(start), len(rows), *start.shape[1:])
    return values, vectors


def _spare(generator: torch.Generator) -> torch.Generator:
    return like(generator, torch.Generator().manual_seed(0))


def _orthogonal(v: Tensor, basis: list[Tensor]) -> Tensor:
    """What is left of ``v`` (N, d) beside the orthonormal ``basis``; twice, since once leaves rounding errors."""
    for _ in range(2):
        for q in basis:
            v = v - (v * q).sum(dim=1, keepdim=True) * q
    return v


def _length(v: Tensor) -> Tensor:
    """``|v|`` (N,). A vanishing v has no direction to differentiate its length along; the floor keeps the gradient zero instead of NaN."""
    return v.flatten(1).square().sum(dim=1).clamp_min(1e-24).sqrt()


def _norm(v: Tensor, like: Tensor) -> Tensor:
    length: Tensor = v.flatten(1).square().sum(dim=1).sqrt()
    return length.reshape((-1,) + (1,) * (like.ndim - 1))


def _unit(v: Tensor, fallback: Tensor) -> Tensor:
    length = _norm(v, v)
    return torch.where(length > 1e-12, v / length.clamp_min(1e-12), fallback)
