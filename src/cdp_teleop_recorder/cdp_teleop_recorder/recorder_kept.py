"""Episodes that have ended and were kept: their files are made in the background, and the last one can still be labelled or discarded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path

from cdp.data.episode import EpisodeError, EpisodeLabels
from cdp.data.episode_writer import EpisodeWriter
from cdp.data.mcap_writer import McapWriter
from cdp.data.relabel import DISCARDED, relabel, set_aside
from cdp_teleop_recorder.recorder_finisher import Ending, Finisher, Made
from cdp_teleop_recorder.recorder_types import Outcome


class KeptEpisodes:
    """``count`` of them so far, the last one at ``path``. ``told`` is called in another thread for each whose file was made, or could not be."""

    def __init__(self, told: Callable[[Made], None]) -> None:
        self.count = 0
        self.path: Path | None = None
        self._told = told
        self._finisher = Finisher(self._on_made)
        self._made: deque[Made] = deque()
        self._failed: dict[str, str] = {}

    @property
    def waiting(self) -> int:
        """Episodes whose files are not there yet."""
        return len(self._finisher.waiting)

    @property
    def needed_bytes(self) -> int:
        """About what those files will need of the disk."""
        return self._finisher.needed_bytes

    def keep(self, writer: EpisodeWriter, raw: McapWriter | None, labels: EpisodeLabels) -> None:
        """End the episode: from here on it survives the end of the process, and its file is made."""
        sealed = writer.seal(labels)
        self.count, self.path = self.count + 1, writer.path
        self._finisher.add(Ending(sealed, raw))

    def discard_last(self) -> Outcome:
        """Set the last one aside, at once or when its file is there."""
        if self.path is None:
            return Outcome(False, "no episode is being recorded, and none was kept before that could be discarded")
        try:
            where = f"it is moved to {DISCARDED} when it is written" if self._finisher.set_aside(self.path) else f"moved to {set_aside(self.path)}"
        except OSError as error:
            return Outcome(False, f"{self.path.name} could not be moved: {error}; it is kept")
        discarded, self.path, self.count = self.path.name, None, self.count - 1
        return Outcome(True, f"discarded {discarded}: {where}")

    def label_last(self, success: bool) -> Outcome | None:
        """Label the last one; None where that was done, else why not."""
        if self.path is None:
            return Outcome(False, "there is no episode to label")
        try:
            if not self._finisher.label(self.path, success):
                relabel(self.path, success)
        except (OSError, EpisodeError) as error:
            return Outcome(False, f"{self.path.name} could not be labelled: {error}; it is kept as it was")
        return None

    def made(self) -> list[Made]:
        """What became of episodes whose files were being made, since this was asked the last time."""
        return [self._made.popleft() for _ in range(len(self._made))]

    def final(self, outcome: Outcome) -> Outcome | None:
        """The outcome of a stop once the file is there, or could not be made; None until then."""
        if Path(outcome.path) in self._finisher.waiting:
            return None
        failed = self._failed.get(outcome.path)
        return outcome if failed is None else Outcome(False, failed)

    def wait(self) -> None:
        """Until all files are there."""
        self._finisher.wait()

    def _on_made(self, made: Made) -> None:
        if made.error:
            self._failed[str(made.path)] = made.error
            self.count -= 1
            self.path = None if self.path == made.path else self.path
        self._told(made)
        self._made.append(made)
