"""The name of a new episode: one that no other episode has or is about to have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from cdp.config import to_mapping
from cdp.data.durable import part_of
from cdp.data.episode import EpisodeError, EpisodeInfo
from cdp.data.journal import JournalWriter, journal_of
from cdp.data.streams import StreamSpec


def new_journal(folder: Path, info: EpisodeInfo, specs: Mapping[str, StreamSpec]) -> tuple[Path, JournalWriter]:
    """The final name of a new episode, and its journal, which begins with what it is.

    Raises :class:`EpisodeError` where ``folder`` cannot be written.
    """
    name = re.sub(r"[^A-Za-z0-9-]+", "_", info.task) or "episode"
    utc = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    start = {"info": to_mapping(info), "streams": {stream: to_mapping(spec) for stream, spec in specs.items()}}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            path = folder / f"{name}_{utc}_{number}.hdf5"
            number += 1
            if path.exists() or part_of(path).exists():
                continue
            try:
                journal = JournalWriter(journal_of(path), start)
            except FileExistsError:
                continue
            if not path.exists():
                return path, journal
            # An episode of this name was finished, and its journal removed, since we looked.
            journal.remove()
    except OSError as error:
        raise EpisodeError(f"no episode can be written to {folder}: {error}; choose another folder or make it writable") from error
