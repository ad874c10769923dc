"""An episode that has ended: whole and labelled in its journal, its file yet to be made, here or in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from cdp.config import from_mapping, to_mapping
from cdp.data.durable import sync_folder
from cdp.data.episode import EpisodeError, EpisodeLabels
from cdp.data.journal import JournalReader, JournalWriter, episode_of
from cdp.data.journal_record import Kind
from cdp.data.recover import finish_journal

# Whoever records the next episode meanwhile comes first.
_NICENESS = 10


class SealedEpisode:
    """The episode in ``journal``, to which nobody appends samples any more, with its ``labels``; ``error``: why writing had failed before, if it had.

    If the process ends now, a recovery makes the same file.
    """

    def __init__(self, journal: JournalWriter, labels: EpisodeLabels, error: str | None) -> None:
        self._journal, self._labels, self._error = journal, labels, error
        self.path = episode_of(journal.path)
        self.size = journal.size
        self._lock = threading.Lock()
        self._made = False
        with suppress(OSError):
            # On a full disk the file may yet be made: the labels go there by themselves.
            self._end(labels)

    @property
    def labels(self) -> EpisodeLabels:
        """What the file is labelled with if it is made now."""
        return self._labels

    def relabel(self, labels: EpisodeLabels) -> None:
        """Other labels, also if the process ends before the file is made; a file that is being made already has those before.

        Raises OSError where they cannot be stored; those before then remain.
        """
        with self._lock:
            if not self._made:
                self._end(labels)
            self._labels = labels

    def make(self, *, apart: bool = False) -> Path:
        """Make the file and remove the journal; ``apart``: in a process of its own, which does not hold up this one, and outlives it.

        Raises :class:`EpisodeError` where it cannot be made: what was recorded stays in its journal.
        """
        try:
            self._make_apart() if apart else self._make_here()
        except OSError as error:
            with self._lock:
                self._made = True
                self._journal.close()
            raise EpisodeError(
                f"episode {self.path.name} could not be finished: {self._error or error}; what was recorded is kept in {self._journal.path}, earlier "
                f"episodes are untouched; make room in {self.path.parent} and run: cdp data recover {self.path.parent}"
            ) from error
        return self.path

    def _make_here(self) -> None:
        with self._journal.reader() as reader:
            finish_journal(reader, self._labels)
        with self._lock:
            self._made = True
            self._journal.remove()

    def _make_apart(self) -> None:
        shared = self._journal.share()
        try:
            done = subprocess.run(
                [sys.executable, "-m", __name__, str(self._journal.path), str(shared)],
                input=json.dumps(to_mapping(self._labels)),
                capture_output=True,
                text=True,
                pass_fds=(shared,),
                # A signal to the recorder's group is to end the recording, not the copying.
                start_new_session=True,
            )
        finally:
            os.close(shared)
        if done.returncode:
            raise OSError((done.stderr.strip().splitlines() or [f"its process ended with {done.returncode}"])[-1])
        with self._lock:
            self._made = True
            self._journal.close()

    def _end(self, labels: EpisodeLabels) -> None:
        self._journal.add_json(Kind.END, to_mapping(labels))
        self._journal.sync()


def main(path: str, descriptor: str) -> int:
    """Make the file of the journal at ``path``, which is locked by the open ``descriptor``, with the labels on stdin; then remove the journal."""
    os.nice(_NICENESS)
    journal = Path(path)
    try:
        with JournalReader(journal, int(descriptor)) as reader:
            finish_journal(reader, from_mapping(EpisodeLabels, json.load(sys.stdin)))
            journal.unlink()
            sync_folder(journal.parent)
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
