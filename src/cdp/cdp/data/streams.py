"""What a recorded stream is: its columns, how it is stored, where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from cdp.actions import EEF_WIDTH
from cdp.config import setting

IMAGE_STREAM = "agentview_image"
#: A first extent of a column that the first sample of the episode decides.
BY_FIRST_SAMPLE = -1
JPEG, RAW = "jpeg", "raw"
HEADER_STAMP, RECEIVE_STAMP = "header", "receive"


@dataclass(frozen=True)
class Column:
    """One number array per sample: its shape and how it is stored. The extent ``BY_FIRST_SAMPLE`` is that of the episode's first sample."""

    shape: tuple[int, ...]
    dtype: str

    def convert(self, value: Any) -> np.ndarray[Any, np.dtype[Any]]:
        """``value`` in this shape and type. Raises ValueError where it does not fit."""
        array = np.asarray(value, dtype=self.dtype)
        # A reshape that infers an extent would take any number of values, and none.
        return array.reshape(-1) if self.shape == (BY_FIRST_SAMPLE,) and array.size else array.reshape(self.shape)


@dataclass(frozen=True)
class StreamSpec:
    """A stream: ``columns`` by name, none for images, which are stored as ``encoding``; ``rate_hz`` None where it has no rate.

    ``topic``, ``type`` and ``fields``, one name for each number of a row where they are known beforehand, are for the reader of the file; ``stamped``
    says whether its stamps are the messages' own or the time of their arrival.
    """

    columns: dict[str, Column] = field(default_factory=dict)
    encoding: str = setting(JPEG, choices=(JPEG, RAW), help="how images are stored")
    rate_hz: float | None = None
    topic: str = ""
    type: str = ""
    fields: tuple[str, ...] = ()
    stamped: str = setting(HEADER_STAMP, choices=(HEADER_STAMP, RECEIVE_STAMP), help="where stamps come from")

    @property
    def is_image(self) -> bool:
        """Whether samples are images."""
        return not self.columns


_VECTOR7 = Column((7,), "f8")

#: Columns of the streams that every episode has; an image stream has none.
STREAMS: Mapping[str, Mapping[str, Column]] = MappingProxyType(
    {
        IMAGE_STREAM: {},
        "joint_pos": {"data": _VECTOR7},
        "joint_vel": {"data": _VECTOR7},
        "eef_pose": {"data": _VECTOR7},
        "gripper_width": {"data": Column((1,), "f8")},
        "action": {
            "data": Column((EEF_WIDTH,), "f4"),
            "observation_stamp_ns": Column((), "i8"),
            "source": Column((), "u1"),
            "deadman": Column((), "u1"),
            "intervention": Column((), "u1"),
        },
        "task_state": {"object": _VECTOR7, "goal": _VECTOR7, "success": Column((), "u1")},
    }
)

#: The same as specifications, of unknown topic and rate.
STREAM_SPECS: Mapping[str, StreamSpec] = MappingProxyType({name: StreamSpec(dict(columns)) for name, columns in STREAMS.items()})
