"""Cuts an encoder's graph where the frames of a window come together (:mod:`cdp.runtime.frames`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdp.runtime.frames import IMAGE
from cdp.runtime.openvino_graph import ancestors, needs, parameters, sources

FEATURES = "features"


def split_encoder(model: Any) -> tuple[Any, Any] | None:
    """(see, fuse) of an encoder with inputs of fixed shapes: ``image`` (1, To, 3, H, W), in whose graph the frames are a batch of To.

    ``see``: ``image`` (1, 1, H, W, 3) uint8 -> features (1, ...). ``fuse``: ``features`` (To, ...) and the other inputs -> the encoder's output. None
    where there is one frame, or no such place in the graph. Whether both together compute the same is for the caller to try.
    """
    image = parameters(model)[IMAGE].get_output_shape(0)
    if image[1] < 2:
        return None
    first, second = model.clone(), model.clone()
    joints = _joint(first), _joint(second)
    if None in joints:
        return None
    see = _of_one_frame(first, joints[0], list(image))
    return None if see is None else (see, _of_features(second, joints[1]))


def _joint(model: Any) -> Any | None:
    """The operation that lays the features of the frames side by side: a Reshape of (To, ...) to (1, ...), all that the rest sees of the image."""
    frames = parameters(model)[IMAGE].get_output_shape(0)[1]
    needed = needs(model)
    ends = {
        op.get_name(): op
        for op in model.get_ordered_ops()
        if needed[op.get_name()] == {IMAGE}
        for end in op.outputs()
        for consumer in end.get_target_inputs()
        if needed[consumer.get_node().get_name()] != {IMAGE}
    }
    if len(ends) != 1:
        return None
    (end,) = ends.values()
    if end.get_type_name() != "Reshape" or end.get_input_shape(0)[0] != frames or end.get_output_shape(0)[0] != 1:
        return None
    return end


def _of_one_frame(model: Any, joint: Any, image: list[int]) -> Any | None:
    from openvino import Model, opset13

    features = joint.input_value(0)
    frames = image[1]
    parameter = parameters(model)[IMAGE]
    # The exporter writes the batch of frames into the shapes that it reshapes to.
    for op in ancestors([features.get_node()]):
        if op.get_type_name() == "Reshape" and op.get_output_shape(0)[0] == frames:
            target = sources(op)[1]
            if target.get_type_name() == "Constant":
                shape = np.array(target.data, dtype=np.int64)
                if shape[0] == frames:
                    shape[0] = 1
                    op.input(1).replace_source_output(opset13.constant(shape).output(0))
    channels, height, width = image[2:]
    # The networks' layout has the channels last too: as pixels a frame needs no copy in another order.
    pixels = opset13.parameter([image[0], 1, height, width, channels], np.uint8, name=IMAGE)
    pixels.output(0).set_names({IMAGE})
    unit = opset13.divide(opset13.convert(pixels, "f32"), opset13.constant(np.float32(255.0)))
    seen = opset13.transpose(unit, opset13.constant(np.array([0, 1, 4, 2, 3])))
    for consumer in list(parameter.output(0).get_target_inputs()):
        consumer.replace_source_output(seen.output(0))
    try:
        made = Model([opset13.result(features)], [pixels], "see")
        made.validate_nodes_and_infer_types()
    except RuntimeError:
        return None
    return made if made.outputs[0].get_partial_shape().is_static and made.outputs[0].get_shape()[0] == 1 else None


def _of_features(model: Any, joint: Any) -> Any:
    from openvino import Model, opset13

    features = opset13.parameter(joint.get_input_shape(0), np.float32, name=FEATURES)
    features.output(0).set_names({FEATURES})
    joint.input(0).replace_source_output(features.output(0))
    others = [each for name, each in parameters(model).items() if name != IMAGE]
    return Model(model.get_results(), [features, *others], "fuse")
