"""What the policy node can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cdp.bundle import BundleError
from cdp.config import setting
from cdp.diffusion.sampler import SOLVERS
from cdp.runtime import RuntimeConfig
from cdp.runtime.config import BACKENDS, INITIAL_NOISES, PRECISIONS

JOINT_NAMES = tuple(f"fr3_joint{i}" for i in range(1, 8))
FINGER_NAMES = ("fr3_finger_joint1", "fr3_finger_joint2")


@dataclass(frozen=True)
class PolicyParameters:
    """Parameters of the node ``cdp_policy``; read when it is configured."""

    bundle: str = setting("", help="policy bundle: a folder, or the name of one in the package's share/models")
    task: str = setting("", help="task that the bundle has to be trained for; empty takes any")
    backend: str = setting("openvino", choices=BACKENDS, help="inference engine: openvino or onnxruntime")
    steps: int = setting(0, low=0, high=100, help="steps of the sampler; 0: as the bundle was measured")
    solver: str = setting("", choices=("", *SOLVERS), help="solver of the sampler: ddim or dpmpp_2m; empty: as the bundle was measured")
    seed: int = setting(0, low=0, high=2**31 - 1, help="seed of the sampler's noise, which starts anew with every activation")
    initial_noise: str = setting("random", choices=INITIAL_NOISES, help="random, or zero for one fixed chunk for each observation")
    temperature: float = setting(1.0, low=0.0, high=2.0, help="standard deviation of the random initial noise; 1: as the policy was trained")
    precision: str = setting("fp32", choices=PRECISIONS, help="fp32, or bf16 with openvino on a CPU that has it")
    threads: int = setting(1, low=1, high=64, help="threads of the inference engine")
    replan_ticks: int = setting(4, low=1, high=64, help="observation ticks from one chunk to the next; less than the chunk's rows")
    image_topic: str = setting("/agentview/image_raw", help="camera image")
    image_transport: str = setting("raw", choices=("raw", "compressed"), help="raw: sensor_msgs/Image, compressed: sensor_msgs/CompressedImage")
    joint_states_topic: str = setting("/joint_states", help="joint positions of the arm [rad]")
    pose_topic: str = setting("/franka_robot_state_broadcaster/current_pose", help="pose of the end effector in base_frame")
    gripper_topic: str = setting("/franka_gripper/joint_states", help="positions of the two fingers [m]")
    joint_names: tuple[str, ...] = setting(JOINT_NAMES, help="the arm's joints in joint_states, base first")
    finger_names: tuple[str, ...] = setting(FINGER_NAMES, help="the finger joints; the opening is the sum of their positions")
    base_frame: str = setting("fr3_link0", help="frame of the pose and of the actions")
    reliable: bool = setting(False, help="subscribe reliably: in simulation only, a sensor on the network must not wait for us")
    image_timeout_s: float = setting(0.5, low=0.05, high=10.0, help="age of the newest image from which the policy stops sending [s]")
    state_timeout_s: float = setting(0.2, low=0.02, high=10.0, help="age of the newest robot state from which the policy stops sending [s]")
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
            precision=self.precision,
        )


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
