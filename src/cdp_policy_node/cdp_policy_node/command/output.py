"""The guard's way out: one command interface, watched."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from cdp_franka.chunk import Pose
from cdp_franka.guard_types import GuardOutput
from cdp_policy_node.command.interface import CommandInterface
from cdp_policy_node.command.manager import ControllerManager
from cdp_policy_node.command.peer import Reader, started_anew

_CHECK_S = 1.0
# A controller that has started anew must not be given the old target for long.
_LOOK_S = 0.1


class CommandOutput:
    """Sends through ``interface``, and says in the log when its controller is not there, disappears or comes back.

    ``on_problem`` is called with what is wrong, once each time that it changes.
    """

    def __init__(self, node: Node, controller: str, interface: CommandInterface, manager: ControllerManager) -> None:
        self._logger, self._controller = node.get_logger(), controller
        self._interface, self._manager = interface, manager
        # What was found at the last look; not even None before the first.
        self._found: str | None = ""
        self._was_ready = False
        self._readers: frozenset[Reader] = frozenset()
        self.on_problem: Callable[[str], None] = lambda problem: None
        # Wall time: a controller can be missing before simulated time runs.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(_CHECK_S, self.check, clock=clock)
        node.create_timer(_LOOK_S, self._look, clock=clock)

    def problem(self) -> str | None:
        """Why the controller would not take a command now, in words; None where it would."""
        return self._interface.problem() or self._manager.problem()

    def send(self, out: GuardOutput, now_ns: int, measured: Pose | None) -> None:
        """Send the output of a tick at ``now_ns``, whose ``send`` is true; ``measured``: newest measured end-effector pose."""
        self._interface.send(out, now_ns, measured)

    def _look(self) -> None:
        if self._interface.readers() != self._readers:
            self.check()

    def check(self) -> str | None:
        """Look once, and say what has changed; called each second, and before engaging. Returns :meth:`problem`."""
        self._interface.prepare()
        self._manager.prepare()
        readers = self._interface.readers()
        # One that has started anew holds the arm where it is, as one that went and came back.
        replaced = "it has started anew" if started_anew(self._readers, readers) else None
        self._readers = readers
        problem = self.problem()
        found = problem or replaced
        if found == self._found:
            return problem
        self._found = found
        # A call on a line of its own for each severity: rclpy refuses another one from the same line.
        if found is None:
            self._was_ready = True
            self._logger.info(f"controller {self._controller} is ready")
        elif not self._was_ready:
            # In a bring-up the guard is there before the controllers, which is nothing to be alarmed about.
            self._logger.warning(f"controller {self._controller} is not ready: {found}")
            self.on_problem(found)
        else:
            self._logger.error(f"controller {self._controller} is not ready: {found}")
            self.on_problem(found)
        return problem
