"""The policy through the nodes in lock-step, twice: what the guard commands is a function of the seed alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cdp_ros.domain import own_domain
from loop_pass import ROOT

DEADLINE_S = 300.0
SEED = 100_000


def start_eval(out: Path, seed: int, episodes: int, domain: int) -> subprocess.Popen[str]:
    arguments = ["models/slide", "--lockstep", "--seed", str(seed), "--episodes", str(episodes), "--timeout-s", "4", "--out", str(out)]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
    command = [sys.executable, "-m", "cdp.cli", "eval", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen[str], out: Path) -> list[dict[str, Any]]:
    try:
        output, _ = process.communicate(timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.terminate()
        output, _ = process.communicate(timeout=60)
        pytest.fail(f"not within {DEADLINE_S:.0f} s:\n{output[-4000:]}")
    assert process.returncode == 0, output[-6000:]
    assert "can not be repeated exactly" not in output, output[-6000:]
    return list(json.loads((out / "results.json").read_text())["episodes"])


def test_equal_seeds_give_equal_commands_bit_for_bit(tmp_path: Path):
    """Both run at once, so that no two nodes find each other, wait or compute at the same moments; one has run another episode before."""
    one, two = own_domain(), own_domain()
    first, second = tmp_path / "first", tmp_path / "second"
    runs = [start_eval(first, SEED, 2, one), start_eval(second, SEED + 1, 1, two)]
    try:
        episodes, again = finish(runs[0], first), finish(runs[1], second)
    finally:
        for run in runs:
            if run.poll() is None:
                run.kill()
                run.wait()
    assert [e["seed"] for e in episodes] == [SEED, SEED + 1]
    counts = [int(e["commands"].split()[0]) for e in episodes]
    assert min(counts) > 300, "hardly anything was commanded, so hardly anything was compared"
    assert episodes[0]["commands"] != episodes[1]["commands"], "another scene and the same commands: the digest sees nothing"
    assert episodes[1] == again[0]
