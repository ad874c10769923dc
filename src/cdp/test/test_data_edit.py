"""Splitting, merging, trimming and linking: what is written is what was there, no demonstration is lost, doubled or torn from its group."""

import json
import shutil

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.data.collect import collect
from cdp.data.dataset import DemoDataset
from cdp.data.demos import DataError, demo_names, read_demo, read_masks
from cdp.data.info import describe, summary
from cdp.data.merge import merge
from cdp.data.spec import ObservationSpec
from cdp.data.split import draw_split, hold_out, split
from cdp.data.stats import statistics, table
from cdp.data.trim import IdleRule, trim
from cdp.data.validate import validate


def arrays(path, demo="demo_0", but=()):
    with h5py.File(path) as file:
        return {name: np.asarray(array[...]) for name, array in read_demo(file, demo).arrays.items() if name not in but}


def same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)
        assert left[name].dtype == right[name].dtype, name


@given(count=st.integers(1, 60), share=st.floats(0, 0.99), seed=st.integers(0, 9))
def test_a_drawn_split_covers_all_once(count, share, seed):
    train, valid = draw_split(count, share, seed)
    assert sorted([*train, *valid]) == list(range(count)) and train
    assert bool(valid) == (share > 0 and count > 1) and abs(len(valid) - share * count) <= 1


GROUPS = st.lists(st.sampled_from("abcde"), min_size=2, max_size=40).filter(lambda g: len(set(g)) > 2)


@given(groups=GROUPS, share=st.floats(0.01, 0.3), seed=st.integers(0, 9))
def test_a_group_is_never_torn_apart(groups, share, seed):
    try:
        train, valid = hold_out(groups, share, seed)
    except DataError:
        return  # groups so unequal that the share takes them all
    assert sorted([*train, *valid]) == list(range(len(groups)))
    assert not {groups[i] for i in train} & {groups[i] for i in valid} and len(valid) >= share * len(groups)


def test_split_by_operator_and_day(make_demo_file, tmp_path):
    path = make_demo_file(demos=4)
    with h5py.File(path, "r+") as file:
        for i, (operator, day) in enumerate([("anna", "20260314"), ("ben", "20260314"), ("anna", "20260315"), ("ben", "20260316")]):
            file[f"data/demo_{i}"].attrs.update({"operator": operator, "episode_file": f"reach_{day}T101112Z_1.hdf5"})
    before = arrays(path)
    assert split(path, path, 0.1, 0, by="operator", held=["anna"])["valid"] == ["demo_0", "demo_2"]
    assert split(path, tmp_path / "new.hdf5", 0.1, 0, by="date", held=["2026-03-14"])["train"] == ["demo_2", "demo_3"]
    assert validate(path) == validate(tmp_path / "new.hdf5") == []
    same(arrays(tmp_path / "new.hdf5"), before)
    with pytest.raises(DataError, match="carl: no demonstration is of it; there are anna, ben"):
        split(path, path, 0.1, 0, by="operator", held=["carl"])
    with pytest.raises(DataError, match="nothing would be left to train on"):
        split(path, path, 0.1, 0, by="operator", held=["anna", "ben"])
    with h5py.File(path) as file:
        assert read_masks(file) == {"train": ["demo_1", "demo_3"], "valid": ["demo_0", "demo_2"]}


def test_merged_files_hold_the_same_motion(make_demo_file, tmp_path):
    one, two = make_demo_file(demos=2), make_demo_file(demos=3, ticks=9, step_m=0.02)
    with h5py.File(two, "r+") as file:
        for i in range(3):
            file[f"data/demo_{i}"].attrs["operator"] = "another"
    report = merge([one, two], tmp_path / "all.hdf5")
    assert (report.demos, report.rows, report.rescaled) == (5, 6 + 7 + 9 + 10 + 11, True) and validate(report.path) == []
    for source, index, at in ((one, 1, 1), (two, 0, 2), (two, 2, 4)):
        same(arrays(report.path, f"demo_{at}", ("actions",)), arrays(source, f"demo_{index}", ("actions",)))
        with h5py.File(source) as old, h5py.File(report.path) as new:
            deltas = [d["actions"][()] * d.attrs["action_scale"] for d in (old[f"data/demo_{index}"], new[f"data/demo_{at}"])]
        np.testing.assert_allclose(*deltas, atol=1e-8)
    with h5py.File(report.path) as file, h5py.File(two) as last:
        assert sorted(name for members in read_masks(file).values() for name in members) == demo_names(file)
        assert {f"demo_{int(n[5:]) + 2}" for n in read_masks(last)["valid"]} <= set(read_masks(file)["valid"])


def test_what_cannot_stand_side_by_side_is_refused(make_demo_file, tmp_path):
    path = make_demo_file(demos=2)
    for twin in (path, trim(path, tmp_path / "trimmed.hdf5", IdleRule(position_m=0.011)).path):
        with pytest.raises(DataError, match="it could train and validate at once"):
            merge([path, twin], tmp_path / "no.hdf5")
    with pytest.raises(DataError, match=r"obs/agentview_image is \(20, 20, 3\), in the first demonstration \(30, 40, 3\)"):
        merge([path, make_demo_file(demos=1, image_size=20)], tmp_path / "no.hdf5")
    assert not (tmp_path / "no.hdf5").exists()


def test_links_are_made_once_and_read_as_one_file(reach, tmp_path):
    folder, plain, index = tmp_path / "episodes", tmp_path / "plain.hdf5", tmp_path / "index.hdf5"
    for seed in range(2):
        reach(ticks=6 + seed).write(folder, seed)
    assert collect(folder, index, ObservationSpec(), links=True).reused == 0
    reach(ticks=9, step_m=0.03).write(folder, 2)
    report = collect(folder, index, ObservationSpec(), links=True)
    assert (report.demos, report.reused) == (3, 2)
    collect(folder, plain, ObservationSpec())
    assert validate(index) == []
    for i in range(3):
        same(arrays(index, f"demo_{i}"), arrays(plain, f"demo_{i}"))
    facts = summary(index)
    assert facts["linked_files"] == 3 and facts["linked_bytes"] > 10 * facts["bytes"]
    same(*(DemoDataset(path, "train", ObservationSpec(image_size=16), 4).batch([0, 5]) for path in (index, plain)))
    # As one file it needs its parts no more; without them it says which is gone.
    merge([index], tmp_path / "real.hdf5")
    shutil.rmtree(tmp_path / "index.hdf5.parts")
    assert validate(tmp_path / "real.hdf5") == []
    same(arrays(tmp_path / "real.hdf5", "demo_2"), arrays(plain, "demo_2"))
    assert all("[links]" in finding and "cannot be opened" in finding for finding in validate(index))
    with pytest.raises(DataError, match="cannot be opened"):
        describe(index)


def test_a_changed_episode_or_setting_makes_its_part_anew(reach, tmp_path):
    folder, index = tmp_path / "episodes", tmp_path / "index.hdf5"
    path = reach().write(folder)
    hashes = []
    for size in (None, 16):
        report = collect(folder, index, ObservationSpec(), links=True, image_size=size)
        assert report.reused == 0
        hashes.append(DemoDataset(index, "train", ObservationSpec(image_size=16), 4).sha256)
    reach(ticks=9).write(folder).replace(path)
    assert collect(folder, index, ObservationSpec(), links=True, image_size=16).reused == 0
    hashes.append(DemoDataset(index, "train", ObservationSpec(image_size=16), 4).sha256)
    assert len(set(hashes)) == 3


def idle(path, before, after):
    """Hold still for rows at both ends: the pose, the target and the gripper of the first and last row are repeated."""
    with h5py.File(path, "r+") as file:
        demo = file["data/demo_0"]
        for name in [n for n in read_demo(file, "demo_0").arrays if n.startswith(("obs/", "action_dict/"))]:
            values = demo[name][()]
            values[:before], values[len(values) - after :] = values[before], values[-after - 1]
            demo[name][...] = values


@pytest.mark.parametrize(("before", "after", "margin"), [(3, 2, 1), (0, 0, 1), (5, 0, 0), (1, 6, 2)])
def test_idle_rows_are_taken_off_and_no_others(make_demo_file, tmp_path, before, after, margin):
    path = make_demo_file(demos=2, ticks=16)
    idle(path, before, after)
    was = arrays(path)
    report = trim(path, tmp_path / "t.hdf5", IdleRule(margin_rows=margin))
    # The row that is like the last idle one is itself still: of before + 1 like rows the margin remains.
    first = max(0, before + 1 - margin)
    end = 16 - max(0, after + 1 - margin)
    assert report.taken["demo_0"] == (first, 16 - end) if (first, end) != (0, 16) else "demo_0" not in report.taken
    now = arrays(report.path)
    for name in now:
        if name not in ("dones", "rewards") and not name.startswith("streams/"):
            np.testing.assert_array_equal(now[name], was[name][first:end], err_msg=name)
    assert now["dones"].tolist() == now["rewards"].tolist() == [0] * (end - first - 1) + [1]
    assert validate(report.path) == []
    # What is trimmed has nothing left to trim.
    assert trim(report.path, tmp_path / "again.hdf5", IdleRule(margin_rows=margin)).taken == {} if margin else True


def test_a_wholly_idle_demonstration_is_left_out(make_demo_file, tmp_path):
    path = make_demo_file(demos=2, ticks=8)
    idle(path, 7, 0)
    report = trim(path, tmp_path / "t.hdf5", IdleRule())
    assert report.left_out == ("demo_0",) and report.demos == 1
    with h5py.File(report.path) as file:
        assert sorted(map(len, read_masks(file).values())) == [0, 1]
    with pytest.raises(DataError, match="idle throughout"):
        trim(report.path, tmp_path / "none.hdf5", IdleRule(position_m=1.0, rotation_rad=3.0, gripper=2.0))


def test_statistics_are_those_of_the_arrays(make_demo_file):
    path = make_demo_file()
    found = statistics(path)
    values = np.concatenate([arrays(path, f"demo_{i}")["obs/robot0_eef_pos"] for i in range(3)])
    numbers = found["arrays"]["obs/robot0_eef_pos"]
    np.testing.assert_allclose([numbers["min"], numbers["mean"], numbers["p99"]], [values.min(0), values.mean(0), np.percentile(values, 99, axis=0)])
    assert numbers["constant"] == [1, 2]
    pixels = np.concatenate([arrays(path, f"demo_{i}")["obs/agentview_image"].reshape(-1, 3) for i in range(3)]) / 255
    np.testing.assert_allclose(found["arrays"]["obs/agentview_image"]["std"], pixels.std(axis=0))
    assert statistics(path, "train")["demonstrations"] == 2 and table(found)[-1].endswith("21 rows")
    with pytest.raises(DataError, match=r"no demonstrations in mask/test"):
        statistics(path, "test")


def test_info_tells_rates_cameras_verdicts_and_size(reach, tmp_path):
    reach(lost_images=(6,)).write(tmp_path / "episodes")
    out = collect(tmp_path / "episodes", tmp_path / "d.hdf5", ObservationSpec(), image_size=20).path
    facts = json.loads(json.dumps(summary(out)))
    assert facts["cameras"] == {"agentview_image": {"sizes": ["20x20"], "as": ", taken at 40x30"}}
    assert facts["timing"]["nominal_hz"] == 10 and facts["timing"]["longest_period_s"] == pytest.approx(4 / 30) and facts["timing"]["gaps"] == 0
    assert facts["verdicts"] == {"tasks": ["reach"], "operators": ["test"], "succeeded": 1, "with_warnings": 0, "dropped": 0}
    assert facts["bytes"] == out.stat().st_size and facts["masks"] == {"train": 1, "valid": 0}
    assert "camera agentview_image: 20x20, taken at 40x30" in describe(out)
