"""The long check of the guard, in short: it runs, it follows, and it can fail."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "guard_check.py"


def run(*arguments, code=""):
    command = [
        sys.executable,
        "-c",
        f"{code}\nimport runpy, sys\nsys.argv = ['x', *{list(arguments)!r}]\nrunpy.run_path({str(SCRIPT)!r}, run_name='__main__')",
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_few_hundred_chunks_are_followed_within_every_limit():
    done = run("--chunks", "300", "--seed", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every command within every limit" in done.stdout


def test_a_guard_without_its_jerk_limit_is_found_out():
    """The guard is given ten times the jerk that it is checked for."""
    done = run(
        "--chunks",
        "200",
        code="import dataclasses, cdp_franka.guard_motion as m\nold = m.Bounds\nm.Bounds = lambda s, a, j: old(s, a, 10 * j)",
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "jerk" in done.stdout.splitlines()[-1]
