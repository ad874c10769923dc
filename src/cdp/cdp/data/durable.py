"""HDF5 files that appear whole or not at all, and whose writer survives a full disk.

The HDF5 library crashes the process when a write fails beneath an open file (seen with 1.14: closing fails, then a segmentation fault). So it writes
through :class:`_Sink`, which notes the first failure and takes everything after it without storing it: the library closes in order, the file is
removed, and the caller gets the reason.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import h5py

PART_SUFFIX = ".part"


class _Sink(io.RawIOBase):
    """A new file for reading and writing that reports no failure: it remembers the first one and lets the rest fall away."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb+", buffering=0)
        self._position = 0
        self._size = 0
        self.error: OSError | None = None

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence] + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        view[:] = bytes(len(view))
        self._try(lambda: self._read(view))
        self._position += len(view)
        return len(view)

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._try(lambda: self._write(view))
        self._position += len(view)
        self._size = max(self._size, self._position)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        self._size = self._position if size is None else size
        self._try(lambda: self._file.truncate(self._size))
        return self._size

    def sync(self) -> None:
        """Bring everything to the disk."""
        self._try(lambda: os.fsync(self._file.fileno()))

    def close(self) -> None:
        self._file.close()
        super().close()

    def _read(self, view: memoryview) -> None:
        self._file.seek(self._position)
        filled = 0
        while filled < len(view) and (count := self._file.readinto(view[filled:])):
            filled += count

    def _write(self, view: memoryview) -> None:
        self._file.seek(self._position)
        written = 0
        while written < len(view):
            written += self._file.write(view[written:])

    def _try(self, operation: Any) -> None:
        if self.error is not None:
            return
        try:
            operation()
        except OSError as error:
            self.error = error


class DurableFile:
    """An HDF5 file in progress beside its final name: ``.<name>.part``, until :meth:`commit` brings it to the disk and renames it.

    Raises FileExistsError where a file in progress of that name is there already, and OSError where the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = part_of(path)
        self._sink = _Sink(self.part)
        self.hdf5 = h5py.File(self._sink, "w")

    @property
    def error(self) -> OSError | None:
        """The first failure to write, None while all is well."""
        return self._sink.error

    def commit(self) -> Path:
        """Close, bring to the disk and rename. Raises the OSError of the first failed write; then nothing is left of the file."""
        self._close(sync=True)
        if self._sink.error is not None:
            self.part.unlink(missing_ok=True)
            raise self._sink.error
        self.part.replace(self.path)
        sync_folder(self.path.parent)
        return self.path

    def discard(self) -> None:
        """Close and remove. Does nothing a second time, or after :meth:`commit`."""
        if not self._sink.closed:
            self._close(sync=False)
            self.part.unlink(missing_ok=True)

    def _close(self, sync: bool) -> None:
        self.hdf5.close()
        if sync:
            self._sink.sync()
        self._sink.close()


def part_of(path: Path) -> Path:
    """Where a file is written before it has its final name."""
    return path.with_name(f".{path.name}{PART_SUFFIX}")


def unfinished(folder: Path) -> list[Path]:
    """Files in progress, or left behind by a process that was killed."""
    return sorted(folder.glob(f".*{PART_SUFFIX}"))


def sync_folder(folder: Path) -> None:
    """Bring a rename in ``folder`` to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
