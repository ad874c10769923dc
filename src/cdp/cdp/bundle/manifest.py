"""What a bundle says about itself: what its policy needs, what it gives, and the hash of every file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cdp.bundle.errors import BundleError
from cdp.config import ConfigError, from_mapping, setting, to_mapping
from cdp.data.spec import ObservationSpec
from cdp.diffusion.paths import PathConfig
from cdp.diffusion.sampler import SOLVERS
from cdp.diffusion.schedule import Schedule

FORMAT = "cdp-bundle-1"
MANIFEST = "manifest.json"
ENCODER = "encoder.onnx"
DENOISER = "denoiser.onnx"
WEIGHTS = "weights.safetensors"
CONFIG = "config.yaml"
STATS = "stats.json"
REPORT = "report.json"
CARD = "card.md"
FILES = (ENCODER, DENOISER, WEIGHTS, CONFIG, STATS, REPORT, CARD)
"""Every file that a bundle has, beside its manifest."""
MONITOR = "monitor.json"
MONITOR_FEATURES = "monitor.safetensors"
OPTIONAL_FILES = (MONITOR, MONITOR_FEATURES)
"""Files that a bundle may have: what :mod:`cdp.runtime.monitor` compares a live observation with."""

SPACE_EEF_POSE = "eef_pose"
"""Rows of position (3), 6-D rotation (6) and gripper (1); the only action space of this format."""


@dataclass(frozen=True)
class PolicyDescription:
    """What a policy was trained for, complete enough to run it and to refuse to."""

    task: str
    """Task of the demonstrations, e.g. slide."""
    observation: ObservationSpec
    """What it sees, and the policy rate: the rows of an action chunk follow at it too."""
    dataset_sha256: str
    """Hash of the training file."""
    horizon: int = setting(low=1, high=256, help="T, rows of an action chunk")
    dataset: str = setting("", help="name of the training file")
    action_space: str = setting(SPACE_EEF_POSE, choices=(SPACE_EEF_POSE,), help="meaning of an action row")
    action_width: int = setting(10, low=10, high=10, help="D, numbers in an action row")
    schedule: PathConfig = field(default_factory=Schedule)
    steps: int = setting(3, low=1, high=100, help="sampler steps that the report's figures are for")
    solver: str = setting("ddim", choices=SOLVERS, help="solver that the report's figures are for")


@dataclass(frozen=True)
class Manifest:
    """``manifest.json``."""

    format: str
    name: str
    software_version: str
    """Version of cdp that wrote it."""
    policy: PolicyDescription
    files: dict[str, str]
    """SHA-256 of every file, by its name."""


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def hashes_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of the bundle in ``folder``, by its name."""
    return {name: sha256_of(folder / name) for name in (*FILES, *OPTIONAL_FILES) if name in FILES or (folder / name).is_file()}


def manifest_text(manifest: Manifest) -> str:
    """JSON of a manifest."""
    return json.dumps(to_mapping(manifest), indent=2) + "\n"


def load_manifest(folder: str | Path) -> Manifest:
    """Read ``manifest.json`` of the bundle in ``folder``. Raises :class:`BundleError` where there is none, or one of another format."""
    folder = Path(folder)
    if not folder.is_dir():
        raise BundleError(f"no policy bundle at {folder}: no such folder; train one with `cdp train`, or give the folder of another")
    data = _read_json(folder / MANIFEST)
    found = data.get("format")
    if found != FORMAT:
        raise BundleError(
            f"{folder / MANIFEST}: bundle format {found!r}, but this version reads {FORMAT!r}; train or export the policy again with it"
        )
    try:
        return from_mapping(Manifest, data)
    except ConfigError as error:
        raise BundleError(f"{folder / MANIFEST}: {error}; copy the bundle again or train it again") from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"no policy bundle at {path.parent}: it has no {path.name}; train one with `cdp train`, or give another folder") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleError(f"{path}: not valid JSON ({error}); copy the bundle again") from None
    if not isinstance(data, dict):
        raise BundleError(f"{path}: not a mapping; copy the bundle again")
    return data
