"""Layer normalisation written in elementary operations, as the networks have it for the sake of their derivatives, put back into one operation."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdp.runtime.openvino_graph import sources


def fuse_norms(model: Any) -> int:
    """Replace ``(x - mean) / sqrt(mean((x - mean)^2) + epsilon)`` over the last axis by OpenVINO's own MVN, in place; how many there were.

    OpenVINO finds half of the pattern by itself and makes three operations of it, each of which costs more to start than to do. Raises RuntimeError
    where a mean is taken of what has no fixed number of axes.
    """
    from openvino import opset13

    found = 0
    for op in model.get_ordered_ops():
        pattern = _norm(op)
        if pattern is not None:
            value, epsilon = pattern
            fused = opset13.mvn(value, opset13.constant(np.array([-1])), True, epsilon, "INSIDE_SQRT")
            for consumer in list(op.output(0).get_target_inputs()):
                consumer.replace_source_output(fused.output(0))
            found += 1
    model.validate_nodes_and_infer_types()
    return found


def _norm(op: Any) -> tuple[Any, float] | None:
    """What is normalised and epsilon, where ``op`` is the end of the pattern."""
    centred, inverse = _pair(op, "Multiply", "Subtract", "Divide")
    root = None if inverse is None else _only(inverse, "Divide", 1.0, "Sqrt")
    shifted = None if root is None else sources(root)[0]
    if centred is None or shifted is None or shifted.get_type_name() != "Add":
        return None
    square, epsilon = _mean(sources(shifted)[0]), _number(sources(shifted)[1])
    value, mean = centred.input_value(0), _mean(sources(centred)[1])
    if square is None or epsilon is None or mean is None or square.get_node().get_type_name() != "Multiply":
        return None
    factors = [each.get_name() for each in sources(square.get_node())]
    same = mean.get_node().get_name() == value.get_node().get_name() and mean.get_index() == value.get_index()
    return (value, epsilon) if same and factors == [centred.get_name()] * 2 else None


def _pair(op: Any, kind: str, first: str, second: str) -> tuple[Any, Any] | tuple[None, None]:
    if op.get_type_name() != kind:
        return None, None
    one, two = sources(op)
    return (one, two) if (one.get_type_name(), two.get_type_name()) == (first, second) else (None, None)


def _only(op: Any, kind: str, number: float, source: str) -> Any | None:
    """The second source of ``op``, an operation ``source``, where the first is the constant ``number``."""
    one, two = sources(op)
    return two if op.get_type_name() == kind and _number(one) == number and two.get_type_name() == source else None


def _mean(op: Any) -> Any | None:
    """Of what ``op`` is the mean over the last axis, which it keeps."""
    if op.get_type_name() != "ReduceMean" or not op.get_attributes()["keep_dims"]:
        return None
    axis = _number(sources(op)[1])
    return op.input_value(0) if axis in (-1, op.input_value(0).get_partial_shape().rank.get_length() - 1) else None


def _number(op: Any) -> float | None:
    return float(np.ravel(op.data)[0]) if op.get_type_name() == "Constant" and np.size(op.data) == 1 else None
