"""Put a finished folder in its place: on disk first, then by renaming, so that a reader sees the old one or the whole new one."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path


def synchronise(folder: Path) -> None:
    """Flush every file of ``folder``, which holds no folders, and the folder itself to disk, readable for every user as other files are.

    Temporary folders, and the files that safetensors writes, begin as the owner's alone; the user who runs the robot may be another.
    """
    folder.chmod(0o755)
    for path in (*folder.iterdir(), folder):
        if path != folder:
            path.chmod(0o644)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def put_in_place(part: Path, out: Path) -> None:
    """Rename ``part`` to ``out``; an old ``out`` steps aside for it, and comes back where that fails."""
    if not out.exists():
        part.rename(out)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.old-", dir=out.parent))
    out.rename(aside / out.name)
    try:
        part.rename(out)
    except OSError:
        (aside / out.name).rename(out)
        raise
    finally:
        if out.exists():
            shutil.rmtree(aside)
