"""The arithmetic and the command of the training benchmark; no times are judged."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("training_overhead", ROOT / "benchmarks/training_overhead.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_ratios_are_taken_within_a_round(benchmark):
    times = {benchmark.BASELINE: [1.0, 10.0, 2.0], benchmark.CONFIGURED: [1.2, 15.0, 2.6]}
    assert benchmark.penalised_ratio(times, benchmark.CONFIGURED) == pytest.approx(1.3)
    assert benchmark.average_ratio(1.3, 2) == pytest.approx(1.15)


def test_it_ends_with_one_line_and_judges_unless_told_not_to(benchmark, capsys):
    words = ["--config", str(ROOT / "config/train/slide_tiny.yaml"), "--only-configured", "--rounds", "1", "--block", "1", "--threads", "1"]
    assert benchmark.main([*words, "--limit", "0", "--no-check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("cdp-saturating, 25% of the batch every 2 steps: ") and "gamma 0" in lines[1]
    assert benchmark.main([*words, "--limit", "0"]) == 1
