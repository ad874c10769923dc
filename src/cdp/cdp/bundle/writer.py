"""Write a bundle whole or not at all: in a folder beside its final place, synchronised to disk, then renamed."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from cdp import __version__
from cdp.bundle.card import Card, render_card
from cdp.bundle.errors import BundleError
from cdp.bundle.export import export, shapes_of
from cdp.bundle.manifest import (
    CARD,
    CONFIG,
    DENOISER,
    ENCODER,
    FORMAT,
    MANIFEST,
    REPORT,
    STATS,
    WEIGHTS,
    Manifest,
    PolicyDescription,
    hashes_of,
    manifest_text,
    sha256_of,
)
from cdp.bundle.metadata import add_metadata, model_metadata
from cdp.bundle.place import put_in_place, synchronise
from cdp.config import dump
from cdp.data.normalise import Stats
from cdp.networks.policy import VisionPolicy


def write_bundle(
    out_dir: str | Path,
    policy: VisionPolicy,
    *,
    description: PolicyDescription,
    config: Any,
    stats: Stats,
    report: Mapping[str, Any],
    card: Card,
    overwrite: bool = False,
) -> Manifest:
    """Write the bundle ``out_dir`` of ``policy``, whose weights are the averaged (EMA) ones.

    ``config`` is the configuration dataclass that made it, ``report`` JSON data; the export's parity is added to it as ``export``. An existing
    ``out_dir`` is replaced only with ``overwrite``, and only once the new bundle is complete. Raises :class:`BundleError`, with nothing written,
    where ``out_dir`` exists, the statistics do not fit or the exported networks differ from torch; OSError where the disk refuses.
    """
    out = Path(out_dir).absolute()
    if out.exists() and not overwrite:
        raise BundleError(f"{out} exists and was left as it is; give another folder, or ask to overwrite it")
    _check(policy, description, stats)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}.part-", dir=out.parent))
    try:
        manifest = _fill(part, out.name, policy, description, config, stats, report, card)
        synchronise(part)
        put_in_place(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


def export_models(folder: Path, policy: VisionPolicy, description: PolicyDescription) -> dict[str, float]:
    """Write both ONNX models of ``policy`` into ``folder``, which holds its weights already, and return the report's entry ``export``.

    Raises :class:`BundleError` where a model differs from torch.
    """
    parity = export(policy, shapes_of(description), description.schedule, folder / ENCODER, folder / DENOISER)
    weights = sha256_of(folder / WEIGHTS)
    for model, name in (("encoder", ENCODER), ("denoiser", DENOISER)):
        add_metadata(folder / name, model_metadata(model, description, weights))
    return {f"{model}_max_abs_difference_to_torch": value for model, value in parity.items()}


def _check(policy: VisionPolicy, description: PolicyDescription, stats: Stats) -> None:
    have = (stats.action.width, stats.lowdim.width, policy.horizon, policy.action_width)
    need = (description.action_width, description.observation.lowdim_width, description.horizon, description.action_width)
    if have != need:
        names = "widths of the action and low-dimensional statistics, horizon and action width of the network"
        raise BundleError(f"{names} are {have}, the description says {need}: nothing was written")


def _fill(
    folder: Path,
    name: str,
    policy: VisionPolicy,
    description: PolicyDescription,
    config: Any,
    stats: Stats,
    report: Mapping[str, Any],
    card: Card,
) -> Manifest:
    # Cheap and refusable things first: exporting takes seconds.
    json.dumps(report)
    dump(config, folder / CONFIG)
    stats.save(folder / STATS)
    # Clones, since safetensors refuses tensors that share memory.
    save_file({key: value.detach().cpu().contiguous().clone() for key, value in policy.state_dict().items()}, str(folder / WEIGHTS))
    report = {**report, "export": export_models(folder, policy, description)}
    (folder / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    manifest = Manifest(format=FORMAT, name=name, software_version=__version__, policy=description, files={})
    (folder / CARD).write_text(render_card(manifest, card, report), encoding="utf-8")
    manifest = replace(manifest, files=hashes_of(folder))
    (folder / MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")
    return manifest
