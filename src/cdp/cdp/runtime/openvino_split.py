"""A denoiser as two networks: what depends on time and condition alone, computed for all steps of a chunk at once, and the rest, step by step.

The modulations of a diffusion transformer (arXiv 2212.09748) are matrices times one vector each. Reading their weights is all that costs, half of a
small denoiser's time, and for several steps at once hardly more than for one. The values are those of the whole network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdp.runtime.openvino_graph import ancestors, needs, parameters

STATE, TIME, CONDITION = "x", "t", "cond"


def split_denoiser(model: Any) -> tuple[Any, Any, int] | None:
    """(head, body, K) of a denoiser whose inputs have fixed shapes, a batch of one.

    ``head``: ``t`` (N,) and ``cond`` (N, C) -> K outputs of N rows. ``body``: ``x``, those outputs for one step as inputs ``head0``..., and ``t`` and
    ``cond`` where they are still needed -> the denoiser's output. None where no matrix of the network works on time and condition alone.
    """
    from openvino import Model, opset13

    first, second = model.clone(), model.clone()
    if not _boundary(first):
        return None
    ends = [end for end, _ in _boundary(first)]
    inputs = parameters(first)
    head = Model([opset13.result(end) for end in ends], [inputs[TIME], inputs[CONDITION]], "head")
    condition_width = inputs[CONDITION].get_output_shape(0)[1]
    head.reshape({TIME: [-1], CONDITION: [-1, condition_width]})

    inputs, fed = parameters(second), []
    for index, (end, consumers) in enumerate(_boundary(second)):
        parameter = opset13.parameter(end.get_partial_shape(), np.float32, name=f"head{index}")
        parameter.output(0).set_names({f"head{index}"})
        for consumer in consumers:
            consumer.replace_source_output(parameter.output(0))
        fed.append(parameter)
    reached = {op.get_name() for op in ancestors(second.get_results())}
    left = [inputs[name] for name in (TIME, CONDITION) if inputs[name].get_name() in reached]
    return head, Model(second.get_results(), [inputs[STATE], *left, *fed], "body"), len(ends)


def _boundary(model: Any) -> list[tuple[Any, list[Any]]]:
    """Outputs of the part that depends on time and condition and ends in matrix products, each with the inputs beyond that part that it feeds."""
    ordered, needed = model.get_ordered_ops(), needs(model)

    def settled(op: Any) -> bool:
        return bool(needed[op.get_name()]) and STATE not in needed[op.get_name()]

    part = {op.get_name() for op in ancestors(op for op in ordered if op.get_type_name() == "MatMul" and settled(op))}
    found = []
    for op in ordered:
        if op.get_name() in part and settled(op) and op.get_type_name() != "Parameter":
            for end in op.outputs():
                consumers = [each for each in end.get_target_inputs() if each.get_node().get_name() not in part]
                if consumers:
                    found.append((end, consumers))
    return found


class SplitDenoiser:
    """The network that ``head`` and ``body``, compiled, make together. Not thread-safe.

    :meth:`begin` tells it which times a chunk needs; what it is not told of is computed one by one.
    """

    def __init__(self, head: Any, body: Any, count: int) -> None:
        self._head, self._body = head.create_infer_request(), body.create_infer_request()
        names = {name for port in body.inputs for name in port.get_names()}
        self._tensors = {name: self._body.get_tensor(name).data for name in (STATE, TIME, CONDITION) if name in names}
        self._fed = [self._body.get_tensor(f"head{index}").data for index in range(count)]
        self._output = self._body.get_output_tensor().data
        self._condition: NDArray[np.float32] | None = None
        self._rows: dict[float, list[NDArray[np.float32]]] = {}
        self._times: list[float] = []

    def begin(self, times: Sequence[float]) -> None:
        """Tell the times of the next chunk. Forgets what was computed, since rows computed together and alone may differ in rounding."""
        self._times = list(dict.fromkeys(float(np.float32(time)) for time in times))
        self._condition = None

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Output (1, T, D) for ``x`` (1, T, D), ``t`` (1,) and ``cond`` (1, C). Raises ValueError for another shape."""
        for name, tensor in self._tensors.items():
            if inputs[name].shape != tensor.shape:
                raise ValueError(f"{name}: shape {inputs[name].shape}, not {tensor.shape}")
            tensor[...] = inputs[name]
        for tensor, row in zip(self._fed, self._rows_of(float(inputs[TIME][0]), inputs[CONDITION]), strict=True):
            tensor[...] = row
        self._body.infer(share_outputs=True)
        return np.array(self._output, dtype=np.float32)

    def _rows_of(self, time: float, condition: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        if self._condition is None or not np.array_equal(condition, self._condition):
            self._condition, self._rows = condition.copy(), {}
            self._compute(self._times if time in self._times else [time])
        elif time not in self._rows:
            self._compute([time])
        return self._rows[time]

    def _compute(self, times: list[float]) -> None:
        assert self._condition is not None
        repeated = np.repeat(self._condition, len(times), axis=0)
        self._head.infer({TIME: np.array(times, dtype=np.float32), CONDITION: repeated}, share_inputs=True, share_outputs=True)
        ends = [np.array(self._head.get_output_tensor(index).data) for index in range(len(self._fed))]
        for row, time in enumerate(times):
            self._rows[time] = [end[row : row + 1] for end in ends]
