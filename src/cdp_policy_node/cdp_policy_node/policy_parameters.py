"""What the policy node can be told."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cdp_ros.qos import RELIABILITIES

from cdp.bundle import BundleError
from cdp.config import setting
from cdp.diffusion.sampler import SOLVERS
from cdp.runtime import JoinConfig, RuntimeConfig
from cdp.runtime.config import BACKENDS, CHANGEABLE, INITIAL_NOISES, JOINS, PRECISIONS, PROVIDERS
from cdp_franka.frames import BASE_FRAME, POSE_FRAMES, POSE_FRAMES_HELP

JOINT_NAMES = tuple(f"fr3_joint{i}" for i in range(1, 8))
FINGER_NAMES = ("fr3_finger_joint1", "fr3_finger_joint2")

JOIN_PARAMETERS = ("join", "join_delay_s", "ensemble_decay_per_s")
#: Parameters that take effect with the next chunk, in every state of the node; the others are read when it is configured.
LIVE_PARAMETERS = (*CHANGEABLE, *JOIN_PARAMETERS)


@dataclass(frozen=True)
class PolicyParameters:
    """Parameters of the node ``cdp_policy``; read when it is configured, and those of :data:`LIVE_PARAMETERS` whenever they change."""

    bundle: str = setting("", help="policy bundle: a folder, or the name of one in the package's share/models")
    task: str = setting("", help="task that the bundle has to be trained for; empty takes any")
    backend: str = setting("openvino", choices=BACKENDS, help="inference engine: openvino, onnxruntime, or torch, which runs the weights")
    provider: str = setting("cpu", choices=PROVIDERS, help="device of onnxruntime: cpu, cuda or tensorrt; refused where the package lacks it")
    steps: int = setting(0, low=0, high=100, help="steps of the sampler; 0: as the bundle was measured")
    solver: str = setting("", choices=("", *SOLVERS), help="solver of the sampler: ddim or dpmpp_2m; empty: as the bundle was measured")
    seed: int = setting(0, low=0, high=2**31 - 1, help="seed of the sampler's noise, which starts anew with every activation")
    initial_noise: str = setting("random", choices=INITIAL_NOISES, help="random; zero for one fixed chunk an observation; warm: from the last")
    warm_level: float = setting(1.0, low=0.01, high=1.0, help="noise that a warm start begins from, as a part of the noise path; 1: all of it")
    temperature: float = setting(1.0, low=0.0, high=2.0, help="standard deviation of the random initial noise; 1: as the policy was trained")
    precision: str = setting("fp32", choices=PRECISIONS, help="fp32; bf16 with openvino on a CPU that has it; auto: bf16 if so")
    threads: int = setting(1, low=1, high=64, help="threads of the inference engine")
    replan_ticks: int = setting(4, low=1, high=64, help="observation ticks from one chunk to the next; less than the chunk's rows")
    join: str = setting("hard", choices=JOINS, help="how a chunk goes on from the last: hard, ensemble (mean with earlier), rtc (drawn to agree)")
    join_delay_s: float = setting(-1.0, low=-1.0, high=2.0, help="rtc: from image to chunk, while which the last one goes on [s]; below 0: measured")
    ensemble_decay_per_s: float = setting(1.0, low=0.0, high=100.0, help="ensemble: a chunk older by 1 s has exp(-decay) of the weight [1/s]")
    lockstep: bool = setting(False, help="simulation in lock-step: observations wait for the chunk, so that a run can be repeated bit for bit")
    guard_topic: str = setting("/cdp/guard/status", help="status of the guard: while it does not follow the policy, no chunk goes on from the last")
    image_topic: str = setting("/agentview/image_raw", help="camera image")
    image_transport: str = setting("raw", choices=("raw", "compressed"), help="raw: sensor_msgs/Image, compressed: sensor_msgs/CompressedImage")
    joint_states_topic: str = setting("/joint_states", help="joint positions of the arm [rad]")
    pose_topic: str = setting("/franka_robot_state_broadcaster/current_pose", help="pose of the end effector in the arm's base")
    gripper_topic: str = setting("/franka_gripper/joint_states", help="positions of the two fingers [m]")
    joint_names: tuple[str, ...] = setting(JOINT_NAMES, help="the arm's joints in joint_states, base first")
    finger_names: tuple[str, ...] = setting(FINGER_NAMES, help="the finger joints; the opening is the sum of their positions")
    base_frame: str = setting(BASE_FRAME, help="frame of the actions")
    pose_frames: tuple[str, ...] = setting(POSE_FRAMES, help=POSE_FRAMES_HELP)
    reliable: bool = setting(False, help="auto means reliable for camera, joints, gripper: in simulation only, a sensor must not wait for us")
    image_reliability: str = setting("auto", choices=RELIABILITIES, help="QoS of the camera: auto (see reliable), best_effort or reliable")
    joint_states_reliability: str = setting("auto", choices=RELIABILITIES, help="QoS of the arm's joints")
    pose_reliability: str = setting("auto", choices=RELIABILITIES, help="QoS of the pose; auto: best_effort, all that its broadcaster offers")
    gripper_reliability: str = setting("auto", choices=RELIABILITIES, help="QoS of the gripper's joints")
    image_depth: int = setting(4, low=1, high=100, help="camera images that may wait to be read; older ones are dropped")
    state_depth: int = setting(100, low=1, high=10_000, help="robot states of each stream that may wait to be read; older ones are dropped")
    image_timeout_s: float = setting(0.5, low=0.05, high=10.0, help="age of the newest image from which the policy stops sending [s]")
    state_timeout_s: float = setting(0.2, low=0.02, high=10.0, help="age of the newest robot state from which the policy stops sending [s]")
    frozen_after_m: float = setting(0.02, low=0.005, high=0.5, help="a camera that repeats its picture while the arm moves so far is frozen [m]")
    frozen_after_rad: float = setting(0.1, low=0.02, high=1.0, help="the same by the joints, for a policy that sees no pose [rad]")
    run_lost_s: float = setting(3.0, low=0.1, high=60.0, help="how long a run of the action /cdp/policy/run waits for a lost observation [s]")
    autostart: bool = setting(False, help="configure and activate at the start, without a lifecycle manager")

    def runtime(self) -> RuntimeConfig:
        """The part that :class:`cdp.runtime.PolicyRuntime` takes. Raises :class:`cdp.config.ConfigError` for a combination that cannot be."""
        return RuntimeConfig(
            backend=self.backend,
            steps=self.steps or None,
            solver=self.solver or None,
            seed=self.seed,
            threads=self.threads,
            initial_noise=self.initial_noise,
            temperature=self.temperature,
            warm_level=self.warm_level,
            precision=self.precision,
            provider=self.provider,
        )

    def joining(self) -> JoinConfig:
        """How chunks are joined."""
        delay_s = self.join_delay_s if self.join_delay_s >= 0.0 else None
        return JoinConfig(self.join, delay_s, self.ensemble_decay_per_s)

    def sampling(self) -> dict[str, Any]:
        """What :meth:`cdp.runtime.PolicyRuntime.reconfigure` takes."""
        config = self.runtime()
        return {name: getattr(config, name) for name in CHANGEABLE}


def fixed_among(names: list[str]) -> list[str]:
    """Those of ``names`` that are parameters of the policy and cannot change while it runs."""
    known = {field.name for field in fields(PolicyParameters)}
    return [name for name in names if name in known and name not in LIVE_PARAMETERS]


def find_bundle(bundle: str, models: Path) -> Path:
    """Folder of ``bundle``: a path as it is, or a plain name in ``models``. Raises :class:`BundleError` for an empty name or one that is nowhere."""
    installed = sorted(p.name for p in models.iterdir() if (p / "manifest.json").is_file()) if models.is_dir() else []
    choice = f"set the parameter to a folder or to one of: {', '.join(installed) or '(none is installed)'}"
    if not bundle:
        raise BundleError(f"parameter bundle is empty; {choice}")
    for folder in (Path(bundle), models / bundle):
        if folder.is_dir():
            return folder
    raise BundleError(f"no policy bundle {bundle!r}, neither as a folder nor in {models}; {choice}")
