"""The camera check on rendered pictures: a turn of the camera about its own centre moves the picture by f tan(angle), whatever the scene.

Caught by this: a wrong sign or scale, light or a moved arm or object taken for motion, motion taken for light or a moved arm.
"""

import cv2
import mujoco
import numpy as np
import pytest

from cdp.camera.motion import find_motion
from cdp_franka_sim import scene

HALF = (320, 240)


@pytest.fixture(scope="module")
def shoot(sim):
    """Renders at half the camera's size: seed of the scene, degrees of pan (left), tilt (up) and roll (clockwise from behind), light, arm away."""
    camera = sim.make_camera()
    model, index = sim.model, int(sim.model.camera(scene.CAMERA).id)
    quat, light = model.cam_quat[index].copy(), model.light_diffuse.copy()
    place, direction = model.light_pos.copy(), model.light_dir.copy()

    def shot(seed=0, pan=0.0, tilt=0.0, roll=0.0, brightness=1.0, lamp_moved=False, arm_away=False):
        sim.reset(seed)
        positions = sim.positions().copy()
        if arm_away:
            positions[0] += 0.5
            positions[1] += 0.35
        # The camera's axes: x right, y up, z backwards.
        for axis, degrees in (((0.0, 1.0, 0.0), pan), ((1.0, 0.0, 0.0), tilt), ((0.0, 0.0, 1.0), -roll)):
            turn, turned = np.zeros(4), np.zeros(4)
            mujoco.mju_axisAngle2Quat(turn, np.array(axis), np.deg2rad(degrees))
            mujoco.mju_mulQuat(turned, model.cam_quat[index], turn)
            model.cam_quat[index] = turned
        model.light_diffuse[:] = brightness * light
        if lamp_moved:
            model.light_pos[0], model.light_dir[0] = [0.2, -1.2, 1.2], [0.2, 0.7, -0.6]
        try:
            return cv2.resize(camera.render(positions), HALF, interpolation=cv2.INTER_AREA)
        finally:
            model.cam_quat[index], model.light_diffuse[:] = quat, light
            model.light_pos[:], model.light_dir[:] = place, direction

    yield shot
    camera.close()


@pytest.fixture(scope="module")
def focal_px(sim):
    camera = sim.make_camera()
    focal = 0.5 * camera.intrinsics.fx
    camera.close()
    return focal


@pytest.mark.parametrize(
    ("pan", "tilt"), [(1.0, 0.0), (-0.3, 0.5), pytest.param(3.0, 0.0, marks=pytest.mark.long), pytest.param(0.0, -2.0, marks=pytest.mark.long)]
)
def test_a_turned_camera_shifts_the_picture_by_f_tan(shoot, focal_px, pan, tilt):
    motion = find_motion(shoot(), shoot(pan=pan, tilt=tilt))
    expected = focal_px * np.tan(np.radians([pan, tilt]))
    # Exact at the centre; perspective shifts what is y from it by 1 + (y / f)^2 as much, and this scene has its edges far up in the picture.
    beyond = (0.5 * HALF[1] / focal_px) ** 2
    low, high = np.sort([0.98 * expected, (1.0 + beyond) * expected], axis=0)
    assert np.all(motion.shift_px > low - 0.3) and np.all(motion.shift_px < high + 0.3), (motion.shift_px, expected)
    assert motion.scale == pytest.approx(1.0, abs=0.006)


@pytest.mark.parametrize("roll", [2.0, pytest.param(-7.0, marks=pytest.mark.long)])
def test_a_rolled_camera_turns_the_picture_the_other_way(shoot, roll):
    motion = find_motion(shoot(), shoot(roll=roll))
    assert motion.turn_deg == pytest.approx(-roll, abs=0.05)
    np.testing.assert_allclose(motion.shift_px, 0.0, atol=0.25)


@pytest.mark.parametrize(
    "change",
    [
        {"brightness": 0.4},
        {"lamp_moved": True},
        {"seed": 1},
        {"arm_away": True},
        pytest.param({"brightness": 1.6}, marks=pytest.mark.long),
        pytest.param({"seed": 2, "arm_away": True, "brightness": 0.5}, marks=pytest.mark.long),
    ],
)
def test_light_the_arm_and_objects_are_not_the_camera(shoot, change):
    motion = find_motion(shoot(), shoot(**change))
    assert motion.most_px < 0.3 and motion.agreement > 0.95


def test_a_turned_camera_is_found_in_other_light_with_everything_elsewhere(shoot, focal_px):
    motion = find_motion(shoot(), shoot(seed=3, pan=1.0, brightness=0.5, arm_away=True))
    np.testing.assert_allclose(motion.shift_px, [focal_px * np.tan(np.radians(1.0)), 0.0], atol=0.4)
    assert abs(motion.turn_deg) < 0.3
