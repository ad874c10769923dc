"""``cdp export``: write the ONNX models of a bundle anew from its weights, and compare one chunk of every backend with torch."""

from __future__ import annotations

import argparse
from pathlib import Path

from cdp.bundle.annotate import set_figures
from cdp.bundle.change import change
from cdp.bundle.compare import chunk_differences
from cdp.bundle.errors import BundleError
from cdp.bundle.export import PARITY_TOLERANCE
from cdp.bundle.manifest import Manifest, load_manifest
from cdp.bundle.policy import weights_policy
from cdp.bundle.reader import Bundle
from cdp.bundle.writer import export_models


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a parser."""
    parser = subparsers.add_parser(
        "export",
        help="write the ONNX models of a bundle anew and compare the backends",
        description=(
            "Write encoder.onnx and denoiser.onnx of a bundle anew from its weights, with today's exporter and metadata, and compare a chunk of "
            "every inference backend with torch's. The bundle is changed whole or not at all."
        ),
    )
    parser.add_argument("bundle", type=Path, help="folder of the bundle, e.g. models/slide")
    parser.add_argument("--check", action="store_true", help="compare only; change nothing")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> str:
    """Export and compare; the summary line. Raises :class:`BundleError` where a backend's chunk differs by more than the tolerance."""
    if not args.check:
        export_again(args.bundle)
    differences = chunk_differences(Bundle.open(args.bundle))
    listed = ", ".join(f"{backend} {value:.1e}" for backend, value in differences.items())
    # A NaN compares false with everything: it has to fail here, not pass.
    if not all(value <= PARITY_TOLERANCE for value in differences.values()):
        raise BundleError(f"{args.bundle}: a chunk differs from torch's by more than {PARITY_TOLERANCE:g}: {listed}; train the policy again")
    done = "checked" if args.check else "exported"
    return f"{done} {args.bundle}: largest difference of a chunk from torch's, in normalised actions: {listed}"


def export_again(folder: Path) -> Manifest:
    """Write both ONNX models of the bundle ``folder`` anew. Raises :class:`BundleError`, the bundle left as it was."""

    def edit(part: Path) -> None:
        description = load_manifest(part).policy
        set_figures(part, "export", export_models(part, weights_policy(Bundle.open(part)), description))

    return change(folder, edit)
