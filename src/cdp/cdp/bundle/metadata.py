"""What an ONNX file of a bundle says about itself, so that it can be used, and refused, without the bundle around it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import onnx

from cdp import __version__
from cdp.bundle.manifest import FORMAT, PolicyDescription
from cdp.config import to_mapping

_INPUTS = {
    "encoder": {
        "image": "(1, To, 3, H, W) RGB in [0, 1], oldest frame first; the network crops the centre itself",
        "lowdim": "(1, To, P) normalised to [-1, 1] by the bundle's statistics, oldest first, in the order of observation.lowdim_keys",
    },
    "denoiser": {
        "x": "(B, T, D) noisy action chunk, normalised to [-1, 1] by the bundle's statistics, plus noise",
        "t": "(B,) time on the noise path, in (0, t_max]",
        "cond": "(B, C) condition, the encoder's output",
    },
}
_OUTPUTS = {"encoder": {"cond": "(1, C) condition"}, "denoiser": {"x0": "(B, T, D) estimate of the clean normalised chunk"}}


def model_metadata(model: str, description: PolicyDescription, weights_sha256: str) -> dict[str, str]:
    """The ``metadata_props`` of the ``encoder`` or the ``denoiser`` of a policy, values that are not text as JSON.

    ``cdp.weights_sha256`` is the hash of the bundle's ``weights.safetensors``: two files of one policy have it in common.
    """
    values = {
        "model": model,
        "format": FORMAT,
        "software_version": __version__,
        "weights_sha256": weights_sha256,
        "inputs": json.dumps(_INPUTS[model]),
        "outputs": json.dumps(_OUTPUTS[model]),
        "policy": json.dumps(to_mapping(description)),
    }
    return {f"cdp.{key}": value for key, value in values.items()}


def add_metadata(path: Path, metadata: Mapping[str, str]) -> None:
    """Set the ``metadata_props`` of an ONNX file, and drop the exporter's own: they name the folders of the machine that exported it.

    What the graph computes is left as it is.
    """
    model = onnx.load(str(path))
    graph = model.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.save(model, str(path))
