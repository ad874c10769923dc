"""``cdp report`` from bundle to page, and the torch policy of a bundle."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cdp import cli
from cdp.bundle import Bundle, BundleError
from cdp.bundle.manifest import WEIGHTS, sha256_of
from cdp.bundle.policy import chunk_difference, load_policy
from cdp.report.build import ReportError, task_success
from cdp.report.build import _check_finite as check_finite
from cdp.report.observations import Observations, ObservationsError, choose_observations
from cdp.report.page import setting_of

FAST = ["--count", "3", "--seeds", "6", "--costly-seeds", "1", "--threads", "1"]


@pytest.fixture
def copy(tiny_bundle, tmp_path):
    return shutil.copytree(tiny_bundle, tmp_path / "policy")


def reseal(folder):
    """Make the manifest agree with altered files: what is left to find is then what they say."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {name: sha256_of(folder / name) for name in manifest["files"]}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_the_policy_of_a_bundle_is_rebuilt_exactly(tiny_bundle, tiny_policy):
    policy = load_policy(Bundle.open(tiny_bundle))
    for name, value in tiny_policy.policy.state_dict().items():
        assert torch.equal(policy.state_dict()[name], value), name
    assert not policy.training and not any(p.requires_grad for p in policy.parameters())
    assert chunk_difference(Bundle.open(tiny_bundle), policy) <= 1e-4


def test_weights_that_are_not_those_of_the_export_are_refused(copy):
    weights = load_file(copy / WEIGHTS)
    name = next(name for name in weights if name.startswith("denoiser") and name.endswith("bias"))
    save_file({**weights, name: weights[name] + 0.05}, str(copy / WEIGHTS))
    reseal(copy)
    with pytest.raises(BundleError, match="a chunk of the weights differs from one of the exported networks by"):
        load_policy(Bundle.open(copy))
    save_file({name: weights[name]}, str(copy / WEIGHTS))
    reseal(copy)
    with pytest.raises(BundleError, match=r"does not fit config\.yaml"):
        load_policy(Bundle.open(copy))


def test_observations_of_a_file_are_its_held_out_split_in_the_statistics_of_the_bundle(make_demo_file, tiny_bundle):
    path = make_demo_file(image_size=32, height=32)
    bundle = Bundle.open(tiny_bundle)
    policy = load_policy(bundle)
    seen = Observations(path, 4, 0).conditions(bundle, policy)
    assert seen.cond.shape == (4, 16) and seen.facts["is_training_file"] is False and len(seen.facts["rows"]) == 4
    from cdp.data.dataset import DemoDataset
    from cdp.train.batches import image_tensor

    data = DemoDataset(path, "valid", bundle.policy.observation, bundle.policy.horizon)
    batch = data.batch(seen.facts["rows"])
    lowdim = bundle.stats.lowdim.normalise(data.stats.lowdim.denormalise(batch["lowdim"])).astype(np.float32)
    assert not np.allclose(lowdim, batch["lowdim"]), "the statistics of the file are others"
    with torch.no_grad():
        torch.testing.assert_close(seen.cond, policy.encode(image_tensor(batch["image"], torch.device("cpu")), torch.from_numpy(lowdim)))


def test_without_observations_it_says_so_in_one_line(tiny_bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["report", str(tiny_bundle), *FAST]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "no demonstrations at demos.hdf5: give --observations" in said and "synthetic" in said
    with pytest.raises(ObservationsError, match=r"gone\.hdf5"):
        choose_observations("gone.hdf5", Bundle.open(tiny_bundle), 2, 0)


def test_a_report_has_json_table_plots_and_page_and_goes_into_the_bundle(copy, tiny_bundle, make_demo_file, tmp_path, capsys):
    out = tmp_path / "out"
    words = [
        "report",
        str(copy),
        "--baseline",
        str(tiny_bundle),
        "--observations",
        str(make_demo_file(image_size=32, height=32)),
        "--control-temperature",
        "0.5",
    ]
    assert cli.main([*words, *FAST, "--out", str(out), "--record"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1].startswith("report policy: Lipschitz ratio median") and "baseline tiny" in shown[-1] and str(out) in shown[-1]
    report = json.loads((out / "report.json").read_text())
    names = [column["name"] for column in report["columns"]]
    assert names == ["policy", "policy at 0.5", "tiny", "tiny at 0.5"]
    policy, cooled, baseline, _ = (column["measured"] for column in report["columns"])
    assert policy == baseline, "the same weights, observations and noise"
    assert cooled["spread"]["total"]["median"] < policy["spread"]["total"]["median"]
    assert set(policy["solver_error"]["errors"]["ddim"]) == {"1", "2", "3", "5", "10", "20", "50"}
    page = (out / "report.md").read_text()
    for plot in ("violation.png", "lipschitz.png", "solver_error.png", "spread.png"):
        assert (out / plot).stat().st_size > 5000 and f"({plot})" in page
    assert "1 of the baseline's" in page and "validation split" in page and "not the one that the bundle was trained on" in page
    assert "success, by `cdp eval` | not measured" in page
    recorded = json.loads((copy / "report.json").read_text())["contraction_report"]
    assert recorded["columns"]["policy"]["lipschitz.tiny.median"] == policy["lipschitz"]["tiny"]["median"]
    assert "## Contraction report" in (copy / "card.md").read_text()
    Bundle.open(copy)


def test_a_report_says_what_does_not_compare_between_noise_paths():
    seen, measuring = {"text": "three"}, {"seeds": 4, "costly_seeds": 1, "seed": 0}

    def said(*paths):
        columns = [{"solver": "ddim", "steps": 3, "noise_path": path} for path in paths]
        return setting_of({"columns": columns, "observations": seen, "measuring": measuring, "precision": "fp32"})

    assert "Noise path" not in said("vp_cosine", "vp_cosine")
    assert "Noise path edm." in said("edm", "edm") and "limit" not in said("edm", "edm")
    assert "Noise path vp_cosine, edm. Each path has a limit of its own" in said("vp_cosine", "edm")


def test_synthetic_observations_are_labelled(tiny_bundle, tmp_path, capsys):
    words = [
        "report",
        str(tiny_bundle),
        "--observations",
        "synthetic",
        "--control-temperature",
        "--precision",
        "fp64",
        "--out",
        str(tmp_path / "out"),
    ]
    assert cli.main([*words, *FAST]) == 0
    shown = capsys.readouterr().out
    assert "synthetic: every pixel uniform" in shown.splitlines()[0] and "synthetic observations" in shown.splitlines()[-1]
    page = (tmp_path / "out/report.md").read_text()
    assert "not what the camera ever sees" in page and "No baseline was given" in page


def test_success_is_read_from_what_was_recorded():
    entry = {"command": "cdp eval models/x --steps 3 --solver ddim", "successes": 19, "trials": 20}
    found = task_success({"evaluation_in_one_process": entry, "evaluation_broken": {"trials": 3}, "training": {"steps": 5}, "curve": [1.0]})
    assert [(f["successes"], f["trials"], f["solver"], f["steps"]) for f in found] == [(19, 20, "ddim", "3")]


def test_figures_that_are_not_finite_are_named():
    with pytest.raises(ReportError, match=r"columns\[1\].spread is nan"):
        check_finite({"columns": [{"spread": 1.0}, {"spread": float("nan")}]})


def test_a_bundle_of_other_chunks_cannot_stand_beside(copy, tiny_bundle, capsys):
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["policy"]["horizon"] = 8
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert cli.main(["report", str(tiny_bundle), "--baseline", str(copy), "--observations", "synthetic", *FAST]) == 1
    assert "cannot stand beside chunks of (16, 10)" in capsys.readouterr().err
