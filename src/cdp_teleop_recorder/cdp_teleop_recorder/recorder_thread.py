"""A node of its own, in a thread of its own, for the streams.

An executor works off its events in the order of their arrival. Were the streams in the executor of the services, then on a machine that cannot keep
up with them nobody could stop the recorder, nor would it say that it cannot keep up: a stop was seen to wait behind a minute of joint states.
"""

from __future__ import annotations

import threading

import rclpy
from cdp_ros.executor import make_executor
from rclpy.node import Node

_WAKE_S = 0.1


class StreamThread:
    """Runs ``node``, whose subscriptions are the streams, from :meth:`start` until :meth:`close`."""

    def __init__(self, name: str) -> None:
        # A launch file names all nodes of a process alike, and topics are remapped for all: the name alone is taken back.
        self.node: Node = rclpy.create_node(name, cli_args=["--ros-args", "-r", f"__node:={name}"], start_parameter_services=False)
        self._executor = make_executor()
        self._executor.add_node(self.node)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to receive."""
        self._thread.start()

    def catch_up(self, patience_s: float) -> bool:
        """Wait until what has arrived by now is worked off: a request comes after what was sent before it. False where that takes too long."""
        done = threading.Event()
        self._executor.create_task(done.set)
        return done.wait(patience_s)

    def close(self) -> None:
        """End the thread, then the node."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._executor.spin_once(timeout_sec=_WAKE_S)
