"""What a training of toy denoisers is told."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from cdp.config import ConfigError, setting
from cdp.contraction.config import AUTO, ContractionConfig
from cdp.diffusion.paths import PathConfig
from cdp.diffusion.schedule import Schedule
from cdp.studies.toy_task import ToyTask


@dataclass(frozen=True)
class Member:
    """What tells one network of a stack from the others."""

    seed: int = setting(0, low=0, high=2**31 - 1, help="fixes the initial weights and the demonstrations")
    gamma: float = setting(0.0, low=0.0, high=1e3, help="weight of the penalty; with a target_violation, the first one")
    target_violation: float | None = setting(None, low=0.0, high=1.0, help="gamma auto with this target; none: gamma stays")
    weight_decay: float = setting(0.0, low=0.0, high=10.0, help="decoupled weight decay of matrices, times the learning rate a step")
    fraction: float = setting(1.0, low=0.0, high=1.0, help="part of the demonstrations, whole ones")

    def contraction(self, stack: ContractionConfig) -> ContractionConfig:
        """The stack's penalty with the member's own weight."""
        if self.target_violation is None:
            return dataclasses.replace(stack, gamma=self.gamma)
        return dataclasses.replace(stack, gamma=AUTO, gamma_start=self.gamma, target_violation=self.target_violation)


@dataclass(frozen=True)
class ToyTraining:
    """Training of a stack. The penalty is the label's; its weight is each member's."""

    members: tuple[Member, ...]
    objective: str = setting("diffusion", choices=("diffusion", "regression"), help="regression: a two-step policy without noise at the start")
    contraction: ContractionConfig = field(default_factory=ContractionConfig)
    penalised: str = setting("action", choices=("action", "state"), help="whether the Jacobian is that to the noisy action or that to the state")
    task: ToyTask = field(default_factory=ToyTask)
    schedule: PathConfig = field(default_factory=Schedule)
    standardised: bool = setting(False, help="the network sees the standardised state and its angle, and is penalised there: for any path")
    snapshots: tuple[int, ...] = setting((750, 1500, 2250, 3000, 4500), low=1, high=1_000_000, help="updates after which the weights are kept")
    width: int = setting(64, low=8, high=1024, help="hidden width of the MLP")
    depth: int = setting(2, low=1, high=16, help="residual blocks of the MLP")
    batch_size: int = setting(64, low=4, high=65_536, help="rows a step for each member")
    learning_rate: float = setting(1e-3, low=1e-8, high=1.0, help="of AdamW, constant, so that a snapshot is a training that ended there")
    ema_decay: float = setting(0.995, low=0.0, high=0.99999, help="decay of the moving average of the weights")

    def __post_init__(self) -> None:
        if not self.members or not self.snapshots or list(self.snapshots) != sorted(set(self.snapshots)):
            raise ConfigError("members and snapshots: some of each are needed, the snapshots ascending")
        if not self.standardised and self.schedule.kind != Schedule().kind:
            raise ConfigError(f"standardised: False wants the vp_cosine path, not {self.schedule.kind!r}; set it")
        if self.objective == "regression" and self.standardised:
            raise ConfigError("standardised: True is for diffusion; regression has no path")

    @property
    def penalises(self) -> bool:
        """Whether any member has a penalty."""
        return any(member.contraction(self.contraction).active for member in self.members)
