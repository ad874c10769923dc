import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruckig import ControlInterface, InputParameter, Ruckig, Trajectory

from cdp_franka.limiter import JerkLimited, longest_travel
from cdp_franka.limiter_bounds import AxisBounds, Bounds, Reference, clip_length, direction, split
from cdp_franka.stopping import along, reach, stop_phases

BOUNDS = Bounds(speed=0.25, acceleration=1.5, jerk=50.0)
LOW, HIGH = np.array([0.25, -0.4, 0.005]), np.array([0.75, 0.4, 0.6])
DT = 0.01
STATES = st.tuples(st.floats(-0.5, 0.5), st.floats(-2, 2))


def motion(start):
    return JerkLimited(list(start), LOW.tolist(), HIGH.tolist())


def reference(function, t):
    """Position, velocity and acceleration of ``function`` by central differences."""
    h = 1e-4
    p, before, after = function(t), function(t - h), function(t + h)
    return Reference(p.tolist(), ((after - before) / (2 * h)).tolist(), ((after - 2 * p + before) / h**2).tolist())


def run(function, seconds, start=(0.5, 0.0, 0.2), dt=DT):
    """Positions, velocities and accelerations (N, 3) of a motion that follows ``function(t)``, a function to (3,)."""
    moving, out = motion(start), []
    for k in range(1, round(seconds / dt) + 1):
        moving.follow_vector(reference(function, k * dt), BOUNDS, dt)
        out.append((moving.position, moving.velocity, moving.acceleration))
    return np.moveaxis(np.array(out), 1, 0)


def divided(positions, steps):
    """Velocity, acceleration and jerk of positions (N, 3) at times a step (N - 1,) apart: divided differences times 1, 2 and 6."""
    times, found = np.concatenate([[0.0], np.cumsum(steps)]), []
    values, factor = np.asarray(positions), 1.0
    for order in (1, 2, 3):
        factor *= order
        values = (values[1:] - values[:-1]) / (times[order:] - times[:-order])[:, None]
        found.append(values * factor)
    return found


@settings(max_examples=200, deadline=None)
@given(STATES, st.floats(0.2, 5.0), st.floats(5.0, 200.0))
def test_the_stop_is_the_time_optimal_one(state, most, jerk):
    """Oracle: Ruckig's velocity interface. Catches a wrong peak, hold or sign."""
    v, a = state[0], max(-most, min(most, state[1]))
    phases = stop_phases(v, a, most, jerk)
    given_, trajectory = InputParameter(1), Trajectory(1)
    given_.control_interface = ControlInterface.Velocity
    given_.current_position, given_.current_velocity, given_.current_acceleration = [0.0], [v], [a]
    given_.target_velocity, given_.target_acceleration = [0.0], [0.0]
    given_.max_acceleration, given_.max_jerk = [most], [jerk]
    Ruckig(1).calculate(given_, trajectory)
    assert sum(seconds for seconds, _ in phases) == pytest.approx(trajectory.duration, abs=1e-7)
    end = along((0.0, v, a), phases, 100.0)
    assert end[1:] == (0.0, 0.0)
    assert end[0] == pytest.approx(trajectory.at_time(trajectory.duration)[0][0], abs=1e-7)
    low, high = reach((0.0, v, a), phases)
    extremes = trajectory.position_extrema[0]
    assert (low, high) == pytest.approx((extremes.min, extremes.max), abs=1e-7)


@settings(max_examples=200, deadline=None)
@given(STATES, st.floats(0.2, 5.0), st.floats(5.0, 200.0), st.floats(0, 1))
def test_a_stop_that_has_begun_goes_on_as_the_same_stop(state, most, jerk, share):
    start = (0.1, state[0], max(-most, min(most, state[1])))
    phases = stop_phases(*start[1:], most, jerk)
    seconds = share * sum(s for s, _ in phases)
    later = along(start, phases, seconds)
    again = stop_phases(*later[1:], max(most, abs(later[2])), jerk)
    assert along(later, again, 100.0)[0] == pytest.approx(along(start, phases, 100.0)[0], abs=1e-7)


@settings(max_examples=500, deadline=None)
@given(STATES, st.floats(1e-3, 5.0), st.floats(1.0, 5000.0))
def test_no_stop_goes_further_than_the_bound_that_spares_a_look_at_it(state, most, jerk):
    """Catches a bound that forgets a phase: the one of constant acceleration, or those at the jerk's limit."""
    start = (0.0, state[0], max(-most, min(most, state[1])))
    left = start[1] + start[2] * abs(start[2]) / (2.0 * jerk)
    low, high = reach(start, stop_phases(*start[1:], most, jerk))
    assert max(-low, high) <= longest_travel(max(abs(start[1]), abs(left)), start[2], most, jerk) + 1e-12


def test_the_bound_on_a_stop_is_not_far_off_for_a_long_one():
    """Catches a bound so wide that it never spares a look: v^2 / (2 a) is the stop, and twice of it the bound."""
    assert longest_travel(10.0, 0.0, 1.0, 1e6) == pytest.approx(100.0, rel=2e-3)
    assert longest_travel(0.0, 0.0, 0.0, 1.0) == 0.0
    assert longest_travel(1.0, 0.0, 0.0, 1.0) == math.inf


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(*[st.floats(-2, 2)] * 3), min_size=1, max_size=8), st.lists(st.floats(1e-3, 0.05), min_size=20, max_size=40))
def test_what_is_spared_changes_nothing(references, steps):
    """The same bits with walls that are looked at always: by a bound that is never low enough, and with no range where the check is spared."""
    axes = AxisBounds([0.5, 1.0, 2.0], [2.0, 4.0, 6.0], [100.0, 300.0, 500.0])
    spared, looked = (
        (motion((0.5, 0.0, 0.1)), JerkLimited([0.0] * 3, [-1.0] * 3, [1.0] * 3)),
        (motion((0.5, 0.0, 0.1)), JerkLimited([0.0] * 3, [-1.0] * 3, [1.0] * 3)),
    )
    for vector, separate in (spared, looked):
        with pytest.MonkeyPatch.context() as patch:
            if vector is looked[0]:
                patch.setattr("cdp_franka.limiter.longest_travel", lambda *_: math.inf)
            for k, dt in enumerate(steps):
                wish = references[k % len(references)]
                vector.follow_vector(Reference(np.clip(wish, LOW, HIGH).tolist(), [0.1, -0.1, 0.0], [0.0] * 3), BOUNDS, dt)
                free = [(-0.5, 0.5)] * 3
                separate.follow_axes(Reference(np.clip(wish, -1, 1).tolist(), [0.0] * 3, [0.0] * 3), axes, dt, lambda i, state, phases: True, free)
    for one, other in zip(spared, looked, strict=True):
        assert (one.position, one.velocity, one.acceleration) == (other.position, other.velocity, other.acceleration)


def test_shares_of_a_bound_fit_into_it_and_give_each_axis_what_it_needs():
    wish = direction([1.0, 0.0, 0.0], 0.1)
    assert math.hypot(*wish) == pytest.approx(1.0)
    assert split(2.0, [0.0, 0.0, 0.0], wish) == pytest.approx([2.0 * w for w in wish])
    shares = split(2.0, [0.0, 1.9, 0.0], wish)
    assert math.hypot(*shares) == pytest.approx(2.0)
    assert shares[1] == 1.9
    assert direction([0.0, 0.0, 0.0], 0.1) == pytest.approx([3**-0.5] * 3)
    assert clip_length([3.0, 4.0, 0.0], 1.0) == pytest.approx([0.6, 0.8, 0.0])


def test_a_step_of_the_reference_is_reached_at_the_time_of_an_s_curve_without_overshoot():
    goal = np.array([0.7, 0.1, 0.25])
    positions, velocities, _ = run(lambda t: goal, 2.0)
    gap = np.linalg.norm(goal - [0.5, 0.0, 0.2])
    assert np.max(positions - goal) <= 1e-4
    arrival_s = DT * (1 + int(np.argmax(np.linalg.norm(positions - goal, axis=1) < 1e-3)))
    # distance / speed + speed / acceleration + acceleration / jerk, less the last millimetre of the approach
    assert arrival_s == pytest.approx(gap / 0.25 + 0.25 / 1.5 + 1.5 / 50, abs=0.06)
    np.testing.assert_allclose(velocities[-1], 0.0, atol=1e-9)
    np.testing.assert_allclose(positions[-1], goal, atol=1e-9)


@pytest.mark.parametrize("dt", [0.01, 0.002, 0.001])
def test_a_reference_within_the_bounds_is_followed_without_lag(dt):
    def circle(t):
        return np.array([0.5, 0.0, 0.3]) + 0.1 * np.array([np.cos(1.5 * t) - 1, np.sin(1.5 * t), 0])

    positions, _, _ = run(circle, 2.0, start=(0.5, 0.0, 0.3), dt=dt)
    ideal = np.array([circle(dt * (k + 1)) for k in range(len(positions))])
    # 0.1 * 1.5^2 = 0.225 m/s^2 and 0.15 m/s are within the bounds; only the start from rest costs.
    assert np.max(np.linalg.norm(positions - ideal, axis=1)[round(0.5 / dt) :]) < 1e-6


def test_a_wall_is_reached_at_once_and_not_passed():
    """Catches a stop so careful that the motion creeps up to the wall in several starts."""
    moving = motion((0.5, 0.0, 0.1))
    heights = []
    for _ in range(80):
        moving.follow_vector(Reference([0.5, 0.0, 0.005], [0.0] * 3, [0.0] * 3), BOUNDS, DT)
        heights.append(moving.position[2])
    assert min(heights) >= 0.005 - 1e-9
    assert heights[-1] == pytest.approx(0.005, abs=1e-7)
    assert DT * int(np.argmax(np.array(heights) < 0.006)) < 0.095 / 0.25 + 0.25 / 1.5 + 1.5 / 50


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(*[st.floats(-3, 3, allow_nan=False)] * 3), min_size=1, max_size=12),
    st.lists(st.tuples(*[st.floats(-1, 1, allow_nan=False)] * 3), min_size=1, max_size=5),
    st.lists(st.floats(1e-3, 0.05), min_size=30, max_size=60),
    st.sets(st.integers(0, 60)),
)
def test_bounds_and_box_hold_for_any_reference_and_any_step_lengths(references, velocities, steps, stops):
    """Catches a proposal that is taken without its stop, and a stop under other bounds than it was found safe with."""
    moving = motion((0.5, 0.0, 0.01))
    positions = [moving.position]
    for k, dt in enumerate(steps):
        if k in stops:
            moving.stop(dt)
        else:
            inside = np.clip(references[k % len(references)], LOW, HIGH).tolist()
            v = list(velocities[k % len(velocities)])
            moving.follow_vector(Reference(inside, v, [10 * x for x in reversed(v)]), BOUNDS, dt)
        positions.append(moving.position)
        assert math.hypot(*moving.velocity) <= BOUNDS.speed * (1 + 1e-6)
        assert math.hypot(*moving.acceleration) <= BOUNDS.acceleration * (1 + 1e-6)
    for _ in range(100):
        moving.stop(DT)
        positions.append(moving.position)
    assert not any(moving.velocity)
    steps = [*steps, *[DT] * 100]
    assert np.all(np.array(positions) >= LOW - 2e-9)
    assert np.all(np.array(positions) <= HIGH + 2e-9)
    for values, bound in zip(divided(positions, steps), (BOUNDS.speed, BOUNDS.acceleration, BOUNDS.jerk), strict=True):
        # Rounding of positions of 1 m in the third difference of a millisecond: 1e-16 / 1e-9.
        assert np.max(np.linalg.norm(values, axis=1)) <= bound * (1 + 1e-5)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.floats(-4, 4)] * 3), min_size=1, max_size=8), st.lists(st.floats(1e-3, 0.05), min_size=20, max_size=60))
def test_separate_axes_each_keep_their_own_bounds(references, steps):
    axes = AxisBounds([0.5, 1.0, 2.0], [2.0, 4.0, 6.0], [100.0, 300.0, 500.0])
    moving = JerkLimited([0.0] * 3, [-1.0] * 3, [1.0] * 3)
    positions = [moving.position]
    for k, dt in enumerate(steps):
        target = np.clip(references[k % len(references)], -1, 1).tolist()
        moving.follow_axes(Reference(target, [0.3, -2.0, 1.0], [0.0] * 3), axes, dt, lambda i, state, phases: True)
        positions.append(moving.position)
    assert np.max(np.abs(positions)) <= 1 + 2e-9
    for values, bound in zip(divided(positions, steps), (axes.speed, axes.acceleration, axes.jerk), strict=True):
        assert np.all(np.abs(values) <= np.array(bound) * (1 + 1e-5))


def test_the_jerk_is_bounded_where_the_reference_jumps_at_every_tick():
    rng = np.random.default_rng(0)
    targets = rng.uniform(LOW, HIGH, (400, 3))
    moving, positions = motion((0.5, 0.0, 0.3)), []
    for target in targets:
        moving.follow_vector(Reference(target.tolist(), rng.uniform(-0.3, 0.3, 3).tolist(), [0.0] * 3), BOUNDS, DT)
        positions.append(moving.position)
    changes = np.diff([v for v in divided(positions, [DT] * 399)[1]], axis=0)
    assert np.max(np.linalg.norm(changes, axis=1)) <= BOUNDS.jerk * DT * 1.01
    assert all(a != b for a, b in itertools.pairwise(positions))
