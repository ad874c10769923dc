"""What can go wrong in a launch, each with a message for the person who runs it."""

from collections.abc import Iterable
from typing import NoReturn


class LaunchError(RuntimeError):
    """A launch description or one of its arguments is wrong."""


class SubstitutionError(LaunchError):
    """A substitution has no value."""


class InvalidConditionError(LaunchError):
    """A condition is neither true nor false."""


class UnsupportedError(ImportError):
    """A name of the genuine launch system which this subset does not have."""


def refuse_name(module: str, name: str, known: Iterable[str]) -> NoReturn:
    """Refuse `module.name`: AttributeError for Python's own probing (dunder names), else UnsupportedError naming what there is."""
    if name.startswith("__"):
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    raise UnsupportedError(
        f"{module}.{name} is not in this subset of ROS 2 launch (it has {', '.join(sorted(known))}): a genuine ROS 2 has it", name=name
    )
