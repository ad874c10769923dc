"""Image messages as arrays: raw pixels by their encoding's name, and compressed pictures. Always (H, W, 3) uint8, RGB.

What ROS calls an image is bytes, a size, a row length and an encoding; that much is plain data, so the recorder and the policy share it here.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

ImageArray: TypeAlias = NDArray[np.uint8]
ByteData: TypeAlias = "bytes | bytearray | memoryview | array[int] | ImageArray"

_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
_TO_RGB: dict[str, Callable[[ImageArray], ImageArray]] = {
    "rgb8": lambda pixels: pixels,
    "bgr8": lambda pixels: pixels[..., ::-1],
    "rgba8": lambda pixels: pixels[..., :3],
    "bgra8": lambda pixels: pixels[..., 2::-1],
    "mono8": lambda pixels: np.repeat(pixels, 3, axis=-1),
}
RAW_ENCODINGS = tuple(_CHANNELS)
COMPRESSIONS = ("jpeg", "png")
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


class ImageError(ValueError):
    """Image data that is refused; the message names the encoding or the size that does not fit."""


def decode_raw(data: ByteData, height: int, width: int, step: int, encoding: str) -> ImageArray:
    """RGB image (H, W, 3) uint8 of raw pixels: ``height`` rows of ``step`` bytes each, of which ``width`` pixels in ``encoding`` are used.

    The result of ``rgb8`` is a read-only view of ``data``, without a copy. Raises :class:`ImageError` for an encoding outside
    ``RAW_ENCODINGS`` and for sizes that do not fit one another.
    """
    channels = _CHANNELS.get(encoding)
    if channels is None:
        raise ImageError(f"image encoding {encoding!r} is not supported; use one of {', '.join(RAW_ENCODINGS)}")
    if height <= 0 or width <= 0 or step < width * channels:
        raise ImageError(f"an {encoding} image of {width}x{height} pixels cannot have rows of {step} bytes")
    buffer = np.frombuffer(data, dtype=np.uint8)
    if buffer.size != height * step:
        raise ImageError(f"an {encoding} image of {height} rows of {step} bytes has {height * step} bytes, not {buffer.size}")
    pixels = buffer.reshape(height, step)[:, : width * channels].reshape(height, width, channels)
    rgb = _TO_RGB[encoding](pixels)
    rgb.flags.writeable = False
    return rgb


def decode_compressed(data: ByteData, format: str) -> ImageArray:
    """RGB image (H, W, 3) uint8 of a JPEG or PNG; ``format`` as in sensor_msgs/CompressedImage, e.g. ``jpeg`` or ``rgb8; jpeg compressed bgr8``.

    Raises :class:`ImageError` for another format, for a source encoding outside ``RAW_ENCODINGS`` (a depth image is no picture) and for
    damaged data, including a picture that ends early, which the decoder alone would fill with grey.
    """
    source, _, rest = format.partition(";")
    kind = (rest or source).strip().lower().replace("jpg", "jpeg")
    compression = next((c for c in COMPRESSIONS if kind.split(" ")[0] == c), None)
    if compression is None or (rest and source.strip() not in RAW_ENCODINGS):
        raise ImageError(f"compressed image format {format!r} is not supported; use {' or '.join(COMPRESSIONS)} of {', '.join(RAW_ENCODINGS)}")
    buffer = np.frombuffer(data, dtype=np.uint8)
    start, end = (_JPEG_START, _JPEG_END) if compression == "jpeg" else (_PNG_START, _PNG_END)
    body = buffer.tobytes().rstrip(b"\0")
    if not body.startswith(start) or not body.endswith(end):
        raise ImageError(f"the {compression} image of {buffer.size} bytes is damaged or ends early")
    bgr = cv2.imdecode(buffer, cv2.IMREAD_COLOR)
    if bgr is None:
        raise ImageError(f"the {compression} image of {buffer.size} bytes cannot be decoded")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def encode_jpeg(rgb: ImageArray, quality: int = 95) -> NDArray[np.uint8]:
    """JPEG bytes (N,) uint8 of an RGB image (H, W, 3) uint8. Raises :class:`ImageError` for another shape or dtype, or a quality outside [1, 100]."""
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ImageError(f"an image to encode is (H, W, 3) uint8, not {rgb.shape} {rgb.dtype}")
    if not 1 <= quality <= 100:
        raise ImageError(f"JPEG quality {quality} is outside [1, 100]")
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ImageError(f"an image of {rgb.shape[1]}x{rgb.shape[0]} pixels cannot be encoded as JPEG")
    return np.asarray(encoded, dtype=np.uint8).reshape(-1)
