"""From readings to a verdict that does not flicker: uncertain after several in a row above the threshold, certain after as many well below it."""

from __future__ import annotations

from dataclasses import dataclass

from cdp.config import setting
from cdp.runtime.monitor import OOD, MonitorReading

_NAMES = {
    "spread": "spread of the action over noise seeds",
    "lipschitz": "Lipschitz ratio of the sampler",
    "extent": "range of the robot's state",
    "distance": "distance of the encoder's features",
}


@dataclass(frozen=True)
class VerdictConfig:
    """When a policy is called uncertain, and when no longer."""

    factor: float = setting(1.0, low=0.1, high=100.0, help="uncertain above this many times the bundle's thresholds")
    resume: float = setting(0.9, low=0.01, high=1.0, help="certain again below this part of what makes it uncertain")
    after: int = setting(3, low=1, high=1000, help="readings in a row that it takes to become either")


@dataclass(frozen=True)
class Verdict:
    """Whether the policy is uncertain, and why."""

    uncertain: bool = False
    reason: str = ""


class Judge:
    """Counts readings. A share that is NaN is above every threshold; readings without any share change nothing."""

    def __init__(self, config: VerdictConfig | None = None) -> None:
        self.config = config if config is not None else VerdictConfig()
        self.clear()

    def clear(self) -> None:
        """Begin an episode: certain, nothing counted."""
        self.verdict = Verdict()
        self._against = 0

    def judge(self, reading: MonitorReading) -> Verdict:
        """Take the next reading; the verdict with it."""
        if not reading.shares:
            return self.verdict
        uncertain, share = self.verdict.uncertain, reading.share
        against = share <= self.config.factor * self.config.resume if uncertain else not share <= self.config.factor
        self._against = self._against + 1 if against else 0
        if self._against >= self.config.after:
            self._against, uncertain = 0, not uncertain
        self.verdict = Verdict(uncertain, self._reason(reading, uncertain))
        return self.verdict

    def _reason(self, reading: MonitorReading, uncertain: bool) -> str:
        if not uncertain:
            return ""
        if reading.share <= self.config.factor:
            return f"{self.verdict.reason.split(';')[0]}; it is settling"
        what = "the observation is unlike the training data" if reading.worst in OOD else "the noise decides the action"
        return f"{what}: {_NAMES[reading.worst]} is {reading.share:.2f} times its threshold, limit {self.config.factor:g}"
