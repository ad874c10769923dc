"""What the simulated robot says: the topics of the real one, and those of the simulation."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from cdp_msgs.msg import LockstepTick, TaskState
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import CameraInfo, Image, JointState

from cdp_franka_sim import sim_messages as messages
from cdp_franka_sim.camera import Intrinsics
from cdp_franka_sim.physics import SimState

IMAGE_DEPTH = 30


class Outlet:
    """The publishers."""

    def __init__(self, node: Node, lockstep: bool) -> None:
        """``lockstep``: with the clock and the ticks."""
        reliable = QoSProfile(depth=10)
        best_effort = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._image = node.create_publisher(Image, "/agentview/image_raw", QoSProfile(depth=IMAGE_DEPTH))
        self._info = node.create_publisher(CameraInfo, "/agentview/camera_info", reliable)
        self._joints = node.create_publisher(JointState, "/joint_states", reliable)
        # The real broadcaster is best effort; in lock-step a lost pose would cost a time-out.
        self._pose = node.create_publisher(PoseStamped, "/franka_robot_state_broadcaster/current_pose", reliable if lockstep else best_effort)
        self._gripper = node.create_publisher(JointState, "/franka_gripper/joint_states", reliable)
        self._task = node.create_publisher(TaskState, "/cdp_sim/task", QoSProfile(depth=IMAGE_DEPTH))
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", reliable)
        if lockstep:
            self._clock = node.create_publisher(ClockMessage, "/clock", reliable)
            self._tick = node.create_publisher(LockstepTick, "/cdp_sim/tick", reliable)

    def clock(self, stamp: Time) -> None:
        """The time, in lock-step."""
        self._clock.publish(ClockMessage(clock=stamp))

    def tick(self, stamp: Time, observation_stamp: Time, index: int) -> None:
        """All of this instant is out, in lock-step."""
        self._tick.publish(LockstepTick(stamp=stamp, observation_stamp=observation_stamp, index=index))

    def state(self, state: SimState, stamp: Time) -> None:
        """What the robot measures."""
        self._joints.publish(messages.joint_states(state, stamp))
        self._pose.publish(messages.eef_pose(state, stamp))
        self._gripper.publish(messages.gripper_states(state, stamp))

    def picture(self, rgb: NDArray[np.uint8], intrinsics: Intrinsics, truth: TaskState, stamp: Time) -> None:
        """A picture (H, W, 3) with its camera, and what is true of the task in it."""
        self._info.publish(messages.camera_info(intrinsics, stamp))
        self._image.publish(messages.image(rgb, stamp))
        self._task.publish(truth)

    def task(self, truth: TaskState) -> None:
        """What is true of the task."""
        self._task.publish(truth)

    def diagnostics(self, array: DiagnosticArray) -> None:
        """How the simulation does."""
        self._diagnostics.publish(array)
