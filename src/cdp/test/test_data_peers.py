"""The peers' own readers on our files; needs the environment that `make check-peers-data` makes."""

import json
import subprocess
from pathlib import Path

import h5py
import pytest

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / "runs/peers/venv/bin/python"


@pytest.mark.skipif(not PYTHON.is_file(), reason="robomimic and LeRobot are not installed: run make check-peers-data")
@pytest.mark.timeout(1200)
def test_peers_read_our_files(make_demo_file, tmp_path):
    path = make_demo_file(demos=4, height=96, width=128, ticks=20)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src/cdp"), "HF_HUB_OFFLINE": "1"}
    command = [str(PYTHON), "-W", "ignore", str(ROOT / "tools/check_peers.py"), str(path), str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "out/results.json").read_text())
    assert {(row["peer"], row["what"]) for row in rows} == {
        ("robomimic", "get_dataset_info"),
        ("robomimic", "SequenceDataset"),
        ("robomimic", "playback_dataset"),
        ("lerobot", "LeRobotDataset"),
        ("lerobot", "round trip"),
    }
    # A file that breaks a rule of theirs is noticed: the table can say FAILED.
    with h5py.File(path, "r+") as file:
        file["data/demo_0/actions"][0, 0] = 1.5
    start = [str(PYTHON), "-m", "robomimic.scripts.get_dataset_info", "--dataset", str(path)]
    assert b"should have actions in [-1., 1.]" in subprocess.run(start, env=environment, capture_output=True).stderr
