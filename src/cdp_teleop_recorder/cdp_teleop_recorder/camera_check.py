"""The command `cdp camera-check`: does the camera still look where it did when the data set was recorded?"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cdp.camera.check import Check, check_view
from cdp.camera.features import Picture
from cdp.camera.overlay import write_overlay
from cdp.camera.reference import CameraError, load_reference, read_picture
from cdp.data.images import decode_compressed, decode_raw
from cdp.data.streams import IMAGE_STREAM

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

EXAMPLES = """examples:
  cdp camera-check data/slide/demos.hdf5                             the topic /agentview/image_raw against the demonstrations
  cdp camera-check data/slide/demos.hdf5 --image now.png             a picture from a file
  cdp camera-check monday.png --topic /wrist/image_raw/compressed    against a picture
"""
# So many make one picture with little noise; a camera at 30 Hz gives them in a sixth of a second.
_FRAMES = 5
_WAIT_S = 10.0


def register_camera_check(subparsers: SubParsers) -> None:
    """Add `camera-check` to the `cdp` command; found through the entry-point group ``cdp.commands``."""
    parser = subparsers.add_parser(
        "camera-check",
        help="has the camera moved since the data set was recorded: shift, rotation, a verdict and a picture of it",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("reference", type=Path, help="file of demonstrations, recorded episode, or picture")
    live = parser.add_mutually_exclusive_group()
    live.add_argument("--topic", default="/agentview/image_raw", help="topic of the live camera, raw or compressed (default %(default)s)")
    live.add_argument("--image", type=Path, default=None, help="a picture from a file instead")
    parser.add_argument("--camera", default=IMAGE_STREAM, help="which of the reference's cameras (default %(default)s)")
    parser.add_argument("--tolerance", type=float, default=1.0, help="largest displacement that is no motion [%% of the width] (default %(default)s)")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/camera-check.png"), help="picture to write (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    parser.set_defaults(run=run_camera_check)


def run_camera_check(args: argparse.Namespace) -> int:
    """0 where the camera looks where it did, 1 where it moved or that cannot be told. Raises CameraError and DataError."""
    if not 0.0 < args.tolerance <= 20.0:
        raise CameraError(f"--tolerance {args.tolerance}: it must be above 0 and at most 20 % of the width")
    reference = load_reference(args.reference, args.camera)
    live = read_picture(args.image) if args.image else live_picture(args.topic)
    check = check_view(reference, live, args.tolerance / 100.0)
    write_overlay(check, args.out)
    text = json.dumps(_told(check, reference.source, args.out), indent=2) if args.json else _text(check, reference.source, args.out)
    sys.stdout.write(text + "\n")
    return 0 if check.verdict == "same" else 1


def live_picture(topic: str, seconds: float = _WAIT_S) -> Picture:
    """The median of some pictures (H, W, 3) uint8 RGB of a topic. Raises :class:`CameraError` where none comes."""
    from cdp_teleop_recorder.hear import COMPRESSED, hear_images

    pictures: list[Picture] = []

    def note(message: Any) -> bool:
        if topic.endswith(COMPRESSED):
            pictures.append(decode_compressed(message.data, message.format))
        else:
            pictures.append(np.array(decode_raw(message.data, message.height, message.width, message.step, message.encoding)))
        return len(pictures) >= _FRAMES

    publishers = hear_images(topic, seconds, note)
    if not pictures:
        why = "nobody publishes it: start the camera, bringup.launch.py camera:=realsense for one" if not publishers else "its driver sends nothing"
        raise CameraError(f"no picture came on {topic} within {seconds:.0f} s; {why}")
    return np.asarray(np.median(np.stack(pictures), axis=0), dtype=np.uint8)


def _text(check: Check, source: str, out: Path) -> str:
    lines = [f"{check.verdict}: {check.text}", *(f"  -> {line}" for line in check.advice), f"against {source}; see {out}"]
    return "\n".join(lines)


def _told(check: Check, source: str, out: Path) -> dict[str, Any]:
    told: dict[str, Any] = {"verdict": check.verdict, "text": check.text, "advice": list(check.advice), "tolerance_px": check.tolerance_px}
    if check.motion is not None:
        numbers = asdict(check.motion)
        del numbers["transform"]
        # JSON has no infinity.
        numbers["uncertainty_px"] = numbers["uncertainty_px"] if np.isfinite(numbers["uncertainty_px"]) else None
        told |= {**numbers, "shift_px": [float(v) for v in numbers["shift_px"]]}
    return {**told, "reference": source, "picture": str(out)}
