"""Who confirms and judges: a person at the terminal, a file of answers, or the simulator's own verdict."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from cdp.evaluation.parts import ENGAGE, GO, NO, NOT_THE_POLICYS, OVERLAY, QUIT, REDO, SUCCESS, YES, Prompt, Run
from cdp.evaluation.results import EvaluationError
from cdp.evaluation.terminal import TerminalKeys

ABORT = "abort"
AUTO = "auto"
_CONFIRMATIONS = (GO, ENGAGE, OVERLAY, QUIT)
_LABELS = {"y": YES, "yes": YES, "n": NO, "no": NO, "redo": REDO, "r": REDO, "quit": QUIT}
_KEYS = {"s": SUCCESS, " ": ABORT, "a": ABORT, "\x1b": ABORT}
_HOW = "type go to engage the guard and run the policy, engage to drive the arm to its start first, overlay to compare the placement, quit to end"


def prompt_text(prompt: Prompt) -> str:
    """What stands before a rollout."""
    policy = f", policy {prompt.policy}" if prompt.policy else ""
    lines = (
        f"\n--- rollout {prompt.position} of {prompt.total}, start {prompt.rollout.start}{policy}",
        prompt.text,
        f"picture: {prompt.picture}" if prompt.picture else "",
        prompt.misplaced,
    )
    return "\n".join(line for line in lines if line)


class TerminalPerson:
    """A person at the terminal. Prompts are plain lines, so that they work over SSH; during a run single keys are read."""

    def __init__(self, name: str, out: TextIO | None = None, keys: TerminalKeys | None = None) -> None:
        self.judge = f"operator {name}" if name else "operator"
        self._out = out or sys.stdout
        self._keys = keys or TerminalKeys()

    def confirm(self, prompt: Prompt) -> str:
        """Ask until one of the words is typed; a bare Enter moves nothing."""
        self.tell(prompt_text(prompt))
        while (answer := self._ask(f"{_HOW}\n> ")) not in _CONFIRMATIONS:
            self.tell(f"{answer!r} is not one of {', '.join(_CONFIRMATIONS)}; nothing moves")
        return answer

    def tell(self, text: str) -> None:
        """Print a line."""
        self._out.write(f"{text}\n")
        self._out.flush()

    def watching(self) -> Callable[[], str]:
        """Read keys from now on."""
        self.tell("running: s the task is done; space, a or Escape aborts: the guard is disengaged and the arm holds")
        self._keys.open()
        return lambda: next((_KEYS[c] for c in self._keys.read() if c in _KEYS), "")

    def watched(self) -> None:
        """Give the terminal back."""
        self._keys.close()

    def label(self, run: Run, suggestion: str) -> str:
        """Ask once; a bare Enter takes the suggestion."""
        self.tell(f"ended by {run.reason} after {run.duration_s:.1f} s: {run.message}")
        while (answer := self._ask(f"success? y, n, redo or quit [{suggestion}] ") or suggestion) not in _LABELS:
            self.tell(f"{answer!r} is not one of y, n, redo, quit")
        return _LABELS[answer]

    def _ask(self, text: str) -> str:
        try:
            return input(text).strip().lower()
        except EOFError:
            return QUIT


class Answers:
    """Answers from a file, one a line, in the order of the questions; ``auto`` takes the suggestion. Empty lines and lines of # are none."""

    judge = "script"

    def __init__(self, lines: Sequence[str], out: TextIO | None = None) -> None:
        self._lines = [line.strip().lower() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        self._out = out or sys.stdout
        self._next = 0

    @classmethod
    def read(cls, path: Path) -> Answers:
        """The answers in a text file. Raises EvaluationError where it cannot be read."""
        try:
            return cls(path.read_text(encoding="utf-8").splitlines())
        except OSError as error:
            raise EvaluationError(f"answers {path}: {error}") from None

    def confirm(self, prompt: Prompt) -> str:
        """The next line."""
        self.tell(prompt_text(prompt))
        return self._take(_CONFIRMATIONS, "the confirmation")

    def tell(self, text: str) -> None:
        """Print a line."""
        self._out.write(f"{text}\n")
        self._out.flush()

    def watching(self) -> Callable[[], str]:
        """No keys."""
        return lambda: ""

    def watched(self) -> None:
        """Nothing to give back."""

    def label(self, run: Run, suggestion: str) -> str:
        """The next line."""
        self.tell(f"ended by {run.reason} after {run.duration_s:.1f} s: {run.message}")
        answer = self._take((*_LABELS, AUTO), "the label")
        return suggestion if answer == AUTO else _LABELS[answer]

    def _take(self, allowed: Sequence[str], what: str) -> str:
        if self._next == len(self._lines):
            return QUIT
        answer, self._next = self._lines[self._next], self._next + 1
        if answer not in allowed:
            raise EvaluationError(f"answer {self._next}, for {what}: {answer!r} is not one of {', '.join(allowed)}")
        return answer


class Simulated(Answers):
    """Confirms everything and believes the simulator; for a robot that cannot hurt anybody."""

    judge = "simulator"

    def __init__(self, out: TextIO | None = None) -> None:
        super().__init__((), out)

    def confirm(self, prompt: Prompt) -> str:
        """Go."""
        self.tell(prompt_text(prompt))
        return GO

    def label(self, run: Run, suggestion: str) -> str:
        """What the simulator said; a run that its equipment ended is made again."""
        self.tell(f"ended by {run.reason} after {run.duration_s:.1f} s: {run.message}")
        return REDO if run.reason in NOT_THE_POLICYS else suggestion
