"""What a user sees who runs the wrong thing: one clear error, no motion, a non-zero status, nothing left running."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from loop_pass import ROOT, Loop, alive_in_domain


def _refused(bundle: Path, out: Path) -> str:
    """Output of `cdp eval`, which must fail."""
    command = [sys.executable, "-m", "cdp.cli", "eval", str(bundle), "--episodes", "1", "--lockstep", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180)
    output = done.stdout + done.stderr
    assert done.returncode == 1, output
    assert "engaged at the measured pose" not in output, "the arm was engaged for a policy that cannot run"
    return output


def _errors(output: str, node: str) -> list[str]:
    return re.findall(rf"\[ERROR\] \[[\d.]+\] \[{node}\]: (.*)", output)


def test_a_missing_bundle_is_one_clear_error(tmp_path: Path, domain: str):
    output = _refused(tmp_path / "nowhere", tmp_path / "out")
    errors = _errors(output, "cdp_policy")
    assert len(errors) == 1 and "nowhere" in errors[0], output
    assert alive_in_domain(domain) == []


def test_a_bundle_for_another_task_is_one_clear_error(trained: Loop, tmp_path: Path, domain: str):
    bundle = tmp_path / "stacker"
    shutil.copytree(trained.bundle, bundle)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["policy"]["task"] = "stack"
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    errors = _errors(_refused(bundle, tmp_path / "out"), "cdp_policy")
    assert len(errors) == 1 and "'stack'" in errors[0] and "'slide'" in errors[0]
    assert alive_in_domain(domain) == []
