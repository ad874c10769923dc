"""The arm of an evaluation: robot, guard, policy node and recorder, asked over their services and the action /cdp/policy/run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cdp_msgs.action import RunPolicy
from cdp_msgs.srv import ResetScene, StartEpisode, StopEpisode
from cdp_ros.stamps import stamp_to_ns
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from numpy.typing import NDArray
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger

from cdp.data.images import ImageError, decode_raw
from cdp.evaluation.parts import Recording, Run
from cdp.evaluation.plan import Candidate
from cdp.evaluation.results import EvaluationError
from cdp.geometry import FloatArray
from cdp_franka_sim.policy_run import PolicyRun
from cdp_franka_sim.ros_calls import PEER_DEADLINE_S, Caller, Interrupt

# Right after a reset or a start a fresh state or a stream may still be on its way.
_RETRY_S = 20.0
# A bundle is opened, verified, compiled and warmed up.
_LOAD_S = 120.0


@dataclass(frozen=True)
class RolloutSettings:
    """What all rollouts of an evaluation share. ``simulated``: /cdp_sim/reset places the start."""

    task: str
    operator: str
    timeout_s: float
    end_on_takeover: bool
    simulated: bool
    image_topic: str
    policy_parameters: Mapping[str, Any] = field(default_factory=dict)


class RolloutRobot:
    """See :class:`cdp.evaluation.parts.Robot`. ``hand_m`` gives where the hand belongs at the start that a seed draws."""

    def __init__(
        self, settings: RolloutSettings, alive: Callable[[], None], interrupt: Interrupt, hand_m: Callable[[int], FloatArray] | None = None
    ) -> None:
        self._settings, self._hand_m = settings, hand_m
        node = self._node = Node("cdp_evaluation")
        self._caller = Caller(node, alive, interrupt)
        self._run = PolicyRun(node, self._caller)
        self._loaded, self._placed_ns = "", 0
        self._image: Image | None = None
        self._pose: PoseStamped | None = None
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        node.create_subscription(Image, settings.image_topic, self._on_image, best_effort)
        node.create_subscription(PoseStamped, "/franka_robot_state_broadcaster/current_pose", self._on_pose, best_effort)
        self._reset = node.create_client(ResetScene, "/cdp_sim/reset")
        self._engage = node.create_client(SetBool, "/cdp/guard/engage")
        self._state = node.create_client(GetState, "/cdp_policy/get_state")
        self._change = node.create_client(ChangeState, "/cdp_policy/change_state")
        self._set = node.create_client(SetParametersAtomically, "/cdp_policy/set_parameters_atomically")
        self._start = node.create_client(StartEpisode, "/cdp/recorder/start")
        self._stop = node.create_client(StopEpisode, "/cdp/recorder/stop")
        self._label = node.create_client(SetBool, "/cdp/recorder/label")
        self._keep = node.create_client(Trigger, "/cdp/recorder/keep")
        self._discard = node.create_client(Trigger, "/cdp/recorder/discard")

    def close(self) -> None:
        """Leave the graph."""
        self._caller.close()
        self._node.destroy_node()

    def camera(self) -> NDArray[np.uint8] | None:
        """The newest picture (H, W, 3) uint8 RGB; None where none came that can be read."""
        self._caller.drain()
        image = self._image
        with contextlib.suppress(ImageError):
            return None if image is None else decode_raw(image.data, image.height, image.width, image.step, image.encoding)
        return None

    def prepare(self, candidate: Candidate) -> None:
        """Let the guard send nothing, and load the policy."""
        self.disengage()
        if self._loaded == candidate.path:
            return
        self._loaded = ""
        state = self._caller.call(self._state, GetState.Request()).current_state.id
        if state == State.PRIMARY_STATE_ACTIVE:
            self._transition(Transition.TRANSITION_DEACTIVATE, "deactivate")
        if state != State.PRIMARY_STATE_UNCONFIGURED:
            self._transition(Transition.TRANSITION_CLEANUP, "clean up")
        values = {**self._settings.policy_parameters, "bundle": candidate.path, "task": self._settings.task}
        request = SetParametersAtomically.Request(parameters=[Parameter(name, value=value).to_parameter_msg() for name, value in values.items()])
        answer = self._caller.call(self._set, request).result
        if not answer.successful:
            raise EvaluationError(f"the policy node refused its parameters: {answer.reason}")
        self._transition(Transition.TRANSITION_CONFIGURE, "load the bundle")
        self._loaded = candidate.path

    def place(self, seed: int) -> None:
        """In simulation: reset the scene. It refuses while commands still arrive; a disengaged guard falls silent within a few ticks."""
        if self._settings.simulated:
            answer = self._caller.succeed(self._reset, ResetScene.Request(seed=seed), "the simulator refused to reset", retry_s=_RETRY_S)
            self._placed_ns, self._image, self._pose = stamp_to_ns(answer.stamp), None, None
            self._caller.until(lambda: self._image is not None and self._pose is not None, PEER_DEADLINE_S, "a picture and the pose of the start")

    def misplaced(self, seed: int) -> str:
        """How far the measured hand is from its start."""
        self._caller.drain()
        if self._hand_m is None or self._pose is None:
            return ""
        p = self._pose.pose.position
        off_mm = 1000 * (np.array([p.x, p.y, p.z]) - self._hand_m(seed))
        return "the hand is {:.0f} mm from its start (x {:+.0f}, y {:+.0f}, z {:+.0f} mm)".format(float(np.linalg.norm(off_mm)), *off_mm)

    def engage(self) -> None:
        """Engage the guard at the measured pose."""
        self._caller.succeed(self._engage, SetBool.Request(data=True), "the guard did not engage", retry_s=_RETRY_S)

    def disengage(self) -> None:
        """Let the guard send nothing."""
        self._caller.call(self._engage, SetBool.Request(data=False))

    def start_recording(self, seed: int) -> None:
        """Start an episode; a recorder that has only just come up has not heard every stream yet."""
        request = StartEpisode.Request(task=self._settings.task, operator_name=self._settings.operator, seed=seed)
        self._caller.succeed(self._start, request, "the recorder did not start", retry_s=_RETRY_S, once=True)

    def run(self, seed: int, key: Callable[[], str]) -> Run:
        """Run the policy to its end; an abort key disengages the guard before anything else."""
        s = self._settings
        goal = RunPolicy.Goal(task=s.task, timeout_s=s.timeout_s, seed=seed, end_on_takeover=s.end_on_takeover)
        return self._run.run(goal, key, self.disengage)

    def stop_recording(self, success: bool, note: str) -> Recording:
        """Keep the episode with its label; raises where it was not kept."""
        request = StopEpisode.Request(keep=True, task_success=success, note=note)
        answer = self._caller.succeed(self._stop, request, "the recorder did not keep the episode", deadline_s=PEER_DEADLINE_S, once=True)
        return Recording(answer.path, answer.verdict)

    def label(self, success: bool) -> None:
        """Change the label of the episode just kept."""
        self._caller.succeed(self._label, SetBool.Request(data=success), "the recorder did not change the label")

    def discard(self) -> None:
        """Set aside the episode just kept; where that fails the recorder has said so, and its note still names the rollout."""
        with contextlib.suppress(EvaluationError):
            self._caller.call(self._discard, Trigger.Request(), once=True)

    def abandon(self) -> None:
        """Hold the arm and end what was begun, as far as the nodes still answer."""
        for client, request in ((self._engage, SetBool.Request(data=False)), (self._keep, Trigger.Request())):
            with contextlib.suppress(EvaluationError):
                if client.service_is_ready():
                    self._caller.call(client, request, once=True)
        self._loaded = ""

    def _on_image(self, message: Image) -> None:
        # What was on its way when the scene was reset shows another start.
        if stamp_to_ns(message.header.stamp) >= self._placed_ns:
            self._image = message

    def _on_pose(self, message: PoseStamped) -> None:
        if stamp_to_ns(message.header.stamp) >= self._placed_ns:
            self._pose = message

    def _transition(self, transition: int, name: str) -> None:
        request = ChangeState.Request(transition=Transition(id=transition))
        if not self._caller.call(self._change, request, _LOAD_S, once=True).success:
            raise EvaluationError(f"the policy node could not {name}; its error says why")
