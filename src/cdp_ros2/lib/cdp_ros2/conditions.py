"""Whether an action is performed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdp_ros2.errors import InvalidConditionError
from cdp_ros2.substitutions import SomeText, perform, to_substitutions

if TYPE_CHECKING:
    from cdp_ros2.context import LaunchContext

_VALUES = {"true": True, "1": True, "false": False, "0": False}


class Condition:
    """Something that holds or not in a context."""

    def evaluate(self, context: LaunchContext) -> bool:
        """Return whether the condition holds."""
        raise NotImplementedError(type(self).__name__)


class IfCondition(Condition):
    """Holds where the expression is `true` or `1`."""

    def __init__(self, predicate_expression: SomeText) -> None:
        self.expression = to_substitutions(predicate_expression)

    def evaluate(self, context: LaunchContext) -> bool:
        """Return the expression's value. Raises InvalidConditionError where it is neither true, 1, false nor 0."""
        text = perform(context, self.expression)
        value = _VALUES.get(text.strip().lower())
        if value is None:
            raise InvalidConditionError(f"a condition must be one of true, 1, false, 0 (any case), got '{text}'")
        return value


class UnlessCondition(IfCondition):
    """Holds where the expression is `false` or `0`."""

    def evaluate(self, context: LaunchContext) -> bool:
        """Return the opposite of the expression's value."""
        return not super().evaluate(context)
