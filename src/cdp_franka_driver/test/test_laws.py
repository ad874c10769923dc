"""The path between targets and the two torque laws, as Python: what Numba compiles is the same source."""

import math
from types import SimpleNamespace

import numpy as np
from driver_arm import READY, as_it_is, shape
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.geometry import rotvec_to_matrix
from cdp_franka.kinematics import FLANGE_TO_TCP, forward, jacobian
from cdp_franka.limits import FR3
from cdp_franka.rotation import quat_of, turn_between
from cdp_franka_driver import algebra, cartesian_impedance, joint_impedance, layout
from cdp_franka_driver.config import ControlConfig
from cdp_franka_driver.reference import coast_and_brake, make_duration, make_reference, quintic

MS = 0.001
# About the way that the elbow can go while the hand stays.
ELBOW = np.array([0.3, 0.0, -0.3, 0.0, 0.3, 0.0, 0.0])
small = st.floats(-0.5, 0.5)


@given(small, small, small, small, small, small, st.floats(0.01, 1.0))
def test_a_segment_begins_and_ends_where_it_is_told(x0, v0, a0, x1, v1, a1, duration_s):
    np.testing.assert_allclose(quintic(x0, v0, a0, x1, v1, a1, duration_s, 0.0), (x0, v0, a0), atol=1e-12)
    np.testing.assert_allclose(quintic(x0, v0, a0, x1, v1, a1, duration_s, duration_s), (x1, v1, a1), rtol=1e-6, atol=1e-6 / duration_s**2)


@given(small, st.floats(-2.0, 2.0), st.floats(0.0, 0.1), st.floats(0.5, 8.0))
def test_past_its_end_the_reference_comes_to_rest_where_a_constant_deceleration_does(x1, v1, coast_s, deceleration):
    rest_s = coast_s + abs(v1) / deceleration
    x, v, a = coast_and_brake(x1, v1, coast_s, deceleration, rest_s + 1.0)
    np.testing.assert_allclose(x, x1 + v1 * coast_s + v1 * abs(v1) / (2.0 * deceleration), atol=1e-12)
    assert v == a == 0.0


@given(small, st.floats(-1.0, 1.0), small, st.floats(-1.0, 1.0))
def test_what_cannot_be_reached_in_time_takes_longer(x0, v0, x1, v1):
    duration_s = make_duration(as_it_is)(x0, v0, 0.0, x1, v1, 0.0, 0.02, 2.0, 8.0)
    assert duration_s >= 0.02
    reference = make_reference(as_it_is)
    peak = max(abs(reference(x0, v0, 0.0, x1, v1, 0.0, duration_s, 0.0, 4.0, duration_s * k / 8)[2]) for k in range(1, 8))
    assert peak <= 8.0 or duration_s > 0.02 * 1.25**15


class Loop:
    """The joint law on an arm that is where the reference is."""

    def __init__(self, q=READY):
        self.law, self.p, self.m = joint_impedance.make_law(as_it_is), shape(joint_impedance.PARAMETERS), shape(joint_impedance.MEMORY)
        for name, value in ControlConfig().parameters().items():
            getattr(self.p, name)[:] = value
        self.q, self.time, self.tau, self.path = q.copy(), 5.0, np.zeros(7), []

    def follow(self, q, dq=0.0, ddq=0.0, duration_s=0.02):
        row = layout.joint_target(duration_s, q, np.full(7, dq), np.full(7, ddq))
        row[0] = self.p.target[0] + 1.0
        self.p.target[:] = row

    def run(self, cycles, ideal=True):
        for _ in range(cycles):
            self.time += MS
            self.law(SimpleNamespace(qpos=self.q, qvel=np.zeros(7), mm=np.eye(7), time=self.time), self.p, self.m, self.tau)
            if ideal:
                self.q = self.m.q.copy()
            self.path.append(self.m.q.copy())


def test_control_begins_with_the_arm_where_it_is_and_forgets_targets_from_before():
    loop = Loop()
    loop.follow(READY + 0.5)
    loop.run(50)
    assert np.array_equal(loop.q, READY)
    assert np.array_equal(loop.tau, np.zeros(7))


def test_a_streamed_motion_is_followed_with_the_delay_and_no_more():
    loop, errors = Loop(), []
    loop.run(1)

    def at(t):
        return 0.2 * (1 - math.cos(t)), 0.2 * math.sin(t), 0.2 * math.cos(t)

    for k in range(300):
        x, v, a = at(0.01 * k)
        loop.follow(READY + x, v, a)
        loop.run(10)
        # The delay of 20 ms less the 10 ms that have passed, and the cycle in which the loop takes the target.
        errors.append(abs(loop.q[0] - READY[0] - at(0.01 * k - 0.011)[0]))
    assert max(errors[5:]) < 2e-5


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(st.floats(-0.05, 0.05), st.floats(-0.5, 0.5), st.integers(1, 60)), min_size=1, max_size=12))
def test_whatever_comes_and_when_position_velocity_and_acceleration_are_continuous(steps):
    """A segment that forgot where the last one was in speed or acceleration fails here."""
    loop, q = Loop(), 0.0
    loop.run(3)
    for way, speed, cycles in steps:
        q += way
        loop.follow(READY + q, speed)
        loop.run(cycles)
    loop.run(600)
    path = np.array(loop.path)
    speed = np.diff(path, axis=0) / MS
    assert np.abs(speed).max() < FR3.dq_max_rad_s.min()
    assert np.abs(np.diff(speed, axis=0) / MS).max() < 40.0
    # Targets have stopped: so has the arm.
    assert np.abs(speed[-1]).max() == 0.0


def test_the_joint_law_is_a_spring_a_damper_and_the_inertia_of_the_reference():
    loop = Loop()
    loop.run(1)
    loop.q = READY + 0.01
    loop.run(1, ideal=False)
    np.testing.assert_allclose(loop.tau, -0.01 * np.array(ControlConfig().stiffness_nm_rad), rtol=1e-12)


@given(st.lists(st.floats(-1.0, 1.0), min_size=3, max_size=3), st.lists(st.floats(-1.0, 1.0), min_size=3, max_size=3))
def test_turns_are_those_of_the_rotation_matrices(first, second):
    a, b = rotvec_to_matrix(np.array(first)), rotvec_to_matrix(np.array(second))
    qa, qb, turn, back = np.zeros(4), np.zeros(4), np.zeros(3), np.zeros(4)
    algebra.quaternion(a, qa)
    algebra.quaternion(b, qb)
    np.testing.assert_allclose(np.abs(qa[[1, 2, 3, 0]] @ quat_of(a)), 1.0, atol=1e-9)
    algebra.turn_to(qb, qa, turn)
    np.testing.assert_allclose(turn, turn_between(a, b), atol=1e-6)
    algebra.turned(turn, qa, back)
    np.testing.assert_allclose(abs(back @ qb), 1.0, atol=1e-9)


def inertia():
    root = 0.3 * np.random.default_rng(0).normal(size=(7, 7))
    return root @ root.T + 0.1 * np.eye(7)


def cartesian(q, dq, posture_offset=0.0):
    """The Cartesian law at rest in its first cycle: torques, its memory, and the state that it saw."""
    config = ControlConfig(command_interface="cartesian")
    p, m, tau = shape(cartesian_impedance.PARAMETERS), shape(cartesian_impedance.MEMORY), np.zeros(7)
    for name, value in config.parameters().items():
        getattr(p, name)[:] = value
    position, rotation = forward(q)
    tcp = np.eye(4)
    tcp[:3, :3], tcp[:3, 3] = rotation, position
    flange = tcp @ np.linalg.inv(FLANGE_TO_TCP)
    jac = jacobian(q)
    jac[:3] -= np.cross(jac[3:].T, position - flange[:3, 3]).T
    s = SimpleNamespace(qpos=q, qvel=dq, ee=flange, jac=jac, mm=inertia(), time=1.0)
    law = cartesian_impedance.make_law(as_it_is)
    law(s, p, m, tau)
    m.posture[:] += posture_offset
    law(s, p, m, tau)
    return law, s, p, m, tau


def test_the_tool_centre_point_is_the_one_that_all_topics_mean():
    _, _, _, m, tau = cartesian(READY, np.zeros(7))
    position, rotation = forward(READY)
    np.testing.assert_allclose(m.ee[:3, 3], position, atol=1e-12)
    np.testing.assert_allclose(m.ee[:3, :3], rotation, atol=1e-12)
    np.testing.assert_allclose(m.jac, jacobian(READY), atol=1e-12)
    np.testing.assert_allclose(tau, np.zeros(7), atol=1e-9)


def test_the_posture_does_not_push_at_the_end_effector():
    """A projector that is not dynamically consistent accelerates it."""
    _, s, _, m, tau = cartesian(READY, np.zeros(7), posture_offset=ELBOW)
    pull = ControlConfig().nullspace_stiffness_nm_rad * ELBOW
    pushed = np.linalg.norm(m.jac @ np.linalg.solve(s.mm, pull))
    assert np.abs(tau).max() > 0.1
    assert np.linalg.norm(m.jac @ np.linalg.solve(s.mm, tau)) < 0.02 * pushed


def test_the_cartesian_law_pulls_with_its_stiffness_and_not_beyond_the_leash():
    law, s, p, m, tau = cartesian(READY, np.zeros(7))
    for offset_m, expected_n in ((0.02, 12.0), (0.5, 60.0)):
        m.x[:3] = forward(READY)[0] + np.array([offset_m, 0.0, 0.0])
        law(s, p, m, tau)
        np.testing.assert_allclose(tau, jacobian(READY).T @ np.array([expected_n, 0, 0, 0, 0, 0]), atol=1e-9)


def test_a_pose_target_is_reached_and_held():
    law, s, p, m, tau = cartesian(READY, np.zeros(7))
    position, rotation = forward(READY)
    goal = rotvec_to_matrix(np.array([0.0, 0.1, 0.05])) @ rotation
    x, y, z, w = quat_of(goal)
    row = layout.pose_target(0.02, position + 0.01, [w, x, y, z], np.zeros(3), np.zeros(3))
    row[0] = 1.0
    p.pose[:] = row
    for _ in range(300):
        s.time += MS
        law(s, p, m, tau)
    np.testing.assert_allclose(m.x[:3], position + 0.01, atol=1e-9)
    np.testing.assert_allclose(abs(m.quat[[1, 2, 3, 0]] @ quat_of(goal)), 1.0, atol=1e-9)
    assert np.abs(m.dx).max() == 0.0
