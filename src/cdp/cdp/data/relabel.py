"""Second thoughts about a finished episode: another label, or none of it. Neither can cost the episode."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import h5py

from cdp.data.durable import part_of, sync_folder
from cdp.data.episode import EpisodeReader
from cdp.data.mcap_file import mcap_of

#: Folder beside the episodes that receives those which were discarded after they had been finished.
DISCARDED = "discarded"


def relabel(path: Path, success: bool) -> None:
    """Say whether the episode at ``path`` succeeded: in a copy that then takes its place, since a write into the file itself could end halfway.

    Raises :class:`cdp.data.episode.EpisodeError` for a file that is no episode and OSError where there is no room; the file is then as it was.
    """
    EpisodeReader(path).close()
    part = part_of(path)
    try:
        shutil.copyfile(path, part)
        with h5py.File(part, "r+") as file:
            file.attrs["success"], file.attrs["labelled"] = success, True
        with part.open("rb") as copied:
            os.fsync(copied.fileno())
        part.replace(path)
        sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Move the episode at ``path``, and its MCAP file, out of its folder, to :data:`DISCARDED` beside it; returns where it is. Raises OSError."""
    folder = path.parent / DISCARDED
    folder.mkdir(exist_ok=True)
    target = folder / path.name
    raw = mcap_of(path)
    if raw.exists():
        raw.replace(folder / raw.name)
    path.replace(target)
    sync_folder(path.parent)
    return target
