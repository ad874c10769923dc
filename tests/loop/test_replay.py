"""A recorded demonstration, replayed through the guard by the command that a user types."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from loop_pass import ROOT, Loop, alive_in_domain


@pytest.mark.long
def test_a_demonstration_replayed_in_its_own_scene_goes_where_it_went(recorded: Loop, tmp_path: Path, domain: str):
    command = [
        sys.executable,
        "-m",
        "cdp.cli",
        "replay",
        str(recorded.demos / "demos.hdf5"),
        "--demo",
        "demo_0",
        "--lockstep",
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["fault"] is None and results["rejected_actions"] == 0 and results["success"]
    # A control period's phase may differ; a demonstration of another scene, or actions out of step, would be off by centimetres.
    assert results["position_error_mm"]["max"] < 5.0
    assert alive_in_domain(domain) == []
