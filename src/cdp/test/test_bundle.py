import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cdp.bundle import Bundle, BundleError, load_manifest
from cdp.bundle.manifest import FILES
from cdp.bundle.writer import write_bundle
from cdp.config import load, to_mapping
from cdp.data.normalise import MinMax, Stats
from cdp.networks.config import NetworkConfig


def write(out, tiny, **changed):
    parts = {"description": tiny.description, "config": tiny.config, "stats": tiny.stats, "report": tiny.report, "card": tiny.card, **changed}
    return write_bundle(out, parts.pop("policy", tiny.policy), **parts)


@pytest.fixture
def copy(tiny_bundle, tmp_path):
    return shutil.copytree(tiny_bundle, tmp_path / "copy")


def test_a_bundle_holds_everything_and_hashes_it(tiny_bundle, tiny_policy):
    manifest = json.loads((tiny_bundle / "manifest.json").read_text())
    assert sorted(p.name for p in tiny_bundle.iterdir()) == sorted([*FILES, "manifest.json"])
    for name in FILES:
        assert manifest["files"][name] == hashlib.sha256((tiny_bundle / name).read_bytes()).hexdigest()
    assert manifest["format"] == "cdp-bundle-1" and manifest["policy"]["task"] == "slide"
    assert to_mapping(load(NetworkConfig, tiny_bundle / "config.yaml")) == to_mapping(tiny_policy.config)
    assert all(p.stat().st_mode & 0o444 == 0o444 for p in (tiny_bundle, *tiny_bundle.iterdir())), "another user could not read it"
    weights = load_file(tiny_bundle / "weights.safetensors")
    assert set(weights) == set(tiny_policy.policy.state_dict())
    for name, value in tiny_policy.policy.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=0)


def test_opening_gives_back_what_was_written(tiny_bundle, tiny_policy):
    bundle = Bundle.open(tiny_bundle)
    assert bundle.policy == tiny_policy.description
    np.testing.assert_array_equal(bundle.stats.action.low, tiny_policy.stats.action.low)
    bundle.require(
        task="slide", space="eef_pose", rate_hz=10.0, observation_keys=["agentview_image", *tiny_policy.description.observation.lowdim_keys]
    )


def test_the_card_quotes_commands_seeds_hash_and_figures(tiny_bundle):
    card = (tiny_bundle / "card.md").read_text()
    for quoted in (
        "cdp train slide.yaml",
        "| train | 7 |",
        "0" * 64,
        "| success.rate | 0.25 |",
        "It was never trained.",
        "denoiser_max_abs_difference_to_torch",
    ):
        assert quoted in card
    report = json.loads((tiny_bundle / "report.json").read_text())
    assert report["export"]["denoiser_max_abs_difference_to_torch"] <= 1e-4


@pytest.mark.parametrize("name", FILES)
def test_an_altered_or_missing_file_is_named(copy, name):
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match=rf"{name} was altered.*copy"):
        Bundle.open(copy)
    (copy / name).unlink()
    with pytest.raises(BundleError, match=rf"{name} is missing.*copy"):
        Bundle.open(copy)


def edit(folder, change):
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(format="cdp-bundle-2"), "cdp-bundle-2.*reads 'cdp-bundle-1'"),
        (lambda m: m.pop("format"), "format None"),
        (lambda m: m["files"].pop("encoder.onnx"), "does not list encoder.onnx"),
        (lambda m: m["policy"].update(horizon=0), r"policy.horizon: 0 is outside"),
        (lambda m: m["policy"].update(surprise=1), r"policy.surprise: unknown key"),
        (lambda m: m["policy"].update(action_space="joint"), "action_space: 'joint'"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(copy, change, said):
    edit(copy, change)
    with pytest.raises(BundleError, match=said):
        Bundle.open(copy)


def test_no_bundle_there(tmp_path):
    with pytest.raises(BundleError, match=r"no such folder; train one"):
        Bundle.open(tmp_path / "nothing")
    with pytest.raises(BundleError, match=r"no manifest.json"):
        load_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "cdp-bund')
    with pytest.raises(BundleError, match="not valid JSON"):
        load_manifest(tmp_path)


@pytest.mark.parametrize(
    ("need", "said"),
    [
        ({"task": "lift"}, "trained for task 'slide', not 'lift'"),
        ({"space": "joint_position"}, "acts in space 'eef_pose', not 'joint_position'"),
        ({"rate_hz": 20.0}, "runs at 10 Hz, not 20 Hz"),
        ({"observation_keys": ["agentview_image", "robot0_eef_pos"]}, "needs observation 'robot0_eef_rot6d'"),
    ],
)
def test_a_mismatch_is_refused_by_name(tiny_bundle, need, said):
    with pytest.raises(BundleError, match=said):
        Bundle.open(tiny_bundle).require(**need)


def test_an_existing_bundle_stays_unless_it_is_to_be_overwritten(copy, tiny_policy):
    with pytest.raises(BundleError, match="left as it is"):
        write(copy, tiny_policy)
    other = replace(tiny_policy.description, task="lift")
    write(copy, tiny_policy, description=other, overwrite=True)
    assert Bundle.open(copy).policy.task == "lift"
    assert [p.name for p in copy.parent.iterdir()] == ["copy"]


class Unserialisable:
    pass


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda t: {"report": {"figure": Unserialisable()}}, TypeError),
        (lambda t: {"stats": Stats(MinMax(np.zeros(9), np.ones(9)), t.stats.lowdim)}, BundleError),
        (lambda t: {"description": replace(t.description, horizon=8)}, BundleError),
    ],
)
def test_a_failure_leaves_nothing_new_and_keeps_the_old(copy, tiny_policy, change, error):
    before = {p.name: p.read_bytes() for p in copy.iterdir()}
    with pytest.raises(error):
        write(copy, tiny_policy, overwrite=True, **change(tiny_policy))
    assert {p.name: p.read_bytes() for p in copy.iterdir()} == before
    assert [p.name for p in copy.parent.iterdir()] == ["copy"]


def test_weights_that_are_not_finite_are_not_written(tmp_path, tiny_policy):
    import copy as copying

    broken = copying.deepcopy(tiny_policy.policy)
    with torch.no_grad():
        next(broken.denoiser.parameters()).fill_(float("nan"))
    with pytest.raises(BundleError, match="differs from torch by nan"):
        write(tmp_path / "broken", tiny_policy, policy=broken)
    assert list(tmp_path.iterdir()) == []


def test_reading_a_bundle_needs_no_torch(tiny_bundle):
    code = f"import sys; from cdp.bundle import Bundle; Bundle.open({str(tiny_bundle)!r}); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
