"""The frame of the studies, and each study in its quick version."""

import json
import math

import pytest

from cdp.cli import main
from cdp.studies import frame
from cdp.studies.frame import STUDIES, Outcome, StudyError, StudyRun, run_study, spread, table

FIGURES = {
    "toy": {"flow.png", "samples.png", "trade.png"},
    "steps-solver": {"steps.png"},
    "low-data": {"low_data.png"},
    "diversity": {"diversity.png"},
    "slide": {"policies.png", "settings.png"},
    "cross-schedule": {"paths.png", "cross.png"},
    "gamma": {"front.png", "trace.png", "cheap.png"},
    "state-sensitivity": {"sensitivity.png", "walk.png"},
    "ode-sde": {"steps.png", "gains.png"},
    "joins": {"delays.png", "motion.png"},
}
#: Hit rates of the exact denoiser in many steps, where a study samples it.
EXACT_HITS = {
    "toy": lambda results: [results["exact"]["hits_50"]],
    "steps-solver": lambda results: [results["hits"]["exact"]["ddim"]["50"]["mean"]],
    "low-data": lambda results: [],
    "diversity": lambda results: [results["exact"]["hits_50"]],
    "cross-schedule": lambda results: [figures["hits_50"] for figures in results["exact"].values()],
    "gamma": lambda results: [results["exact"]["hits_50"]],
    "state-sensitivity": lambda results: [],
    "ode-sde": lambda results: [results["policies"]["exact"][solver]["50"]["hits"]["mean"] for solver in ("ddim", "dpmpp_2m", "heun")],
}
WITHOUT_RATES = {"joins"}
RATES = ("hits", "coverage", "violation")
POSITIVE = ("lipschitz_median", "lipschitz_p999", "std", "within_std")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path)
    else:
        yield path, value


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_quick_study_writes_figures_numbers_and_the_command(name, cache, tmp_path, capsys):
    out = tmp_path / name
    assert main(["study", name, "--quick", "--seed", "4", "--out", str(out), "--cache", str(cache)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert {path.name for path in out.iterdir()} == {"results.json", "README.md"} | FIGURES[name]
    for figure in FIGURES[name]:
        assert (out / figure).read_bytes().startswith(b"\x89PNG")

    text = (out / "README.md").read_text(encoding="utf-8")
    assert f"cdp study {name} --seed 4 --quick\n" in text
    assert "## What this does not show" in text
    assert all(f"]({figure})" in text for figure in FIGURES[name])

    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert results["seeds"] == [4]
    assert results["quick"]
    assert results["failures"] == []
    measured = [(path, value) for path, value in leaves(results) if isinstance(value, float)]
    assert all(math.isfinite(value) for _, value in measured)
    # A std over seeds may be of a rate; a difference of rates does not occur in the results.
    rates = [value for path, value in measured if any(str(key).startswith(RATES) for key in path)]
    assert bool(rates) == (name not in WITHOUT_RATES)
    assert all(0.0 <= value <= 1.0 for value in rates)
    sizes = [value for path, value in measured if any(key in POSITIVE for key in path)]
    assert all(value >= 0.0 for value in sizes)
    # The instrument itself: the denoiser that knows the expert's distribution does what the expert does.
    assert all(rate > 0.96 for rate in EXACT_HITS.get(name, lambda results: [])(results))


def test_unknown_study_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["study", "weather"])
    assert stop.value.code == 2
    assert "weather" in capsys.readouterr().err


def test_failed_check_keeps_the_files_and_fails_the_command(monkeypatch, tmp_path, capsys):
    module = type("Fake", (), {"study": staticmethod(lambda run: Outcome({"figure": 1.5}, "# Title\n", "a summary", ("the sky fell",)))})
    monkeypatch.setattr(frame.importlib, "import_module", lambda name: module)
    with pytest.raises(StudyError, match="the sky fell"):
        run_study("toy", StudyRun((0,), True, tmp_path / "out", tmp_path))
    assert json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["failures"] == ["the sky fell"]


def test_a_number_that_is_none_is_refused(monkeypatch, tmp_path):
    module = type("Fake", (), {"study": staticmethod(lambda run: Outcome({"figure": math.nan}, "", ""))})
    monkeypatch.setattr(frame.importlib, "import_module", lambda name: module)
    with pytest.raises(ValueError, match="not JSON compliant"):
        run_study("toy", StudyRun((0,), True, tmp_path, tmp_path))


def test_spread_is_mean_and_sample_deviation():
    assert spread([1.0, 2.0, 3.0]) == {"mean": 2.0, "std": 1.0, "seeds": [1.0, 2.0, 3.0]}
    assert spread([5.0])["std"] == 0.0


def test_table_is_markdown():
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
