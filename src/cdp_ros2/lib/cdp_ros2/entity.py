"""The base of everything that a launch description is made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cdp_ros2.context import LaunchContext

if TYPE_CHECKING:
    from cdp_ros2.actions import DeclareLaunchArgument
    from cdp_ros2.conditions import Condition


class Entity:
    """Something that can be performed in a context."""

    def visit(self, context: LaunchContext) -> None:
        """Perform the entity now."""
        raise NotImplementedError(type(self).__name__)

    def arguments(self, context: LaunchContext) -> list[DeclareLaunchArgument]:
        """Arguments that this entity and those within it declare."""
        return []


class Action(Entity):
    """An entity that is performed where its condition holds."""

    def __init__(self, *, condition: Condition | None = None) -> None:
        self.condition = condition

    def visit(self, context: LaunchContext) -> None:
        """Perform the action if its condition holds."""
        if self.condition is None or self.condition.evaluate(context):
            self.execute(context)

    def execute(self, context: LaunchContext) -> None:
        """What the action does."""
        raise NotImplementedError(type(self).__name__)


class LaunchDescription(Entity):
    """A list of entities, performed in order."""

    def __init__(self, initial_entities: Iterable[Entity] | None = None) -> None:
        self.entities: list[Entity] = list(initial_entities or ())

    def add_action(self, action: Entity) -> None:
        """Append an entity."""
        self.entities.append(action)

    add_entity = add_action

    def visit(self, context: LaunchContext) -> None:
        """Perform all entities."""
        context.visit_all(self.entities)

    def arguments(self, context: LaunchContext) -> list[DeclareLaunchArgument]:
        """Arguments declared within, the first declaration of each name."""
        return collect(self.entities, context)

    def get_launch_arguments(self) -> list[DeclareLaunchArgument]:
        """Arguments declared within."""
        return self.arguments(LaunchContext())


def collect(entities: Iterable[Entity], context: LaunchContext) -> list[DeclareLaunchArgument]:
    """Arguments that the entities declare, the first declaration of each name."""
    found: dict[str, DeclareLaunchArgument] = {}
    for entity in entities:
        for argument in entity.arguments(context):
            found.setdefault(argument.name, argument)
    return list(found.values())
