"""The hand-eye calibration on rendered pictures: a camera that MuJoCo placed, hand poses by our kinematics of MuJoCo's joints.

Caught by this: another convention of the optical frame, a pixel's corner for its centre, a print that is mirrored, a hand that is not fr3_hand_tcp.
"""

import cv2
import mujoco
import numpy as np
import pytest

from cdp.handeye.board import Board
from cdp.handeye.detect import find_corners, usable
from cdp.handeye.lens import Lens
from cdp.handeye.overlay import Overlay
from cdp.handeye.pose import Pose
from cdp.handeye.reprojection import View
from cdp.handeye.solve import solve
from cdp_franka.kinematics import READY_RAD, forward
from cdp_franka_sim import scene
from cdp_franka_sim.camera import AgentCamera, Intrinsics
from cdp_franka_sim.config import SimConfig

SIZE, FINER = (640, 480), 2
BOARD = Board()
FROM_M, TO_M = (1.20, 0.12, 0.80), (0.41, 0.0, 0.50)
# At the arm's ready pose the board hangs in front of the hand and looks along the base's x axis.
READY = Pose(*forward(READY_RAD))
FACING = Pose(READY.position_m + np.array([0.1, -0.126, 0.084]), np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]))
MOUNT = READY.inverse() @ FACING


def model(print_file):
    """The scene with the board's print at the hand and the camera elsewhere."""
    spec = scene.build_spec(SimConfig())
    camera = spec.camera(scene.CAMERA)
    camera.pos, camera.quat = FROM_M, scene.look_at_quat(FROM_M, TO_M)
    spec.visual.global_.offwidth, spec.visual.global_.offheight = FINER * SIZE[0], FINER * SIZE[1]
    width, height = BOARD.size_m
    in_hand = (Pose(np.array([0.0, 0.0, scene.HAND_TO_TCP_M]), np.eye(3)) @ MOUNT).points(
        np.array([[0, 0, 0], [width, 0, 0], [width, height, 0], [0, height, 0]])
    )
    # A millimetre behind the print, so that the mesh has a volume; its texture is the print seen through.
    back = in_hand + 0.001 * (Pose(np.zeros(3), MOUNT.rotation).points(np.array([0.0, 0.0, 1.0])))
    spec.add_texture(name="print", type=mujoco.mjtTexture.mjTEXTURE_2D, file=str(print_file))
    material = spec.add_material(name="print", specular=0.0, shininess=0.0)
    textures = list(material.textures)
    textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "print"
    material.textures = textures
    corners = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
    faces = [[0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7], [0, 1, 5], [0, 5, 4], [1, 2, 6], [1, 6, 5], [2, 3, 7], [2, 7, 6], [3, 0, 4], [3, 4, 7]]
    spec.add_mesh(
        name="board",
        uservert=np.concatenate([in_hand, back]).ravel(),
        userface=np.ravel(faces),
        usertexcoord=np.ravel(corners + corners),
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
    )
    spec.body("hand").add_geom(
        name="board", type=mujoco.mjtGeom.mjGEOM_MESH, meshname="board", material="print", contype=0, conaffinity=0, mass=0.0, group=0
    )
    return spec.compile()


def poses(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield np.array(READY_RAD) + rng.uniform(-1, 1, 7) * [0.1, 0.05, 0.1, 0.05, 0.3, 0.35, 0.3]


def test_the_rendered_camera_is_found(tmp_path):
    print_file = tmp_path / "print.png"
    cv2.imwrite(str(print_file), BOARD.pattern.generateImage((BOARD.columns * 100, BOARD.rows * 100)))
    camera = AgentCamera(model(print_file), FINER * SIZE[0], FINER * SIZE[1])
    intrinsics = Intrinsics.from_fovy(*SIZE, scene.CAMERA_FOVY_DEG)
    lens = Lens(*SIZE, intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy)
    views = []
    try:
        for k, joints in enumerate(poses(14)):
            picture = cv2.resize(camera.render(np.concatenate([joints, [0.02, 0.02]])), SIZE, interpolation=cv2.INTER_AREA)
            view = View(f"view_{k:02d}", Pose(*forward(joints)), find_corners(picture, BOARD))
            if usable(view.corners, BOARD):
                views.append(view)
        true = Pose(*camera.pose())
    finally:
        camera.close()
    found = solve(views, BOARD, lens)
    change = true.change_to(found.fit.camera)
    assert len(views) >= 10 and found.left_out == ()
    assert np.linalg.norm(change[:3]) < 0.002 and np.degrees(np.linalg.norm(change[3:])) < 0.15
    np.testing.assert_allclose(found.fit.mount.position_m, MOUNT.position_m, atol=0.002)
    assert found.rms_px < 0.5 and found.free.scale == pytest.approx(1.0, abs=0.01)
    overlay = Overlay(picture, lens, found.fit.camera)
    overlay.axes(Pose(np.zeros(3), np.eye(3)), 0.15, "fr3_link0")
    overlay.axes(views[-1].hand @ found.fit.mount, 0.084, "board")
    overlay.axes(views[-1].hand, 0.08, "fr3_hand_tcp")
    overlay.corners(views[-1].corners, BOARD, views[-1].hand @ found.fit.mount)
    overlay.write(tmp_path / "overlay.png")
