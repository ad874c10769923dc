import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.actions import eef_pose
from cdp.config import ConfigError, from_mapping
from cdp.geometry import matrix_to_rotvec, quat_to_matrix
from cdp_teleop_recorder.shaping import shape_axes
from cdp_teleop_recorder.teleop_config import TeleopConfig
from cdp_teleop_recorder.teleop_core import TeleopCore

MS = 1_000_000
HERE = np.array([0.5, 0.0, 0.25])
DOWN = np.array([1.0, 0.0, 0.0, 0.0])


class Desk:
    """Teleoperation with a perfect arm that follows the target within a period."""

    def __init__(self, **settings):
        self.core = TeleopCore(TeleopConfig(**settings))
        self.ms = 1000
        self.position, self.quat = HERE, DOWN
        self.twist = np.zeros(6)
        self.follows = True

    def press(self, deadman=True, toggle=False):
        self.core.on_buttons(deadman, toggle)

    def tick(self, periods=1, twist=True):
        for _ in range(periods):
            self.ms += 100
            self.core.on_measured_pose(self.ms * MS, self.position, self.quat)
            if twist:
                self.core.on_axes(self.ms * MS, self.twist)
            action = self.core.tick(self.ms * MS)
            if len(action.rows) and self.follows:
                self.position = action.rows[0, :3]
        return action


def test_released_it_sends_keep_alives():
    action = Desk().tick()
    assert (action.rows.shape, action.deadman) == ((0, 10), False)


def test_a_press_starts_at_the_guards_target_else_at_the_measured_pose():
    desk = Desk()
    desk.core.on_guard_target(desk.ms * MS, HERE + np.array([0.0, 0.02, 0.0]), DOWN, 0.03)
    desk.press()
    row = desk.tick().rows[0]
    np.testing.assert_allclose(row[:3], HERE + np.array([0.0, 0.02, 0.0]), atol=1e-12)
    assert row[9] == 0.03
    desk = Desk()
    desk.core.on_measured_width(0.055)
    desk.core.on_guard_target(desk.ms * MS, HERE + np.array([0.0, 0.02, 0.0]), DOWN, 0.03)
    desk.core.on_guard_disengaged()
    desk.press()
    row = desk.tick().rows[0]
    np.testing.assert_allclose(row[:3], HERE, atol=1e-12)
    assert row[9] == 0.055


def test_full_deflection_for_a_second_moves_by_the_scale():
    desk = Desk()
    desk.press()
    desk.tick()
    desk.twist = np.array([0, 1, 0, 0, 0, 0.0])
    action = desk.tick(10)
    np.testing.assert_allclose(action.rows[0, :3], HERE + np.array([0.0, 0.20, 0.0]), atol=1e-9)
    desk.twist = np.array([0, 0, 0, 0, 0, 0.5])
    desk.tick()
    _, rotation, _ = eef_pose(desk.tick().rows[0])
    turn = matrix_to_rotvec(rotation @ quat_to_matrix(DOWN).T)
    np.testing.assert_allclose(turn, [0, 0, 2 * 0.1 * 0.8 * (0.5 - 0.05) / 0.95], atol=1e-9)


def test_an_old_twist_counts_as_zero():
    desk = Desk()
    desk.press()
    desk.twist = np.array([1.0, 0, 0, 0, 0, 0])
    desk.tick(2)
    moved = desk.tick(3, twist=False).rows[0, :3]
    np.testing.assert_allclose(desk.tick(5, twist=False).rows[0, :3], moved)


def test_the_target_does_not_run_away_from_a_stuck_arm_and_comes_back_at_once():
    desk = Desk()
    desk.follows = False
    desk.press()
    desk.twist = np.array([1.0, 0.3, 0, 0, 0, 1.0])
    row = desk.tick(40).rows[0]
    assert np.linalg.norm(row[:3] - HERE) == pytest.approx(0.08, abs=1e-9)
    _, rotation, _ = eef_pose(row)
    assert np.linalg.norm(matrix_to_rotvec(rotation @ quat_to_matrix(DOWN).T)) == pytest.approx(0.4, abs=1e-9)
    desk.twist = -desk.twist
    assert np.linalg.norm(desk.tick().rows[0, :3] - HERE) < 0.065


def test_the_target_stays_in_the_box_and_above_a_table_at_zero():
    desk = Desk(workspace_z_m=(-0.5, 0.6), table_z_m=0.0)
    desk.press()
    desk.twist = np.array([0, 0, -1.0, 0, 0, 0])
    assert desk.tick(40).rows[0, 2] == 0.0


def test_each_press_of_the_second_button_toggles_the_gripper_once():
    desk = Desk()
    desk.core.on_measured_width(0.078)
    desk.press()
    assert desk.tick().rows[0, 9] == 0.078
    desk.press(toggle=True)
    desk.press(toggle=True)
    assert desk.tick(3).rows[0, 9] == 0.0
    desk.press(toggle=False)
    desk.press(toggle=True)
    assert desk.tick().rows[0, 9] == 0.08


def test_without_a_measured_pose_the_deadman_has_no_effect_and_says_so():
    core = TeleopCore(TeleopConfig())
    core.on_buttons(True, False)
    action = core.tick(1000 * MS)
    assert (len(action.rows), action.deadman) == (0, False)
    assert "no measured pose" in action.problem


def test_time_going_back_starts_anew():
    desk = Desk()
    desk.press()
    desk.twist = np.array([1.0, 0, 0, 0, 0, 0])
    desk.tick(5)
    desk.ms = 100
    action = desk.core.tick(desk.ms * MS)
    assert not action.deadman  # no state of the new time yet
    desk.twist = np.zeros(6)
    desk.position = HERE
    np.testing.assert_allclose(desk.tick().rows[0, :3], HERE)


@pytest.mark.parametrize("axis", [-2.0, -1.0, -0.05, 0.0, 0.02, 0.05, 1.0, 7.0, np.nan, np.inf])
def test_axes_are_bounded_and_the_dead_zone_is_dead(axis):
    shaped = shape_axes([axis], 0.05)[0]
    if not np.isfinite(axis) or abs(axis) <= 0.05:
        assert shaped == 0.0
    else:
        assert shaped == pytest.approx(np.sign(axis) * min(1.0, (abs(axis) - 0.05) / 0.95))


axis = st.floats(-1, 1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.tuples(*[axis] * 6), st.booleans(), st.booleans()), min_size=1, max_size=25))
def test_whatever_the_hand_does_targets_move_no_faster_than_the_scales(moves):
    desk = Desk()
    before = None
    for twist, deadman, follows in moves:
        desk.twist, desk.follows = np.array(twist), follows
        desk.press(deadman)
        action = desk.tick()
        assert action.deadman == deadman
        if not deadman:
            before = None
            continue
        row = action.rows[0]
        start = desk.position if before is None else before
        assert np.linalg.norm(row[:3] - start) <= 0.1 * 0.20 * np.sqrt(3) + 1e-9
        assert desk.core.config.box.violation(row[:3], 1e-12) is None
        before = row[:3]


@pytest.mark.parametrize(
    ("key", "value"), [("closed_width_m", 0.1), ("workspace_x_m", [0.7, 0.2]), ("linear_scale_m_s", 5.0), ("twist_timeout_s", 0.0)]
)
def test_a_bad_setting_is_refused_by_name(key, value):
    with pytest.raises(ConfigError, match=key.split("_")[0]):
        from_mapping(TeleopConfig, {key: value})
