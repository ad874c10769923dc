"""Questions to a peer that are answered some time later, so that nothing waits for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python

# The answer to a call may be lost with the peer that was to give it: asked this often without one, the call is made anew.
_PATIENCE = 5


class Question:
    """One call of a service at a time; ``on_answer`` gets the response."""

    def __init__(self, node: Node, service: Any, name: str, on_answer: Callable[[Any], None]) -> None:
        self._client = node.create_client(service, name)
        self._on_answer = on_answer
        self._pending: Any = None
        self._tries = 0

    def ask(self, request: Any) -> bool:
        """Call, unless an answer is awaited. Returns whether the service is there."""
        if not self._client.service_is_ready():
            self.forget()
            return False
        self._tries += 1
        if self._pending is None or self._tries > _PATIENCE:
            self.forget()
            self._pending = self._client.call_async(request)
            self._pending.add_done_callback(self._on_done)
        return True

    def forget(self) -> None:
        """Whatever is answered yet does not count."""
        pending, self._pending, self._tries = self._pending, None, 0
        if pending is not None:
            self._client.remove_pending_request(pending)

    def _on_done(self, future: Any) -> None:
        if future is self._pending:
            self._pending = None
            if future.result() is not None:
                self._on_answer(future.result())


class ParameterQuestion:
    """The values of parameters of another node; ``answer`` is None until it has said them, a value None where it has no such parameter."""

    def __init__(self, node: Node, peer: str, names: tuple[str, ...]) -> None:
        self._names = names
        self._question = Question(node, GetParameters, f"{peer}/get_parameters", self._on_answer)
        self.answer: dict[str, Any] | None = None
        self.waiting = f"asked for its parameters {', '.join(names)}; no answer yet"

    def ask(self) -> None:
        """Ask, unless it is answered already."""
        if self.answer is None:
            self._question.ask(GetParameters.Request(names=list(self._names)))

    def forget(self) -> None:
        """The peer has gone: what it said no longer counts."""
        self._question.forget()
        self.answer = None

    def _on_answer(self, response: Any) -> None:
        values = [parameter_value_to_python(value) for value in response.values]
        # A node that does not know one of the names answers with no values at all.
        self.answer = dict(zip(self._names, values or [None] * len(self._names), strict=True))
