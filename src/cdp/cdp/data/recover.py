"""From an episode's journal to its file: how every episode ends, and how one is recovered whose recorder was killed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cdp.config import from_mapping
from cdp.data.durable import part_of, sync_folder
from cdp.data.episode import EpisodeError, EpisodeInfo, EpisodeLabels, EpisodeReader
from cdp.data.episode_file import write_episode
from cdp.data.journal import JournalBusyError, JournalEmptyError, JournalError, JournalReader, episode_of, journals
from cdp.data.journal_record import Kind, Record
from cdp.data.streams import StreamSpec

DAMAGED_SUFFIX = ".damaged"
_NOBODY_SAID = EpisodeLabels(success=False, note="", ended_ns=0, labelled=False)


@dataclass(frozen=True)
class Recovered:
    """What became of one journal: ``path`` of the episode, None where there is none, and a line about it.

    ``done`` False: it is still there, because it is in use (``busy``) or could not be finished.
    """

    journal: Path
    path: Path | None
    message: str
    done: bool = True
    busy: bool = False


def finish_journal(reader: JournalReader, labels: EpisodeLabels | None = None) -> tuple[Path, EpisodeLabels, dict[str, int]]:
    """Make the episode's file, labelled with ``labels``, or with what the journal says; returns path, labels and samples by stream.

    Raises OSError where the file cannot be written; the journal is left as it is, here and after a success.
    """
    info, streams = _start(reader)
    path = episode_of(reader.path)
    labels = labels or _labels(reader)
    part_of(path).unlink(missing_ok=True)
    return path, labels, write_episode(path, info, streams, _samples(reader), labels)


def recover(folder: str | Path) -> list[Recovered]:
    """Finish every episode in ``folder`` that its recorder did not; one that is being recorded now, and finished ones, are left alone."""
    return [_recover(journal) for journal in journals(Path(folder))]


def _recover(journal: Path) -> Recovered:
    try:
        with JournalReader(journal) as reader:
            path = episode_of(journal)
            if path.exists() and _is_episode(path):
                journal.unlink()
                return Recovered(journal, path, f"{path.name} was finished already; only its journal was left")
            _, labels, stored = finish_journal(reader)
            journal.unlink()
            sync_folder(journal.parent)
    except FileNotFoundError:
        return Recovered(journal, None, f"{journal.name} has been finished or discarded meanwhile")
    except JournalBusyError as error:
        return Recovered(journal, None, str(error), done=False, busy=True)
    except JournalEmptyError:
        journal.unlink()
        return Recovered(journal, None, f"{journal.name} was removed: its recorder ended before it had recorded anything")
    except (JournalError, ValueError, KeyError) as error:
        return _set_aside(journal, error)
    except OSError as error:
        return Recovered(journal, None, f"{path.name} could not be recovered: {error}; its journal is kept; make room and run it again", done=False)
    return Recovered(journal, path, f"recovered {path.name}: {_content(stored)}{'' if labels.recovered else '; it had been ended, and not finished'}")


def _set_aside(journal: Path, error: Exception) -> Recovered:
    aside = journal.with_name(journal.name + DAMAGED_SUFFIX)
    journal.replace(aside)
    return Recovered(journal, None, f"{journal.name} cannot be read: {error}; it is kept as {aside.name}")


def _start(reader: JournalReader) -> tuple[EpisodeInfo, dict[str, StreamSpec]]:
    streams: dict[str, Any] = reader.start["streams"]
    return from_mapping(EpisodeInfo, reader.start["info"]), {name: from_mapping(StreamSpec, spec) for name, spec in streams.items()}


def _samples(reader: JournalReader) -> Iterator[Record]:
    return (record for record in reader.records() if record.kind is Kind.SAMPLE)


def _labels(reader: JournalReader) -> EpisodeLabels:
    """Of the last end where there is one, else the last note, and that it was recovered; it then ends with its newest sample."""
    labels, ended_ns, ended = _NOBODY_SAID, 0, False
    for record in reader.records():
        if record.kind is Kind.SAMPLE:
            ended_ns = max(ended_ns, record.receive_ns)
            continue
        labels = from_mapping(EpisodeLabels, record.json())
        ended = ended or record.kind is Kind.END
    if ended:
        return labels
    warnings = (*labels.warnings, "the recorder was ended in the middle of it; this is what it had written")
    return replace(labels, ended_ns=ended_ns, warnings=warnings, recovered=True)


def _is_episode(path: Path) -> bool:
    try:
        EpisodeReader(path).close()
    except EpisodeError:
        return False
    return True


def _content(stored: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in stored.items() if count) or "no sample"
