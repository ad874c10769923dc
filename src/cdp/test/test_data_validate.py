"""Validation: each rule has a planted fault, and that fault breaks that rule alone."""

import json

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.data.collect import collect
from cdp.data.spec import ObservationSpec
from cdp.data.validate import RULES, check, validate


def replace(group, name, value):
    del group[name]
    group[name] = value


def set_value(name, index, value):
    return lambda file: file[name].__setitem__(index, value)


def set_attr(name, key, value):
    return lambda file: file[name].attrs.__setitem__(key, value)


def late(file):
    stamps = file["data/demo_1/stamp_ns"]
    stamps[3:] = stamps[3:] + 200_000_000


def gone(file):
    del file["data/demo_0/obs"]
    file["data/demo_0/obs"] = h5py.ExternalLink("no_such_file.hdf5", "/obs")


def scale(file):
    file["data/demo_1"].attrs["action_scale"] = np.full(7, 0.5)


FAULTS = {
    "demo-names": lambda f: f["data"].create_group("extra"),
    "total": set_attr("data", "total", 1),
    "env-args": set_attr("data", "env_args", json.dumps({"env_name": "reach"})),
    "rate": lambda f: f["data"].attrs.__delitem__("rate_hz"),
    "masks": set_value("mask/train", 0, b"demo_9"),
    "links": gone,
    "present": lambda f: f["data/demo_1"].__delitem__("rewards"),
    "shape": lambda f: replace(f["data/demo_1"], "rewards", np.zeros(2)),
    "type": lambda f: replace(f["data/demo_0/obs"], "agentview_image", f["data/demo_0/obs/agentview_image"][()].astype(np.int16)),
    "finite": set_value("data/demo_0/states", (0, 0), np.nan),
    "actions": set_value("data/demo_0/actions", (0, 0), 1.5),
    "scale": scale,
    "same-keys": lambda f: f["data/demo_1/obs"].__setitem__("extra", np.zeros((7, 2))),
    "next-obs": lambda f: f["data/demo_0"].create_group("next_obs"),
    "dones": set_value("data/demo_2/dones", 1, 1),
    "stamps": set_value("data/demo_0/stamp_ns", 2, 5),
    "gaps": late,
    "quaternion": set_value("data/demo_1/obs/robot0_eef_quat", (0, 0), 3.0),
    "rotation": set_value("data/demo_1/action_dict/abs_rot_6d", (0, 0), 3.0),
    "provenance": lambda f: f["data/demo_0"].attrs.__delitem__("operator"),
}
# More ways to break some of the rules.
MORE = [
    ("masks", lambda f: f["mask"].__delitem__("valid")),
    ("masks", lambda f: replace(f["mask"], "valid", f["mask/train"][()])),
    ("masks", lambda f: replace(f["mask"], "train", np.asarray(["demo_0", "demo_1"], dtype=h5py.string_dtype()))),
    ("present", lambda f: f["data/demo_1/obs"].__delitem__("agentview_image")),
    ("shape", lambda f: replace(f["data/demo_0"], "states", np.zeros((3, 14)))),
    ("actions", set_value("data/demo_1/action_dict/gripper", (0, 0), -1.01)),
    ("scale", lambda f: f["data/demo_0"].attrs.__delitem__("action_scale")),
    ("type", lambda f: replace(f["data/demo_0"], "rewards", np.full(6, b"x"))),
]


def test_a_collected_file_breaks_no_rule(make_demo_file):
    assert check(make_demo_file()) == []


@pytest.mark.parametrize(("rule", "plant"), [*FAULTS.items(), *MORE])
def test_a_planted_fault_is_found_and_no_other(make_demo_file, rule, plant):
    path = make_demo_file()
    with h5py.File(path, "r+") as file:
        plant(file)
    found = check(path)
    assert {finding.rule for finding in found} == {rule}, found
    assert all(finding.where.startswith(("data", "mask")) for finding in found)


def test_no_rule_is_without_a_fault(make_demo_file, tmp_path):
    alone = {"file": tmp_path / "text", "num-samples": make_demo_file()}
    alone["file"].write_text("no HDF5")
    with h5py.File(alone["num-samples"], "r+") as file:
        file["data/demo_0"].attrs["num_samples"] = 0
        file["data"].attrs["total"] = 7 + 8
    for rule, path in alone.items():
        assert [finding.rule for finding in check(path)] == [rule]
    assert {rule.name for rule in RULES} == FAULTS.keys() | alone.keys()


def test_a_camera_that_is_asked_for_must_be_there(make_demo_file):
    found = check(make_demo_file(), cameras=("agentview_image", "wrist_image"))
    assert [str(f) for f in found] == [f"data/demo_{i}/obs/wrist_image: missing [present]" for i in range(3)]


@pytest.fixture(scope="module")
def demo_file(tmp_path_factory, reach):
    folder = tmp_path_factory.mktemp("validate")
    paths = [reach(ticks=6 + i, start_m=0.3 + 0.02 * i).write(folder, seed=i) for i in range(3)]
    return collect(paths, folder / "d.hdf5", ObservationSpec(), valid_fraction=0.3).path


ARRAYS = ("actions", "rewards", "states", "action_dict/abs_pos", "action_dict/joint_position", "obs/robot0_joint_pos", "obs/robot0_eef_pos")


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(ARRAYS), demo=st.integers(0, 2), row=st.integers(0, 5), bad=st.sampled_from([np.nan, np.inf, -np.inf]))
def test_one_bad_number_anywhere_is_named(demo_file, name, demo, row, bad):
    part = f"data/demo_{demo}/{name}"
    with h5py.File(demo_file, "r+") as file:
        kept = file[part][row]
        file[part][row] = bad
    found = validate(demo_file)
    with h5py.File(demo_file, "r+") as file:
        file[part][row] = kept
    assert found == [f"{part}: not finite [finite]"]
