"""Second thoughts about a finished episode: another label, or none of it. Neither can cost the episode."""

from __future__ import annotations

import errno
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

    The copy has the process in its name: recorder and panel may label the same file at once, and one of the two labels stays, in a whole file.

    Raises :class:`cdp.data.episode.EpisodeError` for a file that is no episode and OSError where there is no room; the file is then as it was.
    """
    EpisodeReader(path).close()
    part = part_of(path.with_name(f"{path.name}.{os.getpid()}"))
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
    """Move the episode at ``path``, and its MCAP file, out of its folder, to :data:`DISCARDED` beside it; returns where it is.

    Raises OSError, FileExistsError where one of that name is there already; the episode is then where it was.
    """
    folder = path.parent / DISCARDED
    folder.mkdir(exist_ok=True)
    return _move(path, folder / path.name)


def bring_back(path: Path) -> Path:
    """Move the episode at ``path``, which :func:`set_aside` had moved, back into its folder; returns where it is. Raises as :func:`set_aside`."""
    return _move(path, path.parent.parent / path.name)


def _move(path: Path, target: Path) -> Path:
    # A rename replaces what is there without asking, and that would be an episode.
    for there in (target, mcap_of(target)):
        if there.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(there))
    if mcap_of(path).exists():
        mcap_of(path).rename(mcap_of(target))
    path.rename(target)
    # Which of the two folders reaches the disk first is not said: the new name before the old one is gone.
    sync_folder(target.parent)
    sync_folder(path.parent)
    return target
