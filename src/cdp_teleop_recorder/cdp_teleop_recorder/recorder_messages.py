"""From messages to the columns of an episode's streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from cdp_msgs.msg import ActionChunk, RecorderStatus, TaskState
from cdp_ros.stamps import stamp_to_ns
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import Pose
from sensor_msgs.msg import CompressedImage, Image, JointState

from cdp.actions import EEF_WIDTH
from cdp.data.images import decode_raw
from cdp_franka.frames import pose_frame_problem
from cdp_teleop_recorder.recorder_types import Snapshot, State

_LABELS = {None: RecorderStatus.LABEL_NONE, True: RecorderStatus.LABEL_SUCCESS, False: RecorderStatus.LABEL_FAILURE}


class UnfitMessageError(ValueError):
    """A message that cannot be recorded; the message of the error says why."""


def image_columns(message: Image | CompressedImage) -> dict[str, Any]:
    """``data`` (H, W, 3) uint8 RGB, or ``compressed`` bytes and their ``format``. Raises :class:`cdp.data.images.ImageError` for a raw image."""
    if isinstance(message, CompressedImage):
        return {"compressed": bytes(message.data), "format": message.format}
    return {"data": decode_raw(message.data, message.height, message.width, message.step, message.encoding)}


def joint_columns(message: JointState, names: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Positions and velocities (len(names),) of the joints ``names``; None for velocities that are not sent. Raises :class:`UnfitMessageError`."""
    index = _indices(message, names)
    positions = {"data": np.asarray(message.position)[index]}
    return positions, {"data": np.asarray(message.velocity)[index]} if len(message.velocity) == len(message.name) else None


def gripper_columns(message: JointState, fingers: Sequence[str]) -> dict[str, Any]:
    """Opening (1,) [m], the sum of the fingers. Raises :class:`UnfitMessageError`."""
    return {"data": [float(np.sum(np.asarray(message.position)[_indices(message, fingers)]))]}


def pose_columns(pose: Pose, frame: str, frames: tuple[str, ...]) -> dict[str, Any]:
    """Pose (7,). Raises :class:`UnfitMessageError` for another frame."""
    problem = pose_frame_problem(frame, frames)
    if problem is not None:
        raise UnfitMessageError(problem)
    return {"data": _pose(pose)}


def action_columns(message: ActionChunk, base_frame: str) -> dict[str, Any] | None:
    """First row of a chunk and what it answers; None for a keep-alive. Raises :class:`UnfitMessageError` for another space or frame."""
    if message.horizon == 0:
        return None
    if message.header.frame_id != base_frame:
        raise UnfitMessageError(f"it is in frame {message.header.frame_id!r}, not in {base_frame!r}")
    if message.space != ActionChunk.SPACE_EEF_POSE or message.width != EEF_WIDTH or len(message.actions) != message.horizon * EEF_WIDTH:
        raise UnfitMessageError(f"{len(message.actions)} numbers in space {message.space} are no chunk of end-effector rows of {EEF_WIDTH}")
    return {
        "data": np.asarray(message.actions[:EEF_WIDTH], dtype=np.float32),
        "observation_stamp_ns": stamp_to_ns(message.observation_stamp),
        "source": message.source,
        "deadman": message.deadman,
        "intervention": message.intervention,
    }


def task_columns(message: TaskState) -> dict[str, Any]:
    """Poses (7,) of object and goal, and success."""
    return {"object": _pose(message.object), "goal": _pose(message.goal), "success": message.success}


def status_message(snapshot: Snapshot) -> RecorderStatus:
    """The status to publish; the caller stamps it."""
    return RecorderStatus(
        state=int(snapshot.state),
        message=snapshot.message,
        episodes=snapshot.episodes,
        episode=snapshot.episode,
        duration_s=snapshot.duration_s,
        streams=list(snapshot.streams),
        received=list(snapshot.received),
        dropped=list(snapshot.dropped),
        rate_hz=list(snapshot.rate_hz),
        warnings=list(snapshot.warnings),
        task=snapshot.task,
        operator_name=snapshot.operator,
        label=_LABELS[snapshot.label],
        path=snapshot.path,
        idle_s=snapshot.idle_s,
        queue_fraction=snapshot.queue_fraction,
        writing=snapshot.writing,
    )


def diagnostic_status(snapshot: Snapshot) -> DiagnosticStatus:
    """The recorder in /diagnostics: an error once writing has failed, a warning while a stream is not as it should be."""
    faulty = bool(snapshot.warnings) or any(snapshot.dropped)
    level = DiagnosticStatus.ERROR if snapshot.state is State.FAULT else DiagnosticStatus.WARN if faulty else DiagnosticStatus.OK
    values = {f"dropped/{name}": str(n) for name, n in zip(snapshot.streams, snapshot.dropped, strict=True)}
    values |= {f"rate_hz/{name}": f"{rate:.1f}" for name, rate in zip(snapshot.streams, snapshot.rate_hz, strict=True)}
    values |= {f"lag_s/{name}": f"{lag:.3f}" for name, lag in zip(snapshot.streams, snapshot.lag_s, strict=True)}
    values |= {f"warning/{i}": text for i, text in enumerate(snapshot.warnings)}
    values["queue_fraction"] = f"{snapshot.queue_fraction:.2f}"
    message = "; ".join([snapshot.message, *snapshot.warnings])
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(level=level, name="cdp_recorder", message=message, hardware_id="", values=pairs)


def _indices(message: JointState, names: Sequence[str]) -> list[int]:
    index = {name: i for i, name in enumerate(message.name)}
    missing = [name for name in names if name not in index]
    if missing or len(message.position) != len(message.name):
        raise UnfitMessageError(f"joint states of {', '.join(message.name)} lack {', '.join(missing) or 'positions'}")
    return [index[name] for name in names]


def _pose(pose: Pose) -> list[float]:
    p, q = pose.position, pose.orientation
    return [p.x, p.y, p.z, q.x, q.y, q.z, q.w]
