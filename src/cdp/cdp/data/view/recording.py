"""Demonstrations as a Rerun recording: pictures, poses and actions on the time of their stamps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cdp.data.demos import DataError, Demo, demo_names, open_demos, read_all, read_demo
from cdp.data.images import encode_jpeg
from cdp.data.spec import NS_PER_S

INSTALL = "the Rerun library is not installed: pip install -r requirements/data.txt"
_JPEG_QUALITY = 90


def rerun_recording(path: str | Path, out: str | Path, first: int | None = None) -> int:
    """Write ``out`` (.rrd) about the ``first`` demonstrations and return how many they are. Raises :class:`DataError` where Rerun is missing."""
    try:
        import rerun
    except ImportError as error:
        raise DataError(INSTALL) from error
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with open_demos(path) as file:
        names = demo_names(file)[:first]
        stream = rerun.RecordingStream("cdp_data", recording_id=Path(path).stem)
        stream.save(str(out))
        for name in names:
            _log(rerun, stream, name, read_demo(file, name))
        stream.flush()
        stream.disconnect()
    return len(names)


def _log(rerun: Any, stream: Any, name: str, demo: Demo) -> None:
    stamps = read_all(demo, "stamp_ns") if "stamp_ns" in demo.arrays else np.arange(demo.rows) * NS_PER_S // 10
    seconds = (stamps - stamps[0]) / NS_PER_S
    times = [rerun.TimeColumn("time_in_demo", duration=seconds), rerun.TimeColumn("row", sequence=np.arange(demo.rows))]
    for path, array in demo.arrays.items():
        where = f"{name}/{path}"
        if len(array.shape) == 4 and array.dtype == np.uint8:
            blobs = [encode_jpeg(np.asarray(array[k : k + 1])[0], _JPEG_QUALITY).tobytes() for k in range(demo.rows)]
            kinds = ["image/jpeg"] * demo.rows
            stream.send_columns(where, indexes=times, columns=rerun.EncodedImage.columns(blob=blobs, media_type=kinds))
        elif len(array.shape) == 2 and array.shape[0] == demo.rows:
            values = read_all(demo, path).astype(np.float64)
            columns = rerun.Scalars.columns(scalars=values.reshape(-1)).partition([values.shape[1]] * demo.rows)
            stream.send_columns(where, indexes=times, columns=columns)
    for path in ("action_dict/abs_pos", "obs/robot0_eef_pos"):
        if path in demo.arrays:
            stream.log(f"{name}/path/{path}", rerun.LineStrips3D([read_all(demo, path)]), static=True)
