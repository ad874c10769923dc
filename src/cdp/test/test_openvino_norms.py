"""Layer normalisation in pieces becomes one operation with the same values, and nothing else does."""

import numpy as np
import openvino
import pytest
from openvino import opset13

from cdp.runtime.openvino_core import openvino_core
from cdp.runtime.openvino_norms import fuse_norms


def norm(*, epsilon=1e-5, axis=-1, value=None):
    """Graph of (x - mean(value)) / sqrt(mean((x - mean)^2) + epsilon), value x itself unless given."""
    x = opset13.parameter([2, 5, 7], np.float32, name="x")
    axes = opset13.constant(np.array([axis]))
    centred = opset13.subtract(x, opset13.reduce_mean(x if value is None else value(x), axes, True))
    variance = opset13.reduce_mean(opset13.multiply(centred, centred), axes, True)
    root = opset13.sqrt(opset13.add(variance, opset13.constant(np.float32(epsilon))))
    return openvino.Model([opset13.result(opset13.multiply(centred, opset13.divide(opset13.constant(np.float32(1.0)), root)))], [x], "norm")


@pytest.mark.parametrize("axis", [-1, 2])
@pytest.mark.parametrize("epsilon", [1e-5, 0.5])
def test_a_norm_in_pieces_becomes_one_operation_with_the_same_values(axis, epsilon):
    fused = norm(epsilon=epsilon, axis=axis)
    assert fuse_norms(fused) == 1 and "MVN" in {op.get_type_name() for op in fused.get_ops()}
    x = 3.0 + np.random.default_rng(0).standard_normal((2, 5, 7)).astype(np.float32)
    centred = x - x.mean(-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    np.testing.assert_allclose(openvino_core().compile_model(fused, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([x])[0], expected, atol=1e-5)


def test_what_only_looks_like_a_norm_is_left_alone():
    assert fuse_norms(norm(axis=1)) == 0
    assert fuse_norms(norm(value=lambda x: opset13.relu(x))) == 0
