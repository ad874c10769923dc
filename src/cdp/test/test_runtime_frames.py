"""Frames looked at one by one: the same condition as by the whole network, each frame once, and never where it would not be the same."""

import numpy as np
import openvino
import pytest
from openvino import opset13

from cdp.bundle import Bundle
from cdp.runtime import PolicyRuntime, RuntimeConfig
from cdp.runtime.frames import FrameEncoder
from cdp.runtime.networks import of_pixels
from cdp.runtime.openvino_core import openvino_core
from cdp.runtime.openvino_networks import Request, open_encoder

SHAPES = {"image": (1, 2, 3, 8, 6), "lowdim": (1, 2, 5)}


def compiled(model):
    return openvino_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def encoder(between, *, frames=2):
    """Graph of an encoder: the frames as a batch, ``between``, and all side by side with the state."""
    image, lowdim = (opset13.parameter(shape, np.float32, name=name) for name, shape in SHAPES.items())
    for parameter in (image, lowdim):
        parameter.output(0).set_names({parameter.get_friendly_name()})
    seen = between(opset13.reshape(image, opset13.constant(np.array([frames, 3, 8, 6])), False))
    width = int(np.prod(seen.get_output_shape(0)))
    side_by_side = opset13.reshape(seen, opset13.constant(np.array([1, width])), False)
    state = opset13.reshape(lowdim, opset13.constant(np.array([1, 10])), False)
    return openvino.Model([opset13.result(opset13.concat([side_by_side, state], 1))], [image, lowdim], "encoder")


def of_each_frame(frames):
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    return opset13.relu(opset13.convolution(frames, opset13.constant(weights), [1, 1], [0, 0], [0, 0], [1, 1]))


def of_both_frames(frames):
    """As a normalisation over the batch would do it."""
    return opset13.subtract(frames, opset13.reduce_mean(frames, opset13.constant(np.array([0])), True))


def of_the_brightest_pixel(frames):
    """As an exposure for all frames of a window, in steps of a factor, would do it: the same for frames that are alike in brightness."""
    brightest = opset13.reduce_max(frames, opset13.constant(np.arange(4)), True)
    return opset13.divide(frames, opset13.ceiling(opset13.multiply(brightest, opset13.constant(np.float32(2.0)))))


def draw(seed):
    rng = np.random.default_rng(seed)
    return {"image": rng.integers(0, 256, (1, 2, 8, 6, 3), dtype=np.uint8), "lowdim": rng.random(SHAPES["lowdim"], dtype=np.float32)}


def test_frame_by_frame_is_the_whole_network():
    model = encoder(of_each_frame)
    whole, split = of_pixels(Request(compiled(model.clone()), SHAPES)), open_encoder(model, SHAPES, compiled, 1e-4)
    assert isinstance(split, FrameEncoder)
    for seed in range(5):
        np.testing.assert_allclose(split(draw(seed)), whole(draw(seed)), atol=1e-5)


@pytest.mark.parametrize("between", [of_both_frames, of_the_brightest_pixel])
def test_a_network_whose_frames_depend_on_each_other_stays_whole(between):
    model = encoder(between)
    whole, kept = of_pixels(Request(compiled(model.clone()), SHAPES)), open_encoder(model, SHAPES, compiled, 1e-4)
    assert not isinstance(kept, FrameEncoder)
    np.testing.assert_array_equal(kept(draw(1)), whole(draw(1)))


def test_a_graph_without_the_place_to_cut_stays_whole():
    model = encoder(lambda frames: opset13.reshape(frames, opset13.constant(np.array([1, 6, 8, 6])), False))
    assert not isinstance(open_encoder(model, SHAPES, compiled, 1e-4), FrameEncoder)


@pytest.fixture
def counted():
    calls = []

    def see(frame):
        calls.append(float(frame[0, 0, 0, 0, 0]))
        return 2.0 * frame[:, 0].astype(np.float32).ravel()[None]

    return FrameEncoder(2, see, lambda features, lowdim: np.concatenate([*features, lowdim.reshape(1, -1)], axis=1)), calls


def frames(*values):
    return np.stack([np.full((2, 2, 3), value, dtype=np.uint8) for value in values])[None]


def test_each_frame_is_seen_once_while_it_is_in_the_window(counted):
    encode, calls = counted
    state = np.zeros((1, 2, 1), dtype=np.float32)
    first = encode({"image": frames(1, 1), "lowdim": state})
    np.testing.assert_array_equal(first, [[2.0] * 24 + [0.0] * 2])
    encode({"image": frames(1, 2), "lowdim": state})
    encode.look(frames(3))
    np.testing.assert_array_equal(encode({"image": frames(2, 3), "lowdim": state + 5}), [[4.0] * 12 + [6.0] * 12 + [5.0] * 2])
    assert calls == [1, 2, 3]
    encode({"image": frames(4, 5), "lowdim": state})
    encode({"image": frames(1, 2), "lowdim": state})
    assert calls == [1, 2, 3, 4, 5, 1, 2]


def test_a_frame_that_is_written_over_is_another_frame(counted):
    encode, calls = counted
    image, state = frames(1, 2), np.zeros((1, 2, 1), dtype=np.float32)
    encode({"image": image, "lowdim": state})
    image[:, 1] = 7
    np.testing.assert_array_equal(encode({"image": image, "lowdim": state}), [[2.0] * 12 + [14.0] * 12 + [0.0] * 2])
    assert calls == [1, 2, 7]


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_looking_ahead_changes_no_chunk(tiny_bundle, backend):
    bundle = Bundle.open(tiny_bundle)
    spec = bundle.policy.observation
    rng = np.random.default_rng(3)
    shown = rng.integers(0, 256, (6, spec.image_size, spec.image_size, 3), dtype=np.uint8)

    def chunks(ahead):
        runtime = PolicyRuntime(bundle, RuntimeConfig(backend=backend, seed=1))
        assert isinstance(runtime._encoder, FrameEncoder) == (backend == "openvino")
        found = []
        for index in range(len(shown) - 1):
            if ahead:
                runtime.look(shown[index + 1])
            lowdim = np.full((spec.window, spec.lowdim_width), 0.1 * index, dtype=np.float32)
            found.append(runtime.act({"image": shown[index : index + 2], "lowdim": lowdim}).normalised)
        return np.stack(found)

    np.testing.assert_array_equal(chunks(True), chunks(False))


def test_warming_up_looks_at_the_pictures_it_is_timed_with(tiny_bundle):
    runtime = PolicyRuntime(Bundle.open(tiny_bundle), RuntimeConfig())
    see, looks = runtime._encoder._see, []
    runtime._encoder._see = lambda frame: looks.append(1) or see(frame)
    runtime.warm_up()
    runtime.warm_up()
    assert len(looks) == 6
