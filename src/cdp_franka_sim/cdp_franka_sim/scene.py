"""The scene that every task shares: FR3 with hand on a table, a camera, light. World frame = fr3_link0, table top at z = 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from cdp.geometry import matrix_to_quat
from cdp_franka_sim import assets
from cdp_franka_sim.config import SimConfig

ARM_JOINTS = tuple(f"fr3_joint{i}" for i in range(1, 8))
FINGER_JOINTS = ("fr3_finger_joint1", "fr3_finger_joint2")
EEF_SITE = "fr3_hand_tcp"
CAMERA = "agentview"
CAMERA_FRAME = "agentview_optical_frame"

# fr3_hand_tcp: between the fingertips, this far from the hand's frame along its z [m].
HAND_TO_TCP_M = 0.1034
# The rubber-tipped end of a finger, in the finger's frame [m].
FINGER_BOX_CENTRE_M = (0.0, 0.0075, 0.033)
FINGER_BOX_HALF_M = (0.0095, 0.0075, 0.0205)
# Joint friction left over. The real arm compensates its friction inside the torque interface; the model's full values are before compensation.
RESIDUAL_FRICTION_NM = 0.1
RESIDUAL_DAMPING_NMS_RAD = 0.2

CAMERA_POSITION_M = (1.22, 0.0, 0.62)
CAMERA_TARGET_M = (0.53, 0.0, 0.06)
CAMERA_FOVY_DEG = 37.0

_TABLE_HALF_SIZE_M = (0.55, 0.65, 0.02)
_TABLE_CENTRE_X_M = 0.40


def build_spec(config: SimConfig) -> Any:
    """MjSpec of arm, table, camera and light, with torque motors `fr3_joint1..7` and the finger servo `gripper`. A task adds its objects.

    Raises :class:`cdp_franka_sim.assets.AssetError` when the arm's model is not installed.
    """
    folder = assets.model_directory()
    spec = mujoco.MjSpec.from_file(str(folder / "fr3.xml"))
    _locate_meshes(spec, folder / "meshes", config.camera.mesh_reduction)
    _set_physics(spec, config)
    _set_actuators(spec, config)
    _set_contacts(spec)
    _add_frames(spec)
    add_surroundings(spec, config)
    for key in list(spec.keys):
        spec.delete(key)
    return spec


def add_surroundings(spec: Any, config: SimConfig) -> None:
    """Add table, floor, camera and light to the MjSpec ``spec`` of any arm that stands at the origin."""
    _add_table(spec)
    _add_camera_and_light(spec, config)


def _locate_meshes(spec: Any, folder: Path, reduction: float) -> None:
    spec.meshdir = ""
    for mesh in spec.meshes:
        source = folder / Path(mesh.file).name
        mesh.file = str(assets.light_mesh(source, reduction) if source.suffix == ".obj" else source)


def _set_physics(spec: Any, config: SimConfig) -> None:
    spec.option.timestep = 1.0 / config.control_rate_hz
    # The friction cone stays MuJoCo's default, pyramidal: with the elliptic one the pushed block chatters along the fingers.
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    for name in ARM_JOINTS:
        joint = spec.joint(name)
        joint.frictionloss = RESIDUAL_FRICTION_NM
        joint.damping = np.array([RESIDUAL_DAMPING_NMS_RAD, 0.0, 0.0])
    for old, new in zip(("finger_joint1", "finger_joint2"), FINGER_JOINTS, strict=True):
        joint = spec.joint(old)
        joint.name = new
        joint.frictionloss = 0.0
        joint.armature = 0.1  # spindle and motor, as seen by a finger
        joint.damping = np.array([1.0, 0.0, 0.0])
    _rename_finger_references(spec)


def _set_contacts(spec: Any) -> None:
    """The arm touches the scene, not itself: pairs of its hulls would take most of the time of a step. A finger is one box: flat, steady contact."""
    for side in ("left_finger", "right_finger"):
        body = spec.body(side)
        for geom in list(body.geoms):
            if geom.group == 3:
                spec.delete(geom)
        body.add_geom(
            name=f"{side}_pad",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=FINGER_BOX_CENTRE_M,
            size=FINGER_BOX_HALF_M,
            group=3,
            mass=0.0,
            friction=[1.0, 0.01, 0.0001],
        )
    for geom in spec.geoms:
        geom.contype, geom.conaffinity = (1, 0) if geom.group == 3 else (0, 0)


def _rename_finger_references(spec: Any) -> None:
    for equality in list(spec.equalities):
        spec.delete(equality)
    spec.add_equality(
        name="fingers",
        type=mujoco.mjtEq.mjEQ_JOINT,
        objtype=mujoco.mjtObj.mjOBJ_JOINT,
        name1=FINGER_JOINTS[0],
        name2=FINGER_JOINTS[1],
        data=[0.0, 1.0] + [0.0] * 10,
        solref=[0.005, 1.0],
    )
    for tendon in list(spec.tendons):
        spec.delete(tendon)
    tendon = spec.add_tendon(name="width")
    for name in FINGER_JOINTS:
        tendon.wrap_joint(name, 1.0)


def _set_actuators(spec: Any, config: SimConfig) -> None:
    for actuator in list(spec.actuators):
        spec.delete(actuator)
    for name in ARM_JOINTS:
        motor = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        motor.set_to_motor()
    servo = spec.add_actuator(name="gripper", target="width", trntype=mujoco.mjtTrn.mjTRN_TENDON)
    servo.set_to_position(kp=config.gripper.stiffness_n_m, kv=config.gripper.damping_ns_m)
    servo.forcelimited = True
    servo.forcerange = [-config.gripper.max_force_n, config.gripper.max_force_n]


def _add_frames(spec: Any) -> None:
    hand = spec.body("hand")
    hand.add_site(name=EEF_SITE, pos=[0.0, 0.0, HAND_TO_TCP_M], group=4)


def _add_table(spec: Any) -> None:
    table = spec.worldbody.add_body(name="table")
    spec.add_material(name="table", rgba=[0.84, 0.80, 0.74, 1.0], specular=0.1, shininess=0.1)
    spec.add_material(name="floor", rgba=[0.50, 0.54, 0.60, 1.0], specular=0.0, shininess=0.0)
    hx, hy, hz = _TABLE_HALF_SIZE_M
    table.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[hx, hy, hz],
        pos=[_TABLE_CENTRE_X_M, 0.0, -hz],
        material="table",
        friction=[0.4, 0.005, 0.0001],
    )
    spec.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[4.0, 4.0, 0.1], pos=[0.0, 0.0, -0.7], material="floor")


def _add_camera_and_light(spec: Any, config: SimConfig) -> None:
    camera = spec.worldbody.add_camera(name=CAMERA, pos=list(CAMERA_POSITION_M), fovy=CAMERA_FOVY_DEG)
    camera.quat = look_at_quat(CAMERA_POSITION_M, CAMERA_TARGET_M)
    spec.worldbody.add_light(
        name="key", pos=[0.9, 0.7, 1.8], dir=[-0.3, -0.4, -1.0], diffuse=[0.48, 0.48, 0.46], specular=[0.1, 0.1, 0.1], castshadow=False
    )
    spec.worldbody.add_light(
        name="fill", pos=[1.2, -1.0, 1.4], dir=[-0.5, 0.6, -1.0], diffuse=[0.18, 0.19, 0.22], specular=[0.05, 0.05, 0.05], castshadow=False
    )
    spec.visual.headlight.ambient = [0.30, 0.30, 0.30]
    spec.visual.headlight.diffuse = [0.16, 0.16, 0.16]
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]
    # Multisampling and shadows cost most of the time of a picture rendered without a GPU.
    spec.visual.quality.offsamples = 0
    spec.visual.global_.offwidth = config.camera.width
    spec.visual.global_.offheight = config.camera.height
    spec.visual.map.znear = 0.02


def look_at_quat(position_m: tuple[float, float, float], target_m: tuple[float, float, float]) -> list[float]:
    """Quaternion wxyz, as MuJoCo wants it, of a camera (x right, y up) at ``position_m`` that looks at ``target_m`` with the horizon level."""
    backward = np.asarray(position_m) - np.asarray(target_m)
    backward /= np.linalg.norm(backward)
    right = np.cross([0.0, 0.0, 1.0], backward)
    right /= np.linalg.norm(right)
    x, y, z, w = matrix_to_quat(np.stack([right, np.cross(backward, right), backward], axis=1))
    return [w, x, y, z]
