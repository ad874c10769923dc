"""Questions to an OpenVINO graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def parameters(model: Any) -> dict[str, Any]:
    """The inputs by name."""
    return {parameter.output(0).get_any_name(): parameter for parameter in model.get_parameters()}


def sources(op: Any) -> list[Any]:
    """The operations that feed ``op``, in the order of its inputs."""
    return [each.get_source_output().get_node() for each in op.inputs()]


def ancestors(ops: Iterable[Any]) -> Iterator[Any]:
    """The operations and all that they are computed from, each once."""
    stack, seen = list(ops), set()
    while stack:
        op = stack.pop()
        if op.get_name() not in seen:
            seen.add(op.get_name())
            yield op
            stack += sources(op)


def needs(model: Any) -> dict[str, frozenset[str]]:
    """The inputs that each operation depends on, by its name."""
    needed: dict[str, frozenset[str]] = {}
    for op in model.get_ordered_ops():
        own = {op.output(0).get_any_name()} if op.get_type_name() == "Parameter" else set()
        needed[op.get_name()] = frozenset(own).union(*(needed[source.get_name()] for source in sources(op)))
    return needed
