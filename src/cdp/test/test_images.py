from array import array

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.data import images

RNG = np.random.default_rng(0)
ORDER = {"rgb8": [0, 1, 2], "bgr8": [2, 1, 0], "rgba8": [0, 1, 2], "bgra8": [2, 1, 0]}


def raw(rgb, encoding, padding):
    """Row-padded bytes of an RGB image in another encoding, written pixel by pixel as the definition says."""
    height, width, _ = rgb.shape
    channels = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4}[encoding]
    out = np.full((height, width * channels + padding), 77, np.uint8)
    for y in range(height):
        for x in range(width):
            for c, source in enumerate(ORDER[encoding]):
                out[y, x * channels + c] = rgb[y, x, source]
    return out.tobytes(), out.shape[1]


@given(st.sampled_from(sorted(ORDER)), st.integers(1, 5), st.integers(1, 5), st.integers(0, 4))
def test_every_colour_encoding_gives_the_same_rgb_image(encoding, height, width, padding):
    rgb = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    data, step = raw(rgb, encoding, padding)
    np.testing.assert_array_equal(images.decode_raw(data, height, width, step, encoding), rgb)


def test_grey_is_repeated_and_the_arrays_of_ros_messages_are_taken():
    grey = RNG.integers(0, 256, (4, 6), dtype=np.uint8)
    decoded = images.decode_raw(array("B", grey.tobytes()), 4, 6, 6, "mono8")
    np.testing.assert_array_equal(decoded, np.dstack([grey] * 3))
    assert decoded.shape == (4, 6, 3) and decoded.dtype == np.uint8


@pytest.mark.parametrize(
    ("size", "height", "width", "step", "encoding", "named"),
    [
        (24, 2, 4, 12, "16UC1", "16UC1"),
        (24, 2, 4, 11, "rgb8", "rows of 11 bytes"),
        (23, 2, 4, 12, "rgb8", "not 23"),
        (0, 0, 4, 12, "rgb8", "4x0"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(size, height, width, step, encoding, named):
    with pytest.raises(images.ImageError, match=named):
        images.decode_raw(bytes(size), height, width, step, encoding)


def smooth_image():
    y, x = np.mgrid[0:48, 0:64]
    return np.stack([x * 4, y * 5, np.full_like(x, 30)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("format", ["jpeg", "jpg", "rgb8; jpeg compressed bgr8"])
def test_jpeg_keeps_colours_in_their_order(format):
    rgb = smooth_image()
    decoded = images.decode_compressed(images.encode_jpeg(rgb), format)
    assert np.abs(decoded.astype(int) - rgb).mean() < 3


def test_png_is_exact():
    rgb = smooth_image()
    data = cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(images.decode_compressed(data, "png"), rgb)


@pytest.mark.parametrize("format", ["", "16UC1; compressedDepth", "16UC1; png compressed ", "webp", "tiff"])
def test_other_formats_are_refused_by_name(format):
    with pytest.raises(images.ImageError, match="not supported"):
        images.decode_compressed(images.encode_jpeg(smooth_image()), format)


@given(st.floats(0.0, 0.999))
def test_a_picture_that_ends_early_is_refused(fraction):
    data = images.encode_jpeg(smooth_image()).tobytes()
    with pytest.raises(images.ImageError, match="damaged"):
        images.decode_compressed(data[: int(len(data) * fraction)], "jpeg")


def test_only_rgb_bytes_are_encoded():
    with pytest.raises(images.ImageError, match="float64"):
        images.encode_jpeg(np.zeros((4, 4, 3)))
    with pytest.raises(images.ImageError, match="quality 0"):
        images.encode_jpeg(smooth_image(), 0)
