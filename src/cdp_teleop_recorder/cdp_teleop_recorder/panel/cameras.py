"""Pictures of the cameras at a low rate, and only while somebody looks.

The node has an executor that is asked a few times a second, with queues of one message: what is taken is the newest picture, and those in between
never leave DDS. Best effort, so that no camera and no recorder ever waits for a page.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from cdp.data.images import ImageError, decode_compressed, decode_raw
from cdp_teleop_recorder.panel.episode_rows import small_jpeg
from cdp_teleop_recorder.recorder_sources import image_type

# A page renews its wish several times a second; a browser that went away needs nobody to say so.
LOOKING_S = 3.0


@dataclass(frozen=True)
class Camera:
    """One camera as the page names it."""

    name: str
    topic: str
    transport: str


@dataclass(frozen=True)
class Picture:
    """The newest picture of a camera: ``jpeg`` arrived at ``at_s`` by the monotonic clock; ``problem`` says why there is none, or no newer one."""

    number: int = 0
    at_s: float = 0.0
    jpeg: bytes = b""
    problem: str = ""


class Cameras:
    """Takes pictures in a thread of its own from :meth:`start` until :meth:`close`, while :meth:`look` is called again and again."""

    def __init__(self, cameras: list[Camera], rate_hz: float, width: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.cameras = cameras
        self._period_s, self._width, self._clock = 1.0 / rate_hz, width, clock
        self._pictures = [Picture() for _ in cameras]
        self._looked_s = float("-inf")
        self._began_s = 0.0
        # A launch file names all nodes of a process alike: the name alone is taken back.
        name = "cdp_panel_cameras"
        self._node: Node = rclpy.create_node(name, cli_args=["--ros-args", "-r", f"__node:={name}"], start_parameter_services=False)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._subscriptions: list[Any] = []
        self._ended, self._wanted = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin, with nobody looking."""
        self._thread.start()

    def close(self) -> None:
        """End the thread, then the node."""
        self._ended.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join()
        self._executor.shutdown()
        self._node.destroy_node()

    def look(self) -> None:
        """Somebody looks; holds for :data:`LOOKING_S`."""
        self._looked_s = self._clock()
        self._wanted.set()

    def picture(self, index: int) -> Picture:
        """The newest picture of a camera."""
        return self._pictures[index]

    def age_s(self, index: int) -> float | None:
        """How old that picture is [s], None before the first."""
        picture = self._pictures[index]
        return self._clock() - picture.at_s if picture.jpeg else None

    def lack(self, index: int) -> str:
        """Why there is no picture, or no newer one."""
        camera, picture = self.cameras[index], self._pictures[index]
        if picture.problem:
            return picture.problem
        if not self._node.count_publishers(camera.topic):
            return f"nobody publishes {camera.topic}"
        if not picture.jpeg and self._clock() - self._began_s > LOOKING_S:
            return f"{camera.topic} has a publisher, but no picture comes: is it {camera.transport}?"
        return f"waiting for {camera.topic}"

    def _run(self) -> None:
        while not self._ended.is_set():
            if self._clock() - self._looked_s > LOOKING_S:
                self._unsubscribe()
                self._wanted.clear()
                self._wanted.wait()
                continue
            if not self._subscriptions:
                self._subscribe()
            for _ in self.cameras:
                self._executor.spin_once(timeout_sec=0)
            self._ended.wait(self._period_s)
        self._unsubscribe()

    def _subscribe(self) -> None:
        self._began_s = self._clock()
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        for index, camera in enumerate(self.cameras):
            take = self._taker(index)
            self._subscriptions.append(self._node.create_subscription(image_type(camera.transport), camera.topic, take, qos))

    def _unsubscribe(self) -> None:
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())
        # What was seen before is no live view for who comes next.
        self._pictures = [Picture(number=picture.number) for picture in self._pictures]

    def _taker(self, index: int) -> Callable[[Image | CompressedImage], None]:
        def take(message: Image | CompressedImage) -> None:
            before = self._pictures[index]
            try:
                jpeg = small_jpeg(_pixels(message), self._width)
            except ImageError as error:
                self._pictures[index] = replace(before, problem=str(error))
                return
            self._pictures[index] = Picture(before.number + 1, self._clock(), jpeg)

        return take


def _pixels(message: Image | CompressedImage) -> Any:
    if isinstance(message, CompressedImage):
        return decode_compressed(message.data, message.format)
    return decode_raw(message.data, message.height, message.width, message.step, message.encoding)
