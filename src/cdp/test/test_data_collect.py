"""Collecting: the numbers are those of the episodes, a bad episode costs only itself, the file keeps the layout's rules."""

import argparse
import json
import re
from dataclasses import replace

import h5py
import numpy as np
import pytest

from cdp.data import commands
from cdp.data.collect import CollectError, collect
from cdp.data.dataset import DatasetError, DemoDataset
from cdp.data.episode import EpisodeInfo, EpisodeLabels
from cdp.data.episode_writer import EpisodeWriter
from cdp.data.spec import ObservationSpec
from cdp.data.streams import STREAM_SPECS, Column, StreamSpec
from cdp.data.validate import validate
from cdp.geometry import quat_to_matrix, rot6d_to_matrix, rotvec_to_matrix

SPEC = ObservationSpec(image_size=16)
MS = 1_000_000


def test_rows_hold_what_was_recorded(reach, tmp_path):
    made = reach(ticks=5)
    collect([made.write(tmp_path, seed=3)], tmp_path / "d.hdf5", SPEC, valid_fraction=0.0)
    with h5py.File(tmp_path / "d.hdf5") as file:
        demo = file["data/demo_0"]
        stamps = demo["stamp_ns"][()]
        assert stamps.tolist() == [made.image_stamp_ns(3 * k) for k in range(5)]
        # State comes every 10 ms, 3 ms late in its grid: the newest sample is the one 7 ms before the image.
        for k, t in enumerate(stamps):
            np.testing.assert_allclose(demo["obs/robot0_eef_pos"][k], made.position_m(t - 7 * MS), atol=1e-12)
            np.testing.assert_allclose(demo["action_dict/abs_pos"][k], made.position_m(t + 100 * MS), atol=1e-6)
        np.testing.assert_allclose(demo["obs/robot0_gripper_qpos"][()], 0.025)
        np.testing.assert_array_equal(demo["action_dict/joint_position"][:-1], demo["obs/robot0_joint_pos"][1:])
        np.testing.assert_allclose(demo["action_dict/gripper"][:, 0], [-1, -1, 1, 1, 1], atol=1e-6)
        assert demo["rewards"][()].tolist() == demo["dones"][()].tolist() == [0, 0, 0, 0, 1]
        np.testing.assert_array_equal(demo["states"][2], np.concatenate([np.arange(7), np.arange(7) + 0.5]))
        assert demo.attrs["seed"] == 3 and demo.attrs["task"] == "reach" and demo["obs/agentview_image"].shape == (5, 30, 40, 3)
    assert validate(tmp_path / "d.hdf5") == []


def test_normalised_deltas_lead_from_the_measured_pose_to_the_target(make_demo_file):
    with h5py.File(make_demo_file(demos=2)) as file:
        for demo in file["data"].values():
            delta = demo["actions"][()] * demo.attrs["action_scale"]
            assert np.abs(demo["actions"][()]).max() <= 1
            np.testing.assert_allclose(demo["obs/robot0_eef_pos"][()] + delta[:, :3], demo["action_dict/abs_pos"][()], atol=1e-6)
            reached = rotvec_to_matrix(delta[:, 3:6]) @ quat_to_matrix(demo["obs/robot0_eef_quat"][()])
            np.testing.assert_allclose(reached, rot6d_to_matrix(demo["action_dict/abs_rot_6d"][()]), atol=1e-6)
        scales = [demo.attrs["action_scale"] for demo in file["data"].values()]
        np.testing.assert_array_equal(*scales)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"lost_images": (6, 7, 8)}, r"no agentview_image for 0\.200 s after row 1 of 5"),
        ({"lost_state_ms": (140, 260)}, r"no (joint_pos|eef_pose) within 0.05 s before the image of row 2 of 6"),
        ({"lost_actions": (3,)}, r"no operator action for 0\.200 s around the image of row 3 of 6"),
        ({"deadman": False}, "no operator action with the deadman held"),
        ({"success": False}, "labelled as a failure"),
    ],
)
def test_episode_with_a_hole_is_rejected_with_its_reason(reach, tmp_path, fault, reason):
    good, bad = reach().write(tmp_path), reach(**fault).write(tmp_path)
    report = collect([bad, good], tmp_path / "out" / "d.hdf5", SPEC)
    assert report.demos == 1 and [path for path, _ in report.rejected] == [bad]
    assert re.search(reason, report.rejected[0][1])
    with pytest.raises(CollectError, match="no episode gives a demonstration"):
        collect([bad], tmp_path / "none.hdf5", SPEC)
    assert not (tmp_path / "none.hdf5").exists() and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("late_ms", [0, 7, 40, 99])
def test_target_is_for_one_period_after_the_image_whatever_the_operators_phase(reach, tmp_path, late_ms):
    made = reach(ticks=8, operator_late_ms=late_ms)
    collect([made.write(tmp_path)], tmp_path / "d.hdf5", SPEC, valid_fraction=0.0)
    with h5py.File(tmp_path / "d.hdf5") as file:
        demo = file["data/demo_0"]
        for t, position, rot6d in zip(demo["stamp_ns"], demo["action_dict/abs_pos"], demo["action_dict/abs_rot_6d"], strict=True):
            np.testing.assert_allclose(position, made.position_m(t + 100 * MS), atol=1e-6)
            # A chord is not an arc: of a step of 0.1 rad the blend is off by up to 2e-5.
            np.testing.assert_allclose(rot6d_to_matrix(rot6d), quat_to_matrix(made.quat(t + 100 * MS)), atol=3e-5)


def test_one_lost_image_is_no_hole(reach, tmp_path):
    # The tick moves to the next image, and those after it keep their distance: one row less before the operator's last action.
    made = reach(lost_images=(6,))
    collect([made.write(tmp_path)], tmp_path / "d.hdf5", SPEC)
    with h5py.File(tmp_path / "d.hdf5") as file:
        assert file["data/demo_0/stamp_ns"][()].tolist() == [made.image_stamp_ns(k) for k in (0, 3, 7, 10, 13)]


def test_damaged_files_cost_only_themselves(reach, tmp_path):
    good = reach().write(tmp_path)
    torn, text = tmp_path / "torn.hdf5", tmp_path / "text.hdf5"
    torn.write_bytes(good.read_bytes()[:5000])
    text.write_text("no")
    damaged = reach().write(tmp_path)
    with h5py.File(damaged, "r+") as file:
        file["streams/agentview_image/data"][9] = np.zeros(50, np.uint8)
    report = collect(tmp_path, tmp_path / "out" / "d.hdf5", SPEC)
    assert report.demos == 1 and {path.name for path, _ in report.rejected} == {"torn.hdf5", "text.hdf5", damaged.name}
    assert validate(report.path) == []


def test_split_is_drawn_by_the_seed_and_covers_all(make_demo_file):
    with h5py.File(make_demo_file(demos=4)) as file:
        train, valid = (set(file[f"mask/{s}"][()]) for s in ("train", "valid"))
        assert len(valid) == 1 and train | valid == {f"demo_{i}".encode() for i in range(4)} and not train & valid
        assert file["data"].attrs["total"] == 6 + 7 + 8 + 9


def test_windows_repeat_the_first_observation_and_the_last_action(make_demo_file):
    data = DemoDataset(make_demo_file(demos=3), "train", SPEC, horizon=4)
    batch = data.batch(range(len(data)))
    assert data.num_demos == 2 and data.action_width == 10 and data.lowdim_width == 11 and len(data.sha256) == 64
    assert batch["image"].shape == (len(data), 2, 16, 16, 3) and batch["action"].shape == (len(data), 4, 10)
    assert batch["lowdim"].dtype == batch["action"].dtype == np.float32
    np.testing.assert_array_equal(batch["image"][0, 0], batch["image"][0, 1])
    np.testing.assert_array_equal(batch["lowdim"][1, 0], batch["lowdim"][0, 1])
    np.testing.assert_array_equal(batch["action"][0, 1:], batch["action"][1, :3])
    end = int(np.flatnonzero(data._first != data._first[0])[0])
    assert np.all(batch["action"][end - 1] == batch["action"][end - 1, 0])
    # The next demonstration does not leak into the last, nor the last into the next.
    np.testing.assert_array_equal(batch["image"][end, 0], batch["image"][end, 1])
    np.testing.assert_array_equal(batch["action"][end - 2, 1:], np.repeat(batch["action"][end - 1, :1], 3, axis=0))
    with pytest.raises(IndexError):
        data.batch([len(data)])


def test_statistics_are_of_the_train_split_and_span_the_unit_box(make_demo_file):
    path = make_demo_file(demos=3)
    train, valid = (DemoDataset(path, split, SPEC, horizon=1) for split in ("train", "valid"))
    np.testing.assert_array_equal(train.stats.action.low, valid.stats.action.low)
    rows = train.batch(range(len(train)))["action"][:, 0]
    assert rows[:, 0].min() == -1 and rows[:, 0].max() == 1
    assert np.all(rows[:, 1] == 0)  # y never moves
    with h5py.File(path) as file:
        names = [n.decode() for n in file["mask/train"][()]]
        expected = np.concatenate([file[f"data/{n}/action_dict/abs_pos"][()] for n in names])
    np.testing.assert_allclose(train.stats.action.denormalise(rows)[:, :3], expected, atol=1e-6)


def test_collected_small_equals_resized_when_loaded(make_demo_file):
    as_recorded, small = (DemoDataset(make_demo_file(image_size=size), "train", SPEC, horizon=1) for size in (None, 16))
    np.testing.assert_array_equal(*(d.batch(range(len(d)))["image"] for d in (as_recorded, small)))
    with pytest.raises(DatasetError, match=r"collected at 20x20, not at 16x16; collect them again with --image-size 16"):
        DemoDataset(make_demo_file(image_size=20), "train", SPEC, horizon=1)


def run(*arguments):
    parser = argparse.ArgumentParser()
    commands.register(parser.add_subparsers())
    parsed = parser.parse_args(["data", *map(str, arguments)])
    return parsed.run(parsed)


def test_commands_end_with_one_line_that_sums_up(reach, tmp_path, capsys):
    folder, out = tmp_path / "episodes", tmp_path / "d.hdf5"
    reach().write(folder)
    reach(success=False).write(folder)
    assert run("collect", folder, "-o", out, "--image-size", 16) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{out}: 1 demonstrations, 6 rows, 1 episodes rejected"
    assert run("info", out) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{out}: 1 demonstrations, 6 rows"
    assert run("validate", out) == 0
    assert capsys.readouterr().out == f"{out}: valid\n"
    assert run("collect", tmp_path / "nowhere", "-o", out) == 1
    assert "no such folder" in capsys.readouterr().err
    assert run("info", tmp_path / "nowhere") == run("validate", tmp_path / "nowhere") == 1


def test_further_streams_are_aligned_beside_the_robots(reach, tmp_path):
    """A camera gives its nearest image, numbers the newest; one that is not near enough costs the episode, and is not made up."""
    made = reach(ticks=4)
    streams = {**STREAM_SPECS, "wrist": StreamSpec(encoding="raw", rate_hz=10.0), "wrench": StreamSpec({"data": Column((-1,), "f8")}, fields=("x",))}

    def record(wrist_late_ms):
        writer = EpisodeWriter(tmp_path / str(wrist_late_ms), EpisodeInfo("reach", "t", 0, made.start_ns, "sim"), streams=streams)
        for stream, stamp_ns, values in made.messages():
            writer.append(stream, stamp_ns, stamp_ns, values)
        for k in range(4):
            tick_ns = made.image_stamp_ns(3 * k)
            writer.append("wrist", tick_ns + wrist_late_ms * MS, 0, {"data": np.full((4, 6, 3), k, np.uint8)})
            writer.append("wrench", tick_ns - 20 * MS, 0, {"data": [float(k)]})
            writer.append("wrench", tick_ns + 1 * MS, 0, {"data": [-1.0]})
        writer.finish(EpisodeLabels(True, "", made.start_ns))
        return tmp_path / str(wrist_late_ms)

    out = tmp_path / "demos.hdf5"
    collect(record(20), out, ObservationSpec(), also=("wrist", "wrench"), valid_fraction=0.0)
    with h5py.File(out) as file:
        obs = file["data/demo_0/obs"]
        assert obs["wrist"][:, 0, 0, 0].tolist() == [0, 1, 2, 3] and obs["wrench"][:, 0].tolist() == [0, 1, 2, 3]
        assert list(obs["wrench"].attrs["fields"]) == ["x"] and obs["wrist"].shape == (4, 4, 6, 3)
    with pytest.raises(CollectError, match=r"no wrist within 0.050 s of the image of row 0 of 4"):
        collect(record(60), out, ObservationSpec(), also=("wrist",))


def test_rows_with_an_older_sample_because_a_newer_one_was_lost_are_counted(reach, tmp_path):
    """At 100 Hz a sample of 40 ms stands in for four that were lost: the row is kept, as the running policy would keep it, and marked."""
    made = reach(ticks=4)
    streams = {
        **STREAM_SPECS,
        "joint_pos": replace(STREAM_SPECS["joint_pos"], rate_hz=100.0),
        "eef_pose": replace(STREAM_SPECS["eef_pose"], rate_hz=100.0),
    }
    writer = EpisodeWriter(tmp_path / "episodes", EpisodeInfo("reach", "t", 0, made.start_ns, "sim"), streams=streams)
    tick_ns = made.image_stamp_ns(3)
    for stream, stamp_ns, values in made.messages():
        if stream != "joint_pos" or not tick_ns - 35 * MS < stamp_ns <= tick_ns:
            writer.append(stream, stamp_ns, stamp_ns, values)
    writer.finish(EpisodeLabels(True, "", made.start_ns))
    collect(tmp_path / "episodes", tmp_path / "demos.hdf5", ObservationSpec(), valid_fraction=0.0)
    with h5py.File(tmp_path / "demos.hdf5") as file:
        assert json.loads(file["data/demo_0"].attrs["late_rows"]) == {"joint_pos": 1, "eef_pose": 0, "gripper_width": 0}
