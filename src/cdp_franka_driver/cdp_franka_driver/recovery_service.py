"""The service for the recovery, in a thread and a node of its own: the driver's node goes on while the robot recovers.

rclpy's events executor runs no callback beside another, and no coroutine as a service's callback.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from cdp_franka_driver.supervisor import Recovery


class RecoveryService:
    """``recover`` is told whom to answer; it answers once, from any thread."""

    def __init__(self, driver: Node, recover: Callable[[Callable[[Recovery], None]], None]) -> None:
        self._recover, self._logger = recover, driver.get_logger()
        # No arguments of the command line: they are the driver's, its name too.
        self._node = Node(
            f"{driver.get_name()}_recovery", context=driver.context, use_global_arguments=False, start_parameter_services=False, enable_rosout=False
        )
        self._node.create_service(Trigger, f"/{driver.get_name()}/error_recovery", self._on_request)
        self._executor = SingleThreadedExecutor(context=driver.context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, name="recovery_service", daemon=True)
        self._thread.start()

    def _on_request(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        answers = queue.SimpleQueue[Recovery]()
        self._recover(answers.put)
        recovery = answers.get()
        response.success, response.message = recovery.success, recovery.message
        self._logger.info(recovery.message)
        return response

    def close(self) -> None:
        """Once nothing is asked any more that is not answered."""
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()
