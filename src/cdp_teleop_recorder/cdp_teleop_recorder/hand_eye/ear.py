"""Camera and joint states as they come, for as long as a command needs them."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import rclpy
from cdp_ros.stamps import stamp_to_ns
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState

from cdp.camera.features import Picture
from cdp.config import ConfigError
from cdp.data.images import decode_compressed, decode_raw
from cdp.geometry import FloatArray
from cdp.handeye.capture import Stillness
from cdp.handeye.errors import HandEyeError
from cdp.handeye.lens import Lens
from cdp_teleop_recorder.hear import COMPRESSED
from cdp_teleop_recorder.recorder_messages import UnfitMessageError, joint_columns
from cdp_teleop_recorder.recorder_parameters import JOINT_NAMES

# A picture waits for the joint states that come after it.
_PICTURES_KEPT = 10
# OpenCV's coefficients, by ROS's names; an empty name is what a driver without calibration sends.
_MODELS = ("plumb_bob", "rational_polynomial", "")


@dataclass(frozen=True)
class Rest:
    """A picture (H, W, 3) RGB from while the arm stood still at ``joint_rad`` (7,)."""

    stamp_ns: int
    frame: str
    picture: Picture
    joint_rad: FloatArray


class Ear:
    """Listens on a node of its own from ``__enter__`` to ``__exit__``."""

    def __init__(self, image_topic: str, joint_topic: str, still_s: float) -> None:
        """``camera_info`` is heard beside the image's topic."""
        self._image_topic, self._joint_topic = image_topic, joint_topic
        self._still = Stillness(still_s)
        self._pictures: deque[Any] = deque(maxlen=_PICTURES_KEPT)
        self._info: Any = None
        self._pictures_heard = self._joints_heard = 0

    def __enter__(self) -> Ear:
        self._context = rclpy.Context()
        rclpy.init(context=self._context, args=[])
        self._node = rclpy.create_node("cdp_hand_eye", context=self._context)
        kind = CompressedImage if self._image_topic.endswith(COMPRESSED) else Image
        info_topic = f"{self._image_topic.removesuffix(COMPRESSED).rpartition('/')[0]}/camera_info"
        for message, topic, heard in (
            (kind, self._image_topic, self._hear_picture),
            (CameraInfo, info_topic, self._hear_info),
            (JointState, self._joint_topic, self._hear_joints),
        ):
            self._node.create_subscription(message, topic, heard, qos_profile_sensor_data)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def listen(self, seconds: float) -> None:
        """Take in what comes."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def at_rest(self) -> Rest | None:
        """The newest picture from while the arm stood still, once; None where there is none. Raises :class:`cdp.data.images.ImageError`."""
        for message in reversed(self._pictures):
            stamp_ns = stamp_to_ns(message.header.stamp)
            joints = self._still.at(stamp_ns)
            if joints is not None:
                self._pictures.clear()
                return Rest(stamp_ns, message.header.frame_id, _decoded(message), joints)
        return None

    def lens(self) -> Lens | None:
        """The lens by camera_info; None where none came or the driver has no calibration. Raises :class:`HandEyeError`."""
        return None if self._info is None else lens_of(self._info)

    def missing(self) -> str:
        """What has not come so far, with what to do; empty where pictures and joints come."""
        if not self._pictures_heard:
            return f"no picture comes on {self._image_topic}: start the camera, bringup.launch.py camera:=realsense for one"
        if not self._joints_heard:
            return f"no joint states of {JOINT_NAMES[0]} to 7 come on {self._joint_topic}: start the arm, bringup.launch.py for one"
        return ""

    def _hear_picture(self, message: Any) -> None:
        self._pictures_heard += 1
        self._pictures.append(message)

    def _hear_info(self, message: CameraInfo) -> None:
        self._info = message

    def _hear_joints(self, message: JointState) -> None:
        try:
            joints = joint_columns(message, JOINT_NAMES)[0]["data"]
        except UnfitMessageError:
            return  # another node's joints, the fingers' for one, on the same topic
        self._joints_heard += 1
        self._still.see(stamp_to_ns(message.header.stamp), joints)


def lens_of(info: CameraInfo) -> Lens | None:
    """The lens of a camera_info, None where its focal length is 0: not calibrated. Raises :class:`HandEyeError` for a model that OpenCV has not."""
    if not info.k[0] > 0.0:
        return None
    distortion = tuple(float(v) for v in info.d)
    if not any(distortion):
        distortion = ()
    elif info.distortion_model not in _MODELS:
        raise HandEyeError(f"camera_info has the distortion model {info.distortion_model!r}: only plumb_bob and rational_polynomial are understood")
    try:
        return Lens(info.width, info.height, float(info.k[0]), float(info.k[4]), float(info.k[2]), float(info.k[5]), distortion)
    except ConfigError as error:
        raise HandEyeError(f"camera_info: {error}") from None


def _decoded(message: Any) -> Picture:
    if isinstance(message, CompressedImage):
        return decode_compressed(message.data, message.format)
    return np.array(decode_raw(message.data, message.height, message.width, message.step, message.encoding))
