"""A guard that follows a policy, its command interface, and a stand-in for the controller, over real DDS and in made-up time."""

import time

import numpy as np
import rclpy
from cdp_ros.domain import own_domain
from controller_peers import TRANSPORT_NS
from rclpy.executors import SingleThreadedExecutor

from cdp.actions import eef_row
from cdp.geometry import matrix_to_quat
from cdp_franka.guard import GuardCore
from cdp_franka.guard_config import GuardConfig
from cdp_franka.guard_types import ActionData, Source, Space
from cdp_franka.kinematics import forward
from cdp_policy_node.command.build import make_command_output
from cdp_policy_node.command.config import CommandConfig

DEADLINE_S = 30.0
TICK_NS = 10_000_000
Q = np.array([0.0, -0.2, 0.0, -2.3, 0.0, 2.1, np.pi / 4])
POSITION, ROTATION = forward(Q)
QUAT = matrix_to_quat(ROTATION)


class Rig:
    """``controller`` as in CommandConfig; the arm is where it was last commanded."""

    def __init__(self, controller, interface, **settings):
        self.context, self.domain = rclpy.Context(), own_domain()
        rclpy.init(context=self.context, domain_id=self.domain)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.nodes, self.others = {}, []
        self.node = self.add("cdp_guard")
        self.guard = GuardCore(GuardConfig(command_interface=interface, has_gripper=False))
        self.output = make_command_output(self.node, CommandConfig(controller=controller, **settings), self.guard.config, TICK_NS / 1e9)
        self.now_ns = 1_000_000_000
        self.q, self.dq, self.pose = Q, np.zeros(7), (POSITION, QUAT)
        self.sent = []

    def add(self, name):
        self.nodes[name] = rclpy.create_node(name, context=self.context)
        self.executor.add_node(self.nodes[name])
        return self.nodes[name]

    def apart(self, name):
        """A node of a DDS participant of its own, as another process has: one participant takes no two types of one topic. It is not spun."""
        self.others.append(rclpy.Context())
        rclpy.init(context=self.others[-1], domain_id=self.domain)
        return rclpy.create_node(name, context=self.others[-1])

    def remove(self, name):
        node = self.nodes.pop(name)
        self.executor.remove_node(node)
        node.destroy_node()

    def until(self, condition, what, each=lambda: None):
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what() if callable(what) else what}"
            self.executor.spin_once(timeout_sec=0.02)
            each()

    def ready(self):
        self.until(lambda: self.output.problem() is None, self.output.problem, self.output.check)
        self.output.check()

    def engage(self):
        self._sense()
        engaged, message = self.guard.engage(self.now_ns)
        assert engaged, message

    def follow(self, offsets, peer, ticks=20):
        """A policy that wants each of the offsets (3,) [m] for some ticks; every command has arrived when this returns."""
        for offset in offsets:
            for tick in range(ticks):
                if tick % 10 == 0:
                    self.guard.on_action(self._action(POSITION + np.asarray(offset)), self.now_ns)
                self.tick(peer)

    def tick(self, peer):
        self.now_ns += TICK_NS
        peer.now_ns = self.now_ns + TRANSPORT_NS
        self._sense()
        out = self.guard.tick(self.now_ns)
        assert out.send, out.message
        self.sent.append(out)
        expected = peer.count + 1
        self.output.send(out, self.now_ns, self.guard.robot.pose)
        self.until(lambda: peer.count >= expected, "the command")
        if out.q_rad is not None:
            self.q, self.dq = out.q_rad, out.dq_rad_s
            position, rotation = forward(self.q)
            self.pose = position, matrix_to_quat(rotation)
        else:
            self.pose = out.position_m, out.quat_xyzw

    def close(self):
        self.executor.shutdown()
        for node in self.nodes.values():
            node.destroy_node()
        for context in [self.context, *self.others]:
            rclpy.shutdown(context=context)

    def _sense(self):
        self.guard.on_joints(self.now_ns, self.q, self.dq)
        self.guard.on_pose(self.now_ns, *self.pose)

    def _action(self, position):
        rows = eef_row(position[None], QUAT[None], np.array([0.05]))
        return ActionData(
            Source.POLICY, Space.EEF_POSE, "fr3_link0", self.now_ns // TICK_NS, self.now_ns, self.now_ns + 100_000_000, 0.1, rows, 0.1, True
        )
