"""All steps of a sampler as one graph, so that a chunk costs one call."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdp.runtime.openvino_graph import parameters
from cdp.runtime.openvino_split import CONDITION, STATE, TIME, split_denoiser
from cdp.runtime.sampled import COEFFICIENTS


def sampling_loop(model: Any, steps: int) -> Any:
    """The graph of :class:`cdp.runtime.sampled.SampledDenoiser`'s ``loop``, of a denoiser whose inputs have fixed shapes, a batch of one.

    ``model``: x (1, T, D), t (1,) and cond (1, C) -> (1, T, D); it is left as it is. Gives x (1, T, D), t (N,), cond (1, C) and coefficients (N, 3)
    -> (1, T, D), N = ``steps``. What depends on time and condition alone is computed ahead of the loop for all steps. The loop has its weights once,
    however many the steps. Raises RuntimeError where OpenVINO cannot put the graph together, KeyError for other inputs.
    """
    from openvino import Model, opset13

    parts = split_denoiser(model)
    head, body = (None, model.clone()) if parts is None else parts[:2]
    inputs = parameters(body)
    whole = parameters(model)
    times, condition, coefficients, state = (
        _parameter(name, shape)
        for name, shape in (
            (TIME, [steps]),
            (CONDITION, whole[CONDITION].get_output_shape(0)),
            (COEFFICIENTS, [steps, 3]),
            (STATE, whole[STATE].get_output_shape(0)),
        )
    )
    shape = list(state.get_output_shape(0))
    step, before = opset13.parameter([1, 3], np.float32), opset13.parameter(shape, np.float32)
    r, c, extrapolation = (
        opset13.reshape(each, opset13.constant(np.ones(len(shape), dtype=np.int64)), False)
        for each in opset13.split(step, opset13.constant(1), 3).outputs()
    )
    clean = body.get_results()[0].input_value(0)
    target = opset13.add(clean, opset13.multiply(extrapolation, opset13.subtract(clean, before)))
    after = opset13.result(opset13.add(opset13.multiply(r, inputs[STATE]), opset13.multiply(c, target)))
    seen = opset13.result(clean)

    loop = opset13.tensor_iterator()
    loop.set_body(Model([after, seen], [*inputs.values(), step, before], "step"))
    loop.set_merged_input(inputs[STATE], state.output(0), after.output(0))
    loop.set_merged_input(before, opset13.constant(np.zeros(shape, dtype=np.float32)).output(0), seen.output(0))
    sliced = {step: coefficients.output(0), **({inputs[TIME]: times.output(0)} if TIME in inputs else {})}
    if head is not None:
        sliced |= {inputs[f"head{index}"]: end for index, end in enumerate(_ahead(head, times, condition, steps))}
    for inner, outer in sliced.items():
        loop.set_sliced_input(inner, outer, 0, 1, 1, -1, 0)
    if CONDITION in inputs:
        loop.set_invariant_input(inputs[CONDITION], condition.output(0))
    chunk = opset13.result(loop.get_iter_value(after.output(0), -1))
    return Model([chunk], [state, times, condition, coefficients], "chunk")


def _parameter(name: str, shape: list[int]) -> Any:
    from openvino import opset13

    made = opset13.parameter(list(shape), np.float32, name=name)
    made.output(0).set_names({name})
    return made


def _ahead(head: Any, times: Any, condition: Any, steps: int) -> list[Any]:
    """The outputs of ``head``, N rows each, of ``times`` (N,) and one ``condition`` (1, C)."""
    from openvino import opset13

    inputs, width = parameters(head), condition.get_output_shape(0)[1]
    head.reshape({TIME: [steps], CONDITION: [steps, width]})
    repeated = opset13.broadcast(condition, opset13.constant(np.array([steps, width])))
    for name, source in ((TIME, times), (CONDITION, repeated)):
        for consumer in list(inputs[name].output(0).get_target_inputs()):
            consumer.replace_source_output(source.output(0))
    return [each.input_value(0) for each in head.get_results()]
