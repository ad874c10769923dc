"""The main function of a node: start, spin until a signal, end between two callbacks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import rclpy
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from cdp_ros.executor import make_executor
from cdp_ros.settle import settle
from cdp_ros.signals import spin_until, stop_on_signals

N = TypeVar("N", bound=Node)

REFUSED = 2


def run_node(
    name: str,
    make: Callable[[], N],
    *,
    refusals: tuple[type[Exception], ...],
    args: Sequence[str] | None = None,
    make_executor: Callable[[], Executor] = make_executor,
    begin: Callable[[N], None] | None = None,
    close: Callable[[N], None] | None = None,
) -> int:
    """Run the node that ``make`` builds until SIGINT or SIGTERM; 0 then.

    An exception of the kinds ``refusals`` while building becomes one line on stderr and the status 2. ``begin`` is called before spinning,
    ``close`` before the node is destroyed.
    """
    with stop_on_signals() as stop:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        try:
            node = make()
        except refusals as error:
            sys.stderr.write(f"{name} does not start: {error}\n")
            rclpy.shutdown()
            return REFUSED
        executor = make_executor()
        executor.add_node(node)
        try:
            if begin is not None:
                begin(node)
            settle(node)
            spin_until(stop, executor)
        finally:
            if close is not None:
                close(node)
            executor.shutdown()
            node.destroy_node()
            rclpy.shutdown()
    return 0
