"""The order in which a controller takes numbers that carry no names: it is asked for, and nothing is sent before it is known."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node

from cdp.geometry import FloatArray
from cdp_policy_node.command.ask import ParameterQuestion
from cdp_policy_node.command.peer import Reader


class JointOrder:
    """Asks the controller's node for its parameter ``joints``, and for others that must have the values of ``expected``."""

    def __init__(self, node: Node, controller: str, joint_names: tuple[str, ...], expected: dict[str, Any] | None = None) -> None:
        self._controller, self._joint_names, self._expected = controller, joint_names, expected or {}
        self._question = ParameterQuestion(node, controller, ("joints", *self._expected))
        self._readers: frozenset[Reader] = frozenset()

    def prepare(self, readers: frozenset[Reader]) -> None:
        """Ask; ask again when those who read the commands are others."""
        if readers != self._readers:
            self._question.forget()
        self._readers = readers
        if readers:
            self._question.ask()

    def problem(self) -> str | None:
        """Why nothing can be sent in the controller's order, in words."""
        answer = self._question.answer
        if answer is None:
            return f"{self._controller}: {self._question.waiting}"
        for name, value in self._expected.items():
            if answer[name] != value:
                return f"{self._controller}: its {name} is {answer[name]!r}, not {value!r}; command a controller where it is {value!r}"
        joints = answer["joints"] or ()
        if sorted(joints) != sorted(self._joint_names):
            found, needed = ", ".join(joints) or "none", ", ".join(self._joint_names)
            return f"{self._controller}: its joints are {found}, not {needed}; correct its parameter joints"
        return None

    def names(self) -> list[str] | None:
        """The joints in the controller's order; None where :meth:`problem` has something to say."""
        return None if self._question.answer is None or self.problem() is not None else list(self._question.answer["joints"])

    def arrange(self, values: FloatArray, names: list[str]) -> list[float]:
        """``values`` (J,), base first, in the order of ``names``."""
        return [float(values[self._joint_names.index(name)]) for name in names]
