"""Properties of the way from a deflection to a velocity; each test names the mistake it catches."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cdp.config import ConfigError, from_mapping
from cdp.geometry import rotvec_to_matrix
from cdp_teleop_recorder.devices.base import AXES
from cdp_teleop_recorder.shaping import Shaping, map_matrix, shape_axes
from cdp_teleop_recorder.teleop_config import TeleopConfig

deflections = arrays(np.float64, 6, elements=st.floats(-1, 1))
zones = st.floats(0.0, 0.5)
rotations = arrays(np.float64, 3, elements=st.floats(-3, 3)).map(rotvec_to_matrix)
maps = st.permutations(AXES).flatmap(lambda order: st.tuples(*[st.sampled_from(["+" + a, "-" + a, "0"]) for a in order]))
EYE = np.eye(3)


@given(st.floats(-1, 1), st.floats(-1, 1), zones)
def test_the_dead_zone_keeps_order_sign_and_ends_and_is_continuous(a, b, zone):
    """A zone cut out without stretching jumps at its edge; one stretched wrongly never reaches full speed."""
    shaped = shape_axes([a, b, -a, 1.0, -1.0, zone], zone)
    assert (shaped[0] <= shaped[1]) or a > b
    assert shaped[2] == -shaped[0]
    assert (shaped[3], shaped[4], shaped[5]) == (1.0, -1.0, 0.0)
    assert abs(shaped[0] - shaped[1]) <= abs(a - b) / (1.0 - zone) + 1e-12
    assert shaped[0] == 0.0 or abs(a) > zone


@given(deflections, maps, st.tuples(*[st.floats(0, 1)] * 6), zones)
def test_no_deflection_is_faster_than_the_settings_say(axes, axis_map, scale, zone):
    """A scale applied before the map would give an axis its neighbour's limit."""
    config = TeleopConfig(axis_map=axis_map, axis_scale=scale, dead_zone=zone)
    linear, angular = Shaping(config).velocity(axes, EYE)
    assert np.all(np.abs(linear) <= config.linear_scale_m_s * np.array(scale[:3]) + 1e-12)
    assert np.all(np.abs(angular) <= config.angular_scale_rad_s * np.array(scale[3:]) + 1e-12)


@given(deflections, maps)
def test_each_axis_follows_the_one_that_the_map_names_with_its_sign(axes, axis_map):
    linear, angular = Shaping(TeleopConfig(axis_map=axis_map, dead_zone=0.0, linear_scale_m_s=0.5, angular_scale_rad_s=2.0)).velocity(axes, EYE)
    moved = np.concatenate([linear / 0.5, angular / 2.0])
    for value, name in zip(moved, axis_map, strict=True):
        expected = 0.0 if name == "0" else (1 if name[0] == "+" else -1) * axes[AXES.index(name[1:])]
        assert value == pytest.approx(expected)


@given(maps)
def test_a_map_of_all_axes_can_be_undone(axis_map):
    """Whatever is no permutation with signs loses or doubles an axis."""
    matrix = map_matrix(axis_map)
    used = [name != "0" for name in axis_map]
    np.testing.assert_array_equal(matrix @ matrix.T, np.diag(np.array(used, dtype=float)))


@given(deflections, rotations)
def test_in_the_tools_frame_the_same_hand_moves_along_the_tools_axes(axes, tool):
    """The transposed rotation, or one applied to half of the twist, passes at the identity and fails here."""
    base = Shaping(TeleopConfig()).velocity(axes, tool)
    in_tool = Shaping(TeleopConfig(frame="tool")).velocity(axes, tool)
    for a, b in zip(base, in_tool, strict=True):
        np.testing.assert_allclose(tool.T @ b, a, atol=1e-12)
        assert np.linalg.norm(a) == pytest.approx(np.linalg.norm(b))


def test_with_the_gripper_down_forward_in_the_tools_frame_is_forward_and_its_z_is_down():
    down = np.diag([1.0, -1.0, -1.0])
    shaping = Shaping(TeleopConfig(frame="tool", dead_zone=0.0))
    np.testing.assert_allclose(shaping.velocity([1, 0, 0, 0, 0, 0], down)[0], [0.2, 0, 0])
    np.testing.assert_allclose(shaping.velocity([0, 0, 1, 0, 0, 0], down)[0], [0, 0, -0.2])


@pytest.mark.parametrize("axis_map", [["+x"] * 6, ["+x", "-x", "0", "0", "0", "0"], ["x", "+y", "+z", "+rx", "+ry", "+rz"], ["+x", "+y"]])
def test_a_bad_map_is_refused(axis_map):
    with pytest.raises(ConfigError, match="axis_map"):
        from_mapping(TeleopConfig, {"axis_map": axis_map})


def test_every_choice_of_one_axis_is_allowed():
    for sign, name in itertools.product("+-", AXES):
        assert from_mapping(TeleopConfig, {"axis_map": [sign + name, "0", "0", "0", "0", "0"]}).axis_map[0] == sign + name
