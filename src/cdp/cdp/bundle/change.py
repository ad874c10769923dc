"""Change a finished bundle, whole or not at all: in a copy beside it, whose hashes follow and which then takes its place."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cdp.bundle.manifest import MANIFEST, Manifest, hashes_of, manifest_text
from cdp.bundle.place import put_in_place, synchronise
from cdp.bundle.reader import Bundle


def change(folder: str | Path, edit: Callable[[Path], None]) -> Manifest:
    """Let ``edit`` change the files of a copy of the bundle ``folder``, and put that in its place with new hashes; the new manifest.

    Where ``edit`` raises, the bundle stays as it was. Raises :class:`cdp.bundle.BundleError` for a folder that holds no sound bundle.
    """
    path = Path(folder).absolute()
    bundle = Bundle.open(path)
    part = Path(tempfile.mkdtemp(prefix=f".{path.name}.part-", dir=path.parent))
    try:
        shutil.copytree(path, part, dirs_exist_ok=True)
        edit(part)
        manifest = replace(bundle.manifest, files=hashes_of(part))
        (part / MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")
        synchronise(part)
        put_in_place(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest
