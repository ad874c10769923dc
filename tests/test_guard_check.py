"""The long check of the guard, in short: it runs, it follows, it can be gone on with, and it can fail."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(*arguments, code=""):
    """The check in a process of its own, after ``code``."""
    script = BENCHMARKS / "guard_check.py"
    program = (
        f"import runpy, sys\nsys.path.insert(0, {str(BENCHMARKS)!r})\n{code}\n"
        f"sys.argv = ['x', *{list(arguments)!r}]\nrunpy.run_path({str(script)!r}, run_name='__main__')"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)


def test_a_few_hundred_chunks_are_followed_within_every_limit():
    done = run("--chunks", "300", "--seed", "3", "--workers", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every command within every limit" in done.stdout


@pytest.mark.long
def test_an_interrupted_check_is_gone_on_with_and_any_number_of_processes_finds_the_same(tmp_path):
    kept = tmp_path / "guard.json"
    assert run("--chunks", "1000", "--seed", "3", "--workers", "1", "--out", str(kept)).returncode == 0
    whole = json.loads(kept.read_text())
    # As if it had been killed after the first of its two blocks: the second is done again, by another process.
    first = tmp_path / "first.json"
    assert run("--chunks", "500", "--seed", "3", "--workers", "1", "--out", str(first)).returncode == 0
    kept.write_text(json.dumps({**json.loads(first.read_text()), "header": whole["header"]}))
    script = [sys.executable, str(BENCHMARKS / "guard_check.py"), "--chunks", "1000", "--seed", "3", "--workers", "2", "--out", str(kept)]
    again = subprocess.run(script, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stdout + again.stderr
    assert json.loads(kept.read_text()) == whole


def test_results_of_another_seed_are_not_added_to(tmp_path):
    kept = tmp_path / "guard.json"
    kept.write_text(json.dumps({"header": {"seed": 1}}))
    done = run("--chunks", "500", "--seed", "2", "--out", str(kept))
    assert done.returncode == 2
    assert "left as it is" in done.stderr
    assert json.loads(kept.read_text()) == {"header": {"seed": 1}}


@pytest.mark.long
@pytest.mark.parametrize(
    ("code", "found"),
    [
        pytest.param(
            "import cdp_franka.guard_motion as m\nold = m.Bounds\nm.Bounds = lambda s, a, j: old(s, a, 1.05 * j)", "linear jerk", id="jerk by 5 %"
        ),
        pytest.param(
            "import numpy as np, cdp_franka.guard_motion as m\nm.CartesianMotion._inside = lambda self, p: [x + 0.5 for x in p]",
            "outside of the box",
            id="no walls",
        ),
        pytest.param("import cdp_franka.guard_sources as s\ns._check_rows = lambda action, config: None", "exceptions", id="rows not looked at"),
    ],
)
def test_a_guard_that_is_broken_is_found_out(code, found):
    """The guard is broken before the check begins; what it breaks is named in the last line."""
    done = run("--chunks", "500", "--workers", "1", code=code)
    assert done.returncode == 1, done.stdout + done.stderr
    assert found in done.stdout.splitlines()[-1]
