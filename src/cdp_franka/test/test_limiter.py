import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp_franka.limiter import Bounds, brake, keep_in_box, next_velocity, stopping_point

BOUNDS = Bounds(speed=0.25, acceleration=1.5)
LOW, HIGH = np.array([0.25, -0.4, 0.005]), np.array([0.75, 0.4, 0.6])
DT = 0.01


def run(reference, seconds, start=(0.5, 0.0, 0.2), dt=DT):
    """Positions (N, 3) and velocities (N, 3) of a motion that follows ``reference(t)``, a function to (3,)."""
    p, v, ps, vs = np.array(start), np.zeros(3), [], []
    for k in range(1, round(seconds / dt) + 1):
        now, before = reference(k * dt), reference((k - 1) * dt)
        wanted = next_velocity(before - p, (now - before) / dt, v, BOUNDS, dt)
        v = keep_in_box(p, v, wanted, LOW, HIGH, BOUNDS, dt)
        p = p + v * dt
        ps.append(p)
        vs.append(v)
    return np.array(ps), np.array(vs)


def test_a_step_of_the_reference_is_reached_at_the_time_of_a_trapezoid_without_overshoot():
    goal = np.array([0.7, 0.0, 0.2])
    positions, velocities = run(lambda t: goal, 2.0)
    assert np.max(positions[:, 0]) <= 0.7 + 1e-9
    arrival_s = DT * (1 + int(np.argmax(positions[:, 0] > 0.699)))
    # distance / speed + speed / acceleration, less the last millimetre of the approach
    assert arrival_s == pytest.approx(0.2 / 0.25 + 0.25 / 1.5, abs=0.05)
    np.testing.assert_allclose(velocities[-1], 0.0, atol=1e-9)


def test_a_reference_within_the_bounds_is_followed_without_lag():
    def circle(t):
        return np.array([0.5, 0.0, 0.3]) + 0.1 * np.array([np.cos(1.5 * t) - 1, np.sin(1.5 * t), 0])

    positions, _ = run(circle, 3.0, start=(0.5, 0.0, 0.3))
    ideal = np.array([circle(DT * (k + 1)) for k in range(len(positions))])
    # 0.1 * 1.5^2 = 0.225 m/s^2 and 0.15 m/s are within the bounds; only the start from rest costs.
    assert np.max(np.linalg.norm(positions - ideal, axis=1)[50:]) < 1e-6


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(*[st.floats(-3, 3, allow_nan=False)] * 3), min_size=1, max_size=12),
    st.lists(st.floats(1e-4, 0.05), min_size=30, max_size=60),
)
def test_bounds_and_box_hold_for_any_reference_and_any_step_lengths(references, steps):
    p, v = np.array([0.5, 0.0, 0.01]), np.zeros(3)
    for k, dt in enumerate(steps):
        now, before = np.array(references[k % len(references)]), np.array(references[(k - 1) % len(references)])
        wanted = next_velocity(before - p, (now - before) / dt, v, BOUNDS, dt)
        new = keep_in_box(p, v, wanted, LOW, HIGH, BOUNDS, dt)
        assert np.linalg.norm(new) <= BOUNDS.speed * (1 + 1e-9)
        assert np.linalg.norm(new - v) <= BOUNDS.acceleration * dt * (1 + 1e-9)
        p, v = p + new * dt, new
        stop = stopping_point(p, v, BOUNDS)
        for point in (p, stop):
            assert np.all(point >= LOW - 1e-9)
            assert np.all(point <= HIGH + 1e-9)


def test_braking_ends_at_rest():
    v = np.array([0.2, -0.1, 0.05])
    for _ in range(20):
        v = brake(v, BOUNDS, DT)
    np.testing.assert_array_equal(v, 0.0)
