"""Demonstrations as a LeRobot v3 data set and back, through LeRobot's own library, which may live in a Python environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cdp
from cdp.data.demos import DataError
from cdp.data.foreign import ConvertReport

PYTHON_VARIABLE = "CDP_LEROBOT_PYTHON"
_PEERS = Path("runs/peers/venv/bin/python")
_SHOWN_LINES = 5


def lerobot_python() -> Path:
    """The interpreter that has LeRobot: $CDP_LEROBOT_PYTHON, this one, or that of `make check-peers-data`. Raises :class:`DataError`."""
    named = os.environ.get(PYTHON_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise DataError(f"{PYTHON_VARIABLE}: {named} is no interpreter")
        return Path(named)
    if find_spec("lerobot") is not None:
        return Path(sys.executable)
    if _PEERS.is_file():
        return _PEERS.absolute()
    raise DataError(
        f"LeRobot is not installed: `make check-peers-data` makes an environment with it, or name a Python that has it in {PYTHON_VARIABLE}"
    )


def to_lerobot(path: str | Path, out: str | Path, video: bool = True) -> ConvertReport:
    """Write the data set folder ``out``, which must not be there yet; pictures as video, or each without loss. Raises :class:`DataError`."""
    if Path(out).exists():
        raise DataError(f"{out} is there already; nothing was written")
    return _run("export", Path(path), Path(out), "video" if video else "png")


def from_lerobot(path: str | Path, out: str | Path) -> ConvertReport:
    """Write a file of demonstrations of a LeRobot data set on this machine. Raises :class:`DataError`."""
    if not (Path(path) / "meta/info.json").is_file():
        raise DataError(f"{path}: is no LeRobot data set (meta/info.json)")
    return _run("import", Path(path), Path(out), "any")


def _run(kind: str, source: Path, target: Path, images: str) -> ConvertReport:
    python = lerobot_python()
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(cdp.__file__).parents[1]),
        # Sets lie on this machine: nothing is looked up on a hub.
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(target.absolute().parent / f".{target.name}.cache"),
    }
    command = [str(python), "-m", "cdp.data.lerobot_worker", kind, str(source.absolute()), str(target.absolute()), images]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()[-_SHOWN_LINES:]
        raise DataError(f"LeRobot's library ({python}) failed:\n" + "\n".join(lines))
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return ConvertReport(target, result["demos"], result["rows"], tuple(result["notes"]))
