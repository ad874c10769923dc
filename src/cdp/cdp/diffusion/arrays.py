"""The few operations that floats, numpy arrays and torch tensors name differently. Torch is never imported: a tensor brings its methods along."""

from __future__ import annotations

from typing import Any

import numpy as np


def call(name: str, value: Any) -> Any:
    """Elementwise function ``name`` of a tensor (a method) or of a float or array (a numpy function); floats stay floats."""
    method = getattr(value, name, None)
    if method is not None:
        return method()
    result = getattr(np, name)(value)
    return float(result) if isinstance(value, float) else result


def constant_like(t: Any, value: float) -> Any:
    """``value`` for each of the finite times ``t``, of t's kind, shape, dtype and device."""
    return 0.0 * t + value


def times_like(x: Any, t: float) -> Any:
    """The time ``t`` for each of the batch ``x`` (B, ...): (B,), of x's kind, dtype and device."""
    return x.new_full((x.shape[0],), t) if hasattr(x, "new_full") else np.full(x.shape[0], t, dtype=x.dtype)


def array_like(values: Any, x: Any) -> Any:
    """The numpy array ``values`` with x's kind, dtype and device."""
    return x.new_tensor(values) if hasattr(x, "new_tensor") else np.asarray(values, dtype=x.dtype)


def normal_like(x: Any, generator: Any) -> Any:
    """Standard normal noise of x's kind, shape, dtype and device.

    ``generator`` is a ``numpy.random.Generator``, which draws the same numbers for arrays and tensors, or, for tensors, a ``torch.Generator`` of any
    device.
    """
    if isinstance(generator, np.random.Generator):
        return array_like(generator.standard_normal(tuple(x.shape)), x)
    return x.new_empty(x.shape, device=generator.device).normal_(generator=generator).to(x.device)


def softmax(x: Any) -> Any:
    """``exp(x) / sum exp(x)`` over the last axis, without overflow."""
    if hasattr(x, "softmax"):
        return x.softmax(-1)
    weight = np.exp(x - x.max(axis=-1, keepdims=True))
    return weight / weight.sum(axis=-1, keepdims=True)
