"""From what a recorder that was killed left of an MCAP file to a file that every reader takes: everything up to its last complete chunk."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

from cdp.data.durable import PART_SUFFIX, part_of, sync_folder
from cdp.data.mcap_file import INSTALL, SUFFIX, open_writer
from cdp.data.recover import Recovered

_RECOVERING = ".recovering"
# Nobody waits for it as a recorder does, and it leaves room.
_COMPRESSION = "zstd"


def mcap_parts(folder: Path) -> list[Path]:
    """MCAP files in progress, or left behind by a process that was killed."""
    return sorted(folder.glob(f".*{SUFFIX}{PART_SUFFIX}"))


def recover_mcaps(folder: str | Path) -> list[Recovered]:
    """Finish every MCAP file in ``folder`` that its recorder did not; one that is being written now is left alone."""
    return [_recover(part) for part in mcap_parts(Path(folder))]


def _recover(part: Path) -> Recovered:
    path = part.with_name(part.name.removeprefix(".").removesuffix(PART_SUFFIX))
    try:
        with part.open("rb") as left:
            fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not part.exists():
                return Recovered(part, None, f"{path.name} has been finished or discarded meanwhile")
            count = _rewrite(left, path)
            part.unlink()
            sync_folder(part.parent)
    except FileNotFoundError:
        return Recovered(part, None, f"{path.name} has been finished or discarded meanwhile")
    except BlockingIOError:
        return Recovered(part, None, f"{path.name} is being recorded now", done=False, busy=True)
    except ImportError:
        return Recovered(part, None, f"{path.name} could not be recovered: {INSTALL}; what there is of it is kept in {part.name}", done=False)
    except OSError as error:
        return Recovered(
            part, None, f"{path.name} could not be recovered: {error}; it is kept in {part.name}; make room and run it again", done=False
        )
    if not count:
        return Recovered(part, None, f"{path.name}: no complete chunk had been written; removed")
    return Recovered(part, path, f"recovered {path.name}: {count} messages, up to its last complete chunk")


def _rewrite(left: Any, path: Path) -> int:
    """Copy what is whole to ``path``, which appears whole or not at all; returns the messages, and makes no file for none.

    Raises OSError, and ImportError where the library is missing.
    """
    try:
        from mcap.records import Channel, Message, Metadata, Schema
        from mcap.stream_reader import StreamReader
    except ImportError:
        raise ImportError(INSTALL) from None
    part = part_of(path).with_suffix(_RECOVERING)
    schemas: dict[int, int] = {}
    channels: dict[int, int] = {}
    count = 0
    with part.open("wb") as file:
        writer = open_writer(file, _COMPRESSION)
        records = StreamReader(left, validate_crcs=True).records
        while True:
            try:
                record = next(records, None)
            except OSError:
                raise
            except Exception:  # noqa: BLE001  # cut off, or damaged, as each codec says in its own way: what came before is whole
                break
            if record is None:
                break
            if isinstance(record, Schema):
                schemas[record.id] = writer.register_schema(record.name, record.encoding, record.data)
            elif isinstance(record, Channel):
                channels[record.id] = writer.register_channel(record.topic, record.message_encoding, schemas[record.schema_id], record.metadata)
            elif isinstance(record, Message):
                writer.add_message(channels[record.channel_id], record.log_time, record.data, record.publish_time, record.sequence)
                count += 1
            elif isinstance(record, Metadata):
                writer.add_metadata(record.name, {**record.metadata, "recovered": "true"})
        writer.finish()
        file.flush()
        os.fsync(file.fileno())
    if count:
        part.replace(path)
        sync_folder(path.parent)
    else:
        part.unlink()
    return count
