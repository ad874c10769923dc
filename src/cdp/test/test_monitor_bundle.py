"""What a bundle keeps for the monitor: fitted, written, read again, and refused where it does not belong."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest

from cdp.bundle import Bundle, BundleError, load_manifest
from cdp.bundle.manifest import FILES, MANIFEST, MONITOR, MONITOR_FEATURES, OPTIONAL_FILES, manifest_text, sha256_of
from cdp.bundle.monitor import load_reference
from cdp.bundle.monitor_commands import add_reference, splits, write_reference
from cdp.bundle.monitor_fit import FitConfig
from cdp.cli import main
from cdp.data.window import WindowArrays
from cdp.runtime import PolicyRuntime, RuntimeConfig
from cdp.runtime.monitor import SamplerMonitor

FIT = FitConfig(seeds=3)


@pytest.fixture
def data(make_demo_file):
    return make_demo_file(demos=6, ticks=6, height=48, width=48)


@pytest.fixture
def bundle(tiny_bundle, tmp_path, data):
    """A copy of the tiny bundle that says it was trained on ``data``."""
    folder = shutil.copytree(tiny_bundle, tmp_path / "tiny")
    manifest = load_manifest(folder)
    policy = dataclasses.replace(manifest.policy, dataset_sha256=sha256_of(data))
    (folder / MANIFEST).write_text(manifest_text(dataclasses.replace(manifest, policy=policy)), encoding="utf-8")
    return folder


def windows(bundle, data, split=1) -> list[WindowArrays]:
    chosen = splits(Bundle.open(bundle), data)[split]
    batch = chosen.batch(range(len(chosen)))
    return [{"image": image, "lowdim": lowdim} for image, lowdim in zip(batch["image"], batch["lowdim"], strict=True)]


def test_the_command_adds_what_a_reading_compares_with_and_leaves_the_policy_as_it_was(bundle, data, capsys):
    before, chunk = load_manifest(bundle).files, PolicyRuntime(Bundle.open(bundle)).act(windows(bundle, data)[0]).rows
    assert main(["monitor", str(bundle), "--data", str(data), "--seeds", "3"]) == 0
    assert "monitor of" in capsys.readouterr().out
    after = load_manifest(bundle).files
    assert set(after) == {*FILES, *OPTIONAL_FILES}
    assert {name for name in FILES if before[name] != after[name]} == {"report.json", "card.md"}
    np.testing.assert_array_equal(PolicyRuntime(Bundle.open(bundle)).act(windows(bundle, data)[0]).rows, chunk)
    card = (bundle / "card.md").read_text()
    assert "## Monitor" in card and f"cdp monitor {bundle} --data {data} --seeds 3" in card and sha256_of(data) in card
    assert json.loads((bundle / "report.json").read_text())["monitor"]["train_windows"] > 0
    assert main(["monitor", str(bundle), "--data", str(data), "--seeds", "3"]) == 0
    again = load_manifest(bundle).files
    assert (again, (bundle / "card.md").read_text().count("## Monitor")) == (after, 1), "the same data gave something else"


def test_held_out_windows_lie_at_their_own_quantiles(bundle, data):
    reference = add_reference(bundle, *splits(Bundle.open(bundle), data), FIT, quiet=True)
    monitor = SamplerMonitor(Bundle.open(bundle), RuntimeConfig(backend="onnxruntime"))
    assert monitor.seeds == 3 and monitor.without_thresholds == ""
    readings = [monitor.read(window) for window in windows(bundle, data)]
    assert len(readings) == reference.facts.valid_windows
    for name in ("spread", "lipschitz", "distance"):
        values = np.array([getattr(reading.figures, name) for reading in readings])
        kept = getattr(reference.facts, name)
        np.testing.assert_allclose([kept.quantiles[0], kept.quantiles[-1]], [values.min(), values.max()], rtol=1e-4)
        np.testing.assert_allclose(kept.threshold, np.quantile(values, 0.99), rtol=1e-4)
        shares = np.array([reading.shares[name] for reading in readings])
        np.testing.assert_allclose(shares, values / kept.threshold, rtol=1e-9)
    assert all(0.0 <= reading.distance_quantile <= 1.0 for reading in readings)


def test_a_picture_that_was_never_seen_and_an_arm_outside_the_data_are_unusual(bundle, data):
    add_reference(bundle, *splits(Bundle.open(bundle), data), FIT, quiet=True)
    monitor = SamplerMonitor(Bundle.open(bundle), RuntimeConfig(backend="onnxruntime"))
    seen = windows(bundle, data)[0]
    noise = np.random.default_rng(0).integers(0, 256, seen["image"].shape, dtype=np.uint8)
    strange = monitor.read({"image": noise, "lowdim": seen["lowdim"]})
    assert strange.shares["distance"] > 1.0 and strange.distance_quantile == 1.0 and strange.ood_share > 1.0
    outside = monitor.read({"image": seen["image"], "lowdim": seen["lowdim"] * 0.0 + 3.0})
    np.testing.assert_allclose(outside.shares["extent"], 3.0 / monitor.reference.facts.extent.threshold)


def test_other_steps_have_no_thresholds_and_that_is_said(bundle, data):
    add_reference(bundle, *splits(Bundle.open(bundle), data), FIT, quiet=True)
    monitor = SamplerMonitor(Bundle.open(bundle), RuntimeConfig(backend="onnxruntime", steps=5))
    assert "are for ddim in 3 steps, not ddim in 5" in monitor.without_thresholds
    assert set(monitor.read(windows(bundle, data)[0]).shares) == {"extent", "distance"}


def test_another_file_is_refused_unless_it_is_asked_for(bundle, data, make_demo_file, capsys):
    other = make_demo_file(demos=5, ticks=7, height=48, width=48)
    files = load_manifest(bundle).files
    assert main(["monitor", str(bundle), "--data", str(other)]) == 1
    said = capsys.readouterr().err
    assert "is not the file that tiny was trained on" in said and "--other-data" in said
    assert load_manifest(bundle).files == files
    assert main(["monitor", str(bundle), "--data", str(other), "--other-data", "--seeds", "2"]) == 0
    reference = load_reference(Bundle.open(bundle))
    assert reference is not None and reference.facts.dataset_sha256 == sha256_of(other)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data", "nowhere.hdf5"], "no demonstrations at nowhere.hdf5: give --data"),
        (["--quantile", "0.2"], r"quantile: 0.2 is outside [0.5, 1.0]"),
        (["--seeds", "1"], r"seeds: 1 is outside [2, 1024]"),
    ],
)
def test_a_mistake_of_the_command_line_is_named(bundle, words, said, capsys):
    assert main(["monitor", str(bundle), *words]) == 1
    assert said in capsys.readouterr().err


def test_a_bundle_without_it_is_sound_and_with_it_every_byte_is_held_to_its_hash(bundle, data):
    assert load_reference(Bundle.open(bundle)) is None
    add_reference(bundle, *splits(Bundle.open(bundle), data), FIT, quiet=True)
    for name in (MONITOR, MONITOR_FEATURES):
        content = (bundle / name).read_bytes()
        (bundle / name).write_bytes(content[:-3] + b"   ")
        with pytest.raises(BundleError, match=f"{name} was altered"):
            Bundle.open(bundle)
        (bundle / name).unlink()
        with pytest.raises(BundleError, match=f"{name} is missing"):
            Bundle.open(bundle)
        (bundle / name).write_bytes(content)
    assert load_reference(Bundle.open(bundle)) is not None


def test_a_reference_of_other_weights_or_another_width_is_refused(bundle, data):
    reference = add_reference(bundle, *splits(Bundle.open(bundle), data), FIT, quiet=True)
    foreign = dataclasses.replace(reference, facts=dataclasses.replace(reference.facts, weights_sha256="f" * 64))
    write_reference(bundle, foreign)
    with pytest.raises(BundleError, match=r"other weights than those of tiny.*cdp monitor"):
        load_reference(Bundle.open(bundle))
    write_reference(bundle, dataclasses.replace(reference, mean=reference.mean[:-1]))
    with pytest.raises(BundleError, match="not of one width"):
        load_reference(Bundle.open(bundle))
    write_reference(bundle, dataclasses.replace(reference, facts=dataclasses.replace(reference.facts, quantile=0.1)))
    with pytest.raises(BundleError, match=r"quantile: 0.1 is outside"):
        load_reference(Bundle.open(bundle))
    add_reference(bundle, *splits(Bundle.open(bundle), data), FIT, quiet=True)
    assert load_reference(Bundle.open(bundle)) is not None, "the advice of these refusals does not help"


def test_a_nan_in_the_picture_path_is_never_a_small_share(bundle, data):
    add_reference(bundle, *splits(Bundle.open(bundle), data), FIT, quiet=True)
    monitor = SamplerMonitor(Bundle.open(bundle), RuntimeConfig(backend="onnxruntime"))
    seen = windows(bundle, data)[0]
    reading = monitor.read({"image": seen["image"], "lowdim": seen["lowdim"] * np.nan})
    assert math.isnan(reading.share) and math.isnan(reading.ood_share)
