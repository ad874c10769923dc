"""The policy's side of the messages: sensor messages to arrays, answers to action chunks."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from cdp_msgs.msg import ActionChunk, PolicyStatus
from cdp_ros.stamps import ns_to_stamp
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, JointState

from cdp.actions import EEF_WIDTH
from cdp.data.images import ImageArray, decode_compressed, decode_raw
from cdp.data.spec import NS_PER_S
from cdp.runtime.session import Answer, State

STATUS_OF_STATE = {
    State.STOPPED: PolicyStatus.STATE_READY,
    State.WAITING: PolicyStatus.STATE_WAITING,
    State.RUNNING: PolicyStatus.STATE_RUNNING,
    State.FAULT: PolicyStatus.STATE_FAULT,
}


def image_of(message: Any) -> ImageArray:
    """RGB image (H, W, 3) uint8 of an Image or a CompressedImage. Raises :class:`cdp.data.images.ImageError`."""
    if isinstance(message, CompressedImage):
        return decode_compressed(message.data, message.format)
    return decode_raw(message.data, message.height, message.width, message.step, message.encoding)


def positions_of(message: JointState, names: Sequence[str]) -> NDArray[np.float64] | None:
    """Positions (len(names),) of the joints ``names``; None where the message lacks one, as other publishers' messages do."""
    index = {name: i for i, name in enumerate(message.name)}
    if len(message.position) != len(message.name) or any(name not in index for name in names):
        return None
    return np.array([message.position[index[name]] for name in names])


def action_chunk(answer: Answer, sequence: int, now_ns: int, frame: str, period_ns: int, next_within_s: float) -> ActionChunk:
    """The message of an answer: its rows start one period after the observation, or later where the first were past; a keep-alive has none."""
    message = ActionChunk(
        source=ActionChunk.SOURCE_POLICY,
        space=ActionChunk.SPACE_EEF_POSE,
        sequence=sequence,
        observation_stamp=ns_to_stamp(answer.observation_stamp_ns),
        start_stamp=ns_to_stamp(answer.observation_stamp_ns + period_ns if answer.chunk is None else answer.chunk.start_ns),
        dt_s=period_ns / NS_PER_S,
        width=EEF_WIDTH,
        next_within_s=next_within_s,
        deadman=True,
    )
    message.header.stamp = ns_to_stamp(now_ns)
    message.header.frame_id = frame
    if answer.chunk is not None:
        rows = answer.chunk.rows
        message.horizon = len(rows)
        message.actions = array("f", rows.astype(np.float32).ravel().tobytes())
    return message
