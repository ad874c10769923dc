"""Questions to a peer that are answered some time later, so that nothing waits for them."""

from __future__ import annotations

from typing import Any

from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python


class ParameterQuestion:
    """The values of parameters of another node; ``answer`` is None until it has said them, a value None where it has no such parameter."""

    def __init__(self, node: Node, peer: str, names: tuple[str, ...]) -> None:
        self._names = names
        self._client = node.create_client(GetParameters, f"{peer}/get_parameters")
        self._pending: Any = None
        self.answer: dict[str, Any] | None = None
        self.waiting = f"asked for its parameters {', '.join(names)}; no answer yet"

    def ask(self) -> None:
        """Ask, unless it is asked or answered already."""
        if self.answer is None and self._pending is None and self._client.service_is_ready():
            self._pending = self._client.call_async(GetParameters.Request(names=list(self._names)))
            self._pending.add_done_callback(self._on_answer)

    def forget(self) -> None:
        """The peer has gone: what it said no longer counts."""
        if self._pending is not None:
            self._client.remove_pending_request(self._pending)
        self.answer = self._pending = None

    def _on_answer(self, future: Any) -> None:
        if future is not self._pending:
            return
        self._pending = None
        if future.result() is not None:
            values = [parameter_value_to_python(value) for value in future.result().values]
            # A node that does not know one of the names answers with no values at all.
            self.answer = dict(zip(self._names, values or [None] * len(self._names), strict=True))
