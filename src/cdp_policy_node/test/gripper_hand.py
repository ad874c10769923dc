"""A stand-in for franka_gripper: it runs every goal at once, as the real one does, and both goals fail where two overlap."""

import time

import rclpy
from cdp_ros.domain import own_domain
from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.task import Future
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

DEADLINE_S = 30.0


class Hand:
    """Ends a goal when the test says so: :meth:`finish`. ``received``: (action, goal) of everything that was asked."""

    def __init__(self, width_m=0.06):
        from cdp_msgs.msg import GripperCommand
        from franka_msgs.action import Grasp, Homing, Move

        self.context, self.domain = rclpy.Context(), own_domain()
        rclpy.init(context=self.context, domain_id=self.domain)
        self.node = rclpy.create_node("bench", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.width_m = width_m
        self.received, self.under_way, self.overlaps, self.stops, self.cancels = [], [], 0, 0, 0
        self.targets = self.node.create_publisher(GripperCommand, "/cdp/gripper_command", QoSProfile(depth=1))
        self.fingers = self.node.create_publisher(JointState, "/franka_gripper/joint_states", 1)
        self.command = GripperCommand
        self.actions = {"homing": Homing, "move": Move, "grasp": Grasp}
        self.servers, self.stop_server, self.hand = [], None, None

    def appear(self):
        self.hand = rclpy.create_node("franka_gripper", context=self.context)
        self.executor.add_node(self.hand)
        for name, action in self.actions.items():
            self.servers.append(
                ActionServer(
                    self.hand,
                    action,
                    f"~/{name}",
                    execute_callback=self._execution(name, action),
                    cancel_callback=self._on_cancel,
                    callback_group=ReentrantCallbackGroup(),
                )
            )
        self.stop_server = self.hand.create_service(Trigger, "~/stop", self._on_stop)
        return self

    def vanish(self):
        for server in self.servers:
            server.destroy()
        self.servers.clear()
        self.executor.remove_node(self.hand)
        self.hand.destroy_node()

    def _execution(self, name, action):
        async def execute(handle):
            self.received.append((name, handle.request))
            ended = Future(executor=self.executor)
            self.overlaps += bool(self.under_way)
            self.under_way.append((name, handle.request, ended))
            success = await ended
            result = action.Result(success=success and not self.overlaps, error="" if success else "libfranka gripper: command failed")
            if handle.is_cancel_requested:
                handle.canceled()
            elif result.success:
                handle.succeed()
            else:
                handle.abort()
            return result

        return execute

    def _on_cancel(self, handle):
        self.cancels += 1
        self.finish(False)
        return CancelResponse.ACCEPT

    def _on_stop(self, request, response):
        self.stops += 1
        self.finish(False)
        response.success = True
        return response

    def finish(self, success=True):
        """End all goals under way; where that succeeds the fingers are where they were asked to be."""
        for name, request, ended in self.under_way:
            if success:
                self.width_m = 0.08 if name == "homing" else request.width
            ended.set_result(success)
        self.under_way.clear()

    def say(self, width_m, effort_n=30.0):
        self.targets.publish(self.command(width_m=width_m, max_effort_n=effort_n))

    def until(self, condition, what, each=lambda: None):
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}; received {self.received}"
            self.fingers.publish(JointState(name=["fr3_finger_joint1", "fr3_finger_joint2"], position=[0.5 * self.width_m] * 2))
            each()
            self.executor.spin_once(timeout_sec=0.01)

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)
