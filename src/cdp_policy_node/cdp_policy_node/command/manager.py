"""What ros2_control's controller manager says about the commanded controller (controller_manager 4.46.0, the jazzy release).

A controller subscribes when it is configured, and drops what it gets until it is active: the ROS graph alone does not tell the two apart.
"""

from __future__ import annotations

import importlib
from typing import Any

from rclpy.node import Node

from cdp_policy_node.command.peer import Peer


class ControllerManager:
    """Asks ``controller_manager/list_controllers`` where there is one; without it, or without controller_manager_msgs, it finds nothing wrong."""

    def __init__(self, node: Node, namespace: str, peer: Peer) -> None:
        self._peer = peer
        self._manager = f"{namespace.rstrip('/')}/controller_manager"
        self._pending: Any = None
        self._controllers: dict[str, Any] | None = None
        self._client: Any = None
        try:
            service = importlib.import_module("controller_manager_msgs.srv").ListControllers
        except ImportError:
            return
        self._service = service
        self._client = node.create_client(service, f"{self._manager}/list_controllers")

    def prepare(self) -> None:
        """Ask anew, unless an answer is awaited."""
        if self._client is None or not self._peer.controller:
            return
        if not self._client.service_is_ready():
            self._controllers = self._pending = None
        elif self._pending is None:
            self._pending = self._client.call_async(self._service.Request())
            self._pending.add_done_callback(self._on_answer)

    def problem(self) -> str | None:
        """What is wrong with the controller, by the manager's newest answer."""
        if self._controllers is None:
            return None
        name = self._peer.controller
        found = self._controllers.get(name)
        if found is None:
            loaded = ", ".join(sorted(self._controllers)) or "none"
            return f"{self._manager} has no controller {name!r} (it has {loaded}); {self._peer.start}"
        if self._peer.plugin and found.type != self._peer.plugin:
            return f"{name} is a {found.type}, not a {self._peer.plugin}; set controller_name to one that is, or {self._peer.start}"
        if found.state != "active":
            return f"{name} is {found.state}, and drops every command; {activate(name) if found.state == 'inactive' else self._peer.start}"
        return None

    def _on_answer(self, future: Any) -> None:
        if future is self._pending:
            self._pending = None
            if future.result() is not None:
                self._controllers = {controller.name: controller for controller in future.result().controller}


def activate(controller: str) -> str:
    """How to activate a configured controller."""
    return f"activate it: ros2 control switch_controllers --activate {controller}"
