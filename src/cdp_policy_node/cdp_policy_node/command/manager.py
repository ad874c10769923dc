"""What ros2_control's controller manager says about the commanded controller (controller_manager 4.46.0, the jazzy release).

A controller subscribes when it is configured, and drops what it gets until it is active: the ROS graph alone does not tell the two apart.
"""

from __future__ import annotations

import importlib
from typing import Any

from rclpy.node import Node

from cdp_policy_node.command.ask import Question
from cdp_policy_node.command.peer import Peer


class ControllerManager:
    """Asks ``controller_manager/list_controllers`` where there is one; without it, or without controller_manager_msgs, it finds nothing wrong."""

    def __init__(self, node: Node, namespace: str, peer: Peer) -> None:
        self._peer = peer
        self._manager = f"{namespace.rstrip('/')}/controller_manager"
        self._controllers: dict[str, Any] | None = None
        self._question: Question | None = None
        if not peer.controller:
            return
        try:
            self._service = importlib.import_module("controller_manager_msgs.srv").ListControllers
        except ImportError:
            return
        self._question = Question(node, self._service, f"{self._manager}/list_controllers", self._on_answer)

    def prepare(self) -> None:
        """Ask anew, unless an answer is awaited."""
        if self._question is not None and not self._question.ask(self._service.Request()):
            self._controllers = None

    def problem(self) -> str | None:
        """What is wrong with the controller, by the manager's newest answer."""
        if self._controllers is None:
            return None
        name, start = self._peer.controller, self._peer.start
        found = self._controllers.get(name)
        if found is None:
            return f"{self._manager} has no controller {name!r}, it has {', '.join(sorted(self._controllers)) or 'none'}; {start}"
        if self._peer.plugin and found.type != self._peer.plugin:
            return f"{name} is a {found.type}, not a {self._peer.plugin}; set controller_name to one that is, or {start}"
        if found.state == "inactive":
            return f"{name} is inactive and drops every command; activate it: ros2 control switch_controllers --activate {name}"
        return None if found.state == "active" else f"{name} is {found.state}; {start}"

    def _on_answer(self, response: Any) -> None:
        self._controllers = {controller.name: controller for controller in response.controller}
