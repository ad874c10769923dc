"""A command's own ear for a moment: messages of a camera's topic, on a node that is gone afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image

COMPRESSED = "/compressed"


def hear_images(topic: str, seconds: float, note: Callable[[Any], bool]) -> int:
    """Hand each message of ``topic`` to ``note`` until it returns true or the time is up; how many publish there.

    A topic whose name ends in ``/compressed`` has sensor_msgs/CompressedImage, every other sensor_msgs/Image.
    """
    done = False

    def heard(message: Any) -> None:
        nonlocal done
        done = done or note(message)

    context = rclpy.Context()
    rclpy.init(context=context, args=[])
    try:
        node = rclpy.create_node("cdp_listener", context=context)
        node.create_subscription(CompressedImage if topic.endswith(COMPRESSED) else Image, topic, heard, qos_profile_sensor_data)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        end = time.monotonic() + seconds
        while not done and (left := end - time.monotonic()) > 0:
            executor.spin_once(timeout_sec=left)
        publishers = int(node.count_publishers(topic))
        executor.shutdown()
        node.destroy_node()
        return publishers
    finally:
        rclpy.shutdown(context=context)
