"""Converters: there and back gives the same arrays and stamps; what another project's file does not say is filled in and named."""

import json

import h5py
import numpy as np
import pytest

from cdp.data.convert_lerobot import from_lerobot, lerobot_python, to_lerobot
from cdp.data.convert_robomimic import from_robomimic, to_robomimic
from cdp.data.convert_zarr import from_zarr, to_zarr
from cdp.data.demos import DataError, demo_names, read_demo, read_masks
from cdp.data.validate import validate
from cdp.geometry import quat_to_matrix, rot6d_to_matrix, rotvec_to_matrix


def has_lerobot():
    try:
        return bool(lerobot_python())
    except DataError:
        return False


def contents(path):
    with h5py.File(path) as file:
        demos = {name: read_demo(file, name) for name in demo_names(file)}
        arrays = {f"{name}/{key}": np.asarray(array[...]) for name, demo in demos.items() for key, array in demo.arrays.items()}
        attrs = {
            name: {**demo.attrs, **{f"{k} of {p}": v for p, a in demo.array_attrs.items() for k, v in a.items()}} for name, demo in demos.items()
        }
        return arrays, {**attrs, "": dict(file["data"].attrs)}, read_masks(file)


def assert_same(left, right, lossy=()):
    (arrays, attrs, masks), (arrays2, attrs2, masks2) = contents(left), contents(right)
    assert arrays.keys() == arrays2.keys() and masks == masks2
    for name, array in arrays.items():
        assert array.dtype == arrays2[name].dtype and array.shape == arrays2[name].shape, name
        if name.split("/")[-1] in lossy:
            assert np.abs(array.astype(float) - arrays2[name]).mean() < 6.0, name
        else:
            np.testing.assert_array_equal(array, arrays2[name], err_msg=name)
    for name, values in attrs.items():
        assert values.keys() == attrs2[name].keys(), name
        for key, value in values.items():
            np.testing.assert_array_equal(value, attrs2[name][key], err_msg=f"{name} {key}")


def test_zarr_and_back(make_demo_file, tmp_path):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed: pip install -r requirements/data.txt")
    path = make_demo_file(demos=3, image_size=20)
    report = to_zarr(path, tmp_path / "d.zarr")
    assert (report.demos, report.rows, report.notes) == (3, 21, ())
    root = zarr.open_group(str(tmp_path / "d.zarr"), mode="r")
    # What diffusion_policy's ReplayBuffer asserts when it opens one, and what its policies read.
    assert root["meta"]["episode_ends"][:].tolist() == [6, 13, 21]
    assert all(array.shape[0] == 21 for _, array in root["data"].arrays()) and root["data"]["action"].shape == (21, 10)
    assert (tmp_path / "d.zarr/data/.zgroup").is_file()
    with h5py.File(path) as file:
        np.testing.assert_array_equal(root["data"]["agentview_image"][6:13], file["data/demo_1/obs/agentview_image"][()])
        np.testing.assert_allclose(root["data"]["action"][:6, 3:9], file["data/demo_0/action_dict/abs_rot_6d"][()], atol=1e-7)
    assert from_zarr(tmp_path / "d.zarr", tmp_path / "back.hdf5", 5.0).notes == ()
    assert_same(path, tmp_path / "back.hdf5")
    with pytest.raises(DataError, match="is there already"):
        to_zarr(path, tmp_path / "d.zarr")


def test_a_buffer_of_another_project(tmp_path):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed: pip install -r requirements/data.txt")
    root = zarr.open_group(str(tmp_path / "pusht.zarr"), mode="w")
    data, meta = root.create_group("data"), root.create_group("meta")
    made = np.random.default_rng(0)
    arrays = {
        "action": made.uniform(0, 512, (9, 2)).astype("f4"),
        "img": made.uniform(0, 255, (9, 8, 8, 3)).astype("f4"),
        "state": made.normal(size=(9, 5)),
    }
    for name, value in arrays.items():
        data[name] = value
    meta["episode_ends"] = np.array([4, 9])
    report = from_zarr(tmp_path / "pusht.zarr", tmp_path / "d.hdf5", 10.0)
    assert report.demos == 2 and any("stamps are absent" in note for note in report.notes) and any("divided by" in note for note in report.notes)
    with h5py.File(tmp_path / "d.hdf5") as file:
        demo = file["data/demo_1"]
        np.testing.assert_array_equal(demo["obs/img"][()], arrays["img"][4:])
        np.testing.assert_allclose(demo["actions"][()] * demo.attrs["action_scale"], arrays["action"][4:], rtol=1e-6)
        assert demo["stamp_ns"][()].tolist() == [100_000_000 * k for k in range(5)] and demo.attrs["stamps"] == "nominal"
    with pytest.raises(DataError, match="is no replay buffer"):
        from_zarr(tmp_path, tmp_path / "no.hdf5", 10.0)


def test_robomimic_and_back(make_demo_file, tmp_path):
    path = make_demo_file(demos=3)
    assert to_robomimic(path, tmp_path / "theirs.hdf5", next_obs=True).rows == 21
    with h5py.File(tmp_path / "theirs.hdf5") as file:
        for demo in file["data"].values():
            for key, value in demo["next_obs"].items():
                seen = demo["obs"][key][()]
                np.testing.assert_array_equal(value[()], np.concatenate([seen[1:], seen[-1:]]))
    assert validate(tmp_path / "theirs.hdf5") == []
    to_robomimic(path, tmp_path / "plain.hdf5")
    assert from_robomimic(tmp_path / "plain.hdf5", tmp_path / "back.hdf5").notes == ()
    assert_same(path, tmp_path / "back.hdf5")


def lift(path, images):
    """A file as robomimic's own for lift: robosuite, OSC_POSE deltas at 20 Hz, no stamps, no absolute targets."""
    made = np.random.default_rng(1)
    controller = {"type": "OSC_POSE", "control_delta": True, "output_max": [0.05, 0.05, 0.05, 0.5, 0.5, 0.5]}
    kwargs = {"control_freq": 20, "controller_configs": controller, "robots": ["Panda"]}
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        for i, rows in enumerate((7, 5)):
            demo = data.create_group(f"demo_{i + 1}")
            quat = made.normal(size=(rows, 4))
            obs = {
                "object": made.normal(size=(rows, 10)),
                "robot0_eef_pos": made.normal(size=(rows, 3)),
                "robot0_joint_pos": made.normal(size=(rows, 7)),
            }
            obs |= {"robot0_eef_quat": quat / np.linalg.norm(quat, axis=1, keepdims=True), "robot0_gripper_qpos": made.normal(size=(rows, 2))}
            if images:
                obs["agentview_image"] = made.integers(0, 255, (rows, 84, 84, 3), dtype=np.uint8)
            for key, value in obs.items():
                demo[f"obs/{key}"] = value
                demo[f"next_obs/{key}"] = value
            demo["actions"] = made.uniform(-1, 1, (rows, 7))
            demo["rewards"], demo["dones"], demo["states"] = np.zeros(rows), np.eye(rows, dtype=np.int64)[-1], made.normal(size=(rows, 32))
            demo.attrs.update({"num_samples": rows, "model_file": "<mujoco/>"})
        data.attrs.update({"total": 12, "env_args": json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": kwargs})})
        file["mask/train"], file["mask/valid"] = np.array([b"demo_1"]), np.array([b"demo_2"])


@pytest.mark.parametrize("images", [False, True])
def test_a_file_of_robomimics_own(tmp_path, images):
    theirs, ours = tmp_path / "lift.hdf5", tmp_path / "d.hdf5"
    lift(theirs, images)
    notes = from_robomimic(theirs, ours).notes
    assert [note.split(":")[0] for note in notes] == [
        "absolute targets follow from OSC_POSE deltas and measured poses, in the frame of the file's poses",
        "stamps are absent",
    ]
    with h5py.File(theirs) as source, h5py.File(ours) as file:
        demo = file["data/demo_1"]
        for key, array in read_demo(source, "demo_2").arrays.items():
            np.testing.assert_array_equal(demo[key][()], array[()])
        assert demo["stamp_ns"][()].tolist() == [50_000_000 * k for k in range(5)] and demo.attrs["stamps"] == "nominal"
        assert demo.attrs["model_file"] == "<mujoco/>" and read_masks(file) == {"train": ["demo_0"], "valid": ["demo_1"]}
        delta = demo["actions"][()] * [0.05, 0.05, 0.05, 0.5, 0.5, 0.5, 1.0]
        np.testing.assert_allclose(demo["action_dict/abs_pos"][()], demo["obs/robot0_eef_pos"][()] + delta[:, :3])
        turned = rotvec_to_matrix(delta[:, 3:6]) @ quat_to_matrix(demo["obs/robot0_eef_quat"][()])
        np.testing.assert_allclose(rot6d_to_matrix(demo["action_dict/abs_rot_6d"][()]), turned, atol=1e-12)
    # All that remains to complain about is what the file cannot know.
    assert {finding.split("[")[1] for finding in validate(ours, ("agentview_image",) if images else ())} == {"provenance]"}


@pytest.mark.skipif(not has_lerobot(), reason="LeRobot is not installed: make check-peers-data makes an environment with it")
@pytest.mark.parametrize("video", [False, True])
def test_lerobot_and_back(make_demo_file, tmp_path, video):
    path = make_demo_file(demos=3, height=96, width=128)
    report = to_lerobot(path, tmp_path / "set", video=video)
    assert (report.demos, report.rows) == (3, 21)
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0" and info["total_episodes"] == 3 and info["features"]["action"]["shape"] == [10]
    from_lerobot(tmp_path / "set", tmp_path / "back.hdf5")
    assert_same(path, tmp_path / "back.hdf5", lossy=("agentview_image",) if video else ())


def test_without_lerobot_the_way_to_it_is_named(make_demo_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CDP_LEROBOT_PYTHON", raising=False)
    if __import__("importlib.util").util.find_spec("lerobot"):
        pytest.skip("LeRobot is in this environment")
    with pytest.raises(DataError, match="make check-peers-data"):
        to_lerobot(make_demo_file(demos=1), tmp_path / "set")
