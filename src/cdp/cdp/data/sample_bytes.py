"""One sample as bytes, and back: what stands between the recorder's queue and its journal."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cdp.data.images import ImageArray, ImageError, decode_compressed, encode_jpeg
from cdp.data.streams import JPEG, StreamSpec

_SIZE = struct.Struct("<II")
_JPEG_START = b"\xff\xd8"


@dataclass
class Repeats:
    """Pictures equal to the one before: all of them, those in a row just now, and the most in a row."""

    count: int = 0
    run: int = 0
    longest_run: int = 0
    _last: int | None = None

    def see(self, picture: Any) -> None:
        """A picture has come, as bytes."""
        check = zlib.crc32(picture)
        self.run = self.run + 1 if check == self._last else 0
        self.count += self.run > 0
        self.longest_run = max(self.longest_run, self.run)
        self._last = check


class SampleBytes:
    """Packs the samples of one stream, or unpacks them; an episode's images are of one size, and its rows of one width, which the first decides."""

    def __init__(self, spec: StreamSpec, jpeg_quality: int = 95) -> None:
        self._spec, self._quality = spec, jpeg_quality
        self._shapes = {name: column.shape for name, column in spec.columns.items()}
        self.size: tuple[int, int] | None = None
        self.repeats = Repeats()

    def pack(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """Pieces of bytes of one sample: ``values`` has the columns, or of an image ``data`` (H, W, 3) uint8 RGB, or ``compressed`` and ``format``.

        Raises ValueError, or KeyError for a column that is not there, for a sample that is no such thing, or unlike the first.
        """
        if self._spec.is_image:
            return self._pack_image(values)
        pieces = []
        for name, column in self._spec.columns.items():
            value = column.convert(values[name])
            if value.ndim and value.shape != self._shapes[name]:
                if min(self._shapes[name]) >= 0:
                    raise ValueError(f"{name} has shape {value.shape}; the episode began with {self._shapes[name]}")
                self._shapes[name] = value.shape
            pieces.append(value.tobytes())
        return tuple(pieces)

    def unpack(self, payload: memoryview) -> dict[str, Any]:
        """Columns of one sample; of an image ``data``: its JPEG bytes (N,), or its pixels (H, W, 3)."""
        if self._spec.is_image:
            return {"data": self._unpack_image(payload)}
        values, start = {}, 0
        for name, column in self._spec.columns.items():
            dtype = np.dtype(column.dtype)
            if not column.shape or min(column.shape) >= 0:
                count = int(np.prod(column.shape, dtype=int))
                values[name] = np.frombuffer(payload, dtype, count, start).reshape(column.shape)
                start += count * dtype.itemsize
            else:
                values[name] = np.frombuffer(payload, dtype, -1, start)
        return values

    def _pack_image(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        rgb, stored = self._pixels(values)
        size = (int(rgb.shape[0]), int(rgb.shape[1]))
        if self.size is not None and size != self.size:
            raise ImageError(f"the image is {size[1]}x{size[0]}; the episode began with {self.size[1]}x{self.size[0]}")
        if stored is None:
            stored = encode_jpeg(rgb, self._quality) if self._spec.encoding == JPEG else np.ascontiguousarray(rgb).reshape(-1)
        self.size = size
        self.repeats.see(stored)
        return _SIZE.pack(*size), stored

    def _pixels(self, values: Mapping[str, Any]) -> tuple[ImageArray, Any]:
        """The picture, and the bytes to store where those are known already."""
        if "data" in values:
            rgb = values["data"]
            if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
                raise ImageError(f"an image is (H, W, 3) uint8, not {rgb.shape} {rgb.dtype}")
            return rgb, None
        # A picture that came as JPEG is stored as it came: a second compression would only blur it.
        as_came = np.frombuffer(values["compressed"], dtype=np.uint8)
        keep = self._spec.encoding == JPEG and as_came[:2].tobytes() == _JPEG_START
        return decode_compressed(values["compressed"], values["format"]), as_came if keep else None

    def _unpack_image(self, payload: memoryview) -> ImageArray:
        self.size = _SIZE.unpack_from(payload)
        stored = np.frombuffer(payload, np.uint8, -1, _SIZE.size)
        return stored if self._spec.encoding == JPEG else stored.reshape(*self.size, 3)
