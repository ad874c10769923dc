"""``cdp core-check``: what passes, what fails, what it writes."""

import json
import math

import pytest

from cdp.checks import core, orders
from cdp.checks.diffusion import contraction_sign, numpy_and_torch, round_trips
from cdp.checks.figure import Figure, Suite
from cdp.cli import main
from cdp.diffusion.path import VariancePreserving


@pytest.mark.parametrize(
    ("value", "low", "high", "holds"),
    [
        (1.0, 0.9, 1.1, True),
        (0.8, 0.9, 1.1, False),
        (1.2, 0.9, 1.1, False),
        (5.0, 1.0, None, True),
        (0.0, 0.0, 0.0, True),
        (math.nan, None, 1.0, False),
    ],
)
def test_a_figure_holds_inside_its_range(value, low, high, holds):
    assert Figure("check", "figure", value, low, high).holds is holds


@pytest.mark.parametrize("check", [round_trips, contraction_sign, numpy_and_torch])
def test_quick_checks_hold(check):
    assert [figure.name for figure in check(1) if not figure.holds] == []


def test_a_wrong_sign_is_found(monkeypatch):
    """The limit of the noising direction, as if sampling ran forwards in time."""
    monkeypatch.setattr(VariancePreserving, "contraction_limit", lambda self, t: -self.alpha(t))
    failed = {figure.name for figure in contraction_sign(0) if not figure.holds}
    assert failed == {"vp_cosine points that disagree", "vp_linear points that disagree"}


def suite(value):
    return (Suite({"tried": lambda seed: [Figure("tried", "ok", 1.0, 0.5, 1.5), Figure("tried", "tested", value + seed, high=1.0)]}),)


def test_the_command_reports_and_fails(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(core, "SUITES", suite(0.5))
    assert main(["core-check", "--out", str(tmp_path / "core")]) == 0
    assert "core-check: all 2 figures of 1 checks hold; wrote" in capsys.readouterr().out
    report = json.loads((tmp_path / "core" / "core.json").read_text())
    assert report["seed"] == 0 and [figure["holds"] for figure in report["figures"]] == [True, True]
    assert main(["core-check", "--seed", "1"]) == 1
    out = capsys.readouterr().out
    assert "tested          1.5  allowed <= 1              FAILED" in out
    assert out.strip().splitlines()[-1] == "core-check: 1 of 2 figures in 1 checks FAILED, first tested"


def test_a_check_without_figures_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(core, "SUITES", (Suite({"empty": lambda seed: []}),))
    assert main(["core-check"]) == 1
    assert "the check 'empty' measured nothing" in capsys.readouterr().err


def test_the_orders_are_drawn(tmp_path):
    assert orders.plot(tmp_path, 0).read_bytes().startswith(b"\x89PNG")
