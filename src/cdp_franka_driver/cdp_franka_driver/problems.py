"""What can be wrong with the robot: one kind, one sentence, one way out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from cdp_franka_driver.arm import ArmState, Mode


class Kind(Enum):
    """Kinds of problems."""

    MISSING = "libraries missing"
    UNREACHABLE = "unreachable"
    FCI_OFF = "FCI off"
    VERSION = "wrong system version"
    REALTIME = "no real-time kernel"
    BUSY = "controlled by another"
    LOCKED = "joints locked"
    WRONG_MODE = "wrong mode"
    USER_STOP = "user stop"
    SAFETY = "safety function"
    REFLEX = "reflex"
    CONNECTION = "connection lost"
    RESUME = "asks to resume"
    OTHER = "other"


FIXES = {
    Kind.MISSING: "install them: pip install -r requirements/libfranka.txt",
    Kind.UNREACHABLE: "check robot_ip, the cable and that the robot is switched on; the driver keeps trying",
    Kind.FCI_OFF: "activate FCI in Desk (the menu at the top right); the driver keeps trying",
    Kind.VERSION: "update the robot's system image, or install the pylibfranka of the robot's version (libfranka's compatibility table)",
    Kind.REALTIME: "install a PREEMPT_RT kernel, or set realtime: ignore and expect lost commands",
    Kind.BUSY: "stop the other program that controls the arm; the driver keeps trying",
    Kind.LOCKED: "unlock the joints in Desk; the driver takes control by itself (resume: auto)",
    Kind.WRONG_MODE: "switch Desk to Execution and end hand guiding; the driver takes control by itself (resume: auto)",
    Kind.USER_STOP: "release the user stop; the driver takes control by itself (resume: auto)",
    Kind.SAFETY: "confirm the safety function in Desk, then call ~/error_recovery",
    Kind.REFLEX: "look at the arm, then call ~/error_recovery",
    Kind.CONNECTION: "check the robot's power and network; the driver connects again by itself",
    Kind.RESUME: "look at the arm, then call ~/error_recovery: the driver takes control",
    Kind.OTHER: "see the text; the driver tries again",
}

# In the order in which they are looked for: what libfranka 0.21 says, and what it means.
_SAYS = (
    (r"Incompatible library version", Kind.VERSION),
    (r"realtime capabilities|real-?time (kernel|priority|scheduling)|unable to (set|get) (the )?(realtime|maximum)|scheduling", Kind.REALTIME),
    (r"Connection to FCI refused", Kind.FCI_OFF),
    (r"No FCI|already connected|control token", Kind.BUSY),
    (r"open the brakes|joints? (are )?locked", Kind.LOCKED),
    (r"User [Ss]top", Kind.USER_STOP),
    (r"safety function", Kind.SAFETY),
    (r"aborted by reflex|\[\"?[a-z_]+\"?(, ?\"?[a-z_]+\"?)*\]|Reflex", Kind.REFLEX),
    (r"Connection timeout|Connection error|No route|unreachable|not found", Kind.UNREACHABLE),
    (r"UDP receive|TCP receive|UDP send|TCP send|connection got interrupted|server closed connection|Timeout", Kind.CONNECTION),
    (r"not possible in the current mode", Kind.WRONG_MODE),
)


@dataclass(frozen=True)
class Problem:
    """``text`` is what was found, ``fix`` what to do; ``reflexes``: libfranka's names."""

    kind: Kind
    text: str
    reflexes: tuple[str, ...] = ()

    @property
    def fix(self) -> str:
        """What to do."""
        return FIXES[self.kind]

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.text}; {self.fix}"


def of_exception(error: BaseException | str) -> Problem:
    """What libfranka's exception, or the text of one, means."""
    text = " ".join(str(error).split())
    if isinstance(error, ImportError):
        return Problem(Kind.MISSING, text)
    for pattern, kind in _SAYS:
        if re.search(pattern, text):
            return Problem(kind, text, names(text) if kind is Kind.REFLEX else ())
    return Problem(Kind.OTHER, text or repr(error))


def of_state(state: ArmState) -> Problem | None:
    """What keeps the robot from being controlled, by its mode; None where it is ready for it or controlled."""
    if state.mode is Mode.REFLEX:
        reflexes = state.errors or state.last_errors
        return Problem(Kind.REFLEX, ", ".join(reflexes) or "the robot names none", reflexes)
    if state.mode is Mode.USER_STOPPED:
        return Problem(Kind.USER_STOP, "the user stop is pressed")
    if state.mode is Mode.OTHER:
        return Problem(Kind.LOCKED, "the robot does not take commands: its joints are locked, or Desk is in Programming")
    if state.mode is Mode.GUIDING:
        return Problem(Kind.WRONG_MODE, "the arm is being guided by hand")
    return None


def names(text: str) -> tuple[str, ...]:
    """libfranka's names of errors in ``["a", "b"]`` or ``[a, b]``."""
    found = re.search(r"\[([^\]]*)\]", text)
    return tuple(re.findall(r"[a-z]\w*_\w+", found[1])) if found else ()
