"""Replaying without ROS: the way to the start keeps its speeds and ends there, and a known displacement is measured as what it is."""

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.actions import eef_row
from cdp.data.demos import DataError
from cdp.geometry import matrix_to_rot6d, matrix_to_rotvec, quat_to_matrix, rot6d_to_matrix, rotvec_to_matrix
from cdp_teleop_recorder.replay_core import Recording, approach, load_recording, step_at, tracking

MS = 1_000_000
vectors = st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=3).map(np.array)


def row(position, rotvec, width=0.02):
    return np.concatenate([position, matrix_to_rot6d(rotvec_to_matrix(np.asarray(rotvec))), [width]])


@settings(deadline=None)
@given(start=vectors, goal=vectors, turn=vectors, speed=st.floats(0.02, 0.5), rate=st.floats(0.1, 2.0))
def test_the_way_to_the_start_keeps_its_speeds_and_ends_there(start, goal, turn, speed, rate):
    first, last = row(start, np.zeros(3), 0.08), row(goal, turn)
    rows = approach(first, last, 0.1, speed, rate)
    if not len(rows):
        np.testing.assert_allclose(first[:9], last[:9], atol=1e-9)
        return
    np.testing.assert_allclose(rows[-1], last, atol=1e-9)
    steps = np.concatenate([first[None], rows])
    assert np.linalg.norm(np.diff(steps[:, :3], axis=0), axis=-1).max() <= 0.1 * speed * (1 + 1e-6)
    frames = rot6d_to_matrix(steps[:, 3:9])
    turns = np.linalg.norm(matrix_to_rotvec(frames[1:] @ np.swapaxes(frames[:-1], -1, -2)), axis=-1)
    assert turns.max() <= 0.1 * rate * (1 + 1e-6)
    # No slower than it may be: with one row less it would be too fast.
    assert max(np.linalg.norm(goal - start) / speed, np.linalg.norm(turn) / rate) > 0.1 * (len(rows) - 1) * (1 - 1e-6)


def recording(count=20):
    stamps = 7_000 * MS + 100 * MS * np.arange(count)
    positions = np.stack([0.3 + 0.01 * np.arange(count), np.zeros(count), np.full(count, 0.4)], axis=-1)
    quats = np.tile([1.0, 0.0, 0.0, 0.0], (count, 1))
    return Recording("demo_0", eef_row(positions, quats, np.full(count, 0.04)), positions, quats, stamps, 10.0, 0, "slide")


def poses(made, begin_ns, shift_m, half_turn_rad, late_ns=0):
    """What a robot at 100 Hz that follows the recording would report, displaced, turned and late."""
    stamps = begin_ns - 500 * MS + 10 * MS * np.arange(300)
    at = (stamps - begin_ns - late_ns) / (100 * MS)
    positions = np.stack([0.3 + 0.01 * np.clip(at, 0, len(made.rows) - 1), np.zeros(len(at)), np.full(len(at), 0.4)], axis=-1) + shift_m
    quat = [np.cos(half_turn_rad), np.sin(half_turn_rad), 0.0, 0.0]
    return stamps, np.concatenate([positions, np.tile(quat, (len(at), 1))], axis=-1)


def test_a_known_displacement_is_measured():
    made, begin_ns = recording(), 90_003 * MS
    found = tracking(made, begin_ns, *poses(made, begin_ns, np.array([0.0, 0.003, 0.004]), 0.05))
    assert found["rows_compared"] == 20
    assert found["position_error_mm"] == pytest.approx({"rms": 5.0, "max": 5.0, "last": 5.0})
    assert found["rotation_error_rad"] == pytest.approx({"rms": 0.1, "max": 0.1, "last": 0.1})
    # A tenth of a second late at 0.1 m/s is 10 mm; the first row stood still.
    late = tracking(made, begin_ns, *poses(made, begin_ns, np.zeros(3), 0.0, late_ns=100 * MS))["position_error_mm"]
    assert late["max"] == pytest.approx(10.0) and late["rms"] == pytest.approx(10.0 * np.sqrt(19 / 20))


def test_nothing_measured_is_said_so():
    made = recording()
    stamps, seen = poses(made, 0, np.zeros(3), 0.0)
    assert tracking(made, 10**15, stamps, seen) == {"rows_compared": 0}
    assert tracking(made, 0, np.empty(0, np.int64), np.empty((0, 7))) == {"rows_compared": 0}


@given(step=st.integers(0, 500), jitter=st.integers(-49, 49))
def test_a_late_call_keeps_the_phase(step, jitter):
    assert step_at(5 * MS + (100 * step + jitter) * MS, 5 * MS, 0.1) == step


def test_a_recording_is_read_as_it_was_sent(tmp_path):
    made = recording()
    with h5py.File(tmp_path / "d.hdf5", "w") as file:
        demo = file.create_group("data/demo_0")
        file["data"].attrs["rate_hz"] = 10.0
        demo.attrs.update({"num_samples": 20, "seed": 4})
        demo["action_dict/abs_pos"], demo["action_dict/abs_rot_6d"] = made.rows[:, :3], made.rows[:, 3:9]
        demo["action_dict/gripper"] = np.zeros((20, 1))
        demo["obs/robot0_eef_pos"], demo["obs/robot0_eef_quat"], demo["stamp_ns"] = made.positions_m, made.quats, made.stamp_ns
    read = load_recording(tmp_path / "d.hdf5", "demo_0")
    np.testing.assert_allclose(read.rows, made.rows)
    np.testing.assert_allclose(quat_to_matrix(read.quats)[0], quat_to_matrix(made.quats)[0])
    assert read.seed == 4 and read.rate_hz == 10.0
    with pytest.raises(DataError, match="has no demo_1; it has demo_0 to demo_0"):
        load_recording(tmp_path / "d.hdf5", "demo_1")
