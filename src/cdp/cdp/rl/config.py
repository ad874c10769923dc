"""Everything an offline RL training depends on, typed and checked. Defaults are those of the papers where they give one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cdp.config import ConfigError, load, setting
from cdp.contraction.config import LABELS, ContractionConfig
from cdp.diffusion.sampler import SOLVERS
from cdp.diffusion.schedule import Schedule
from cdp.train.config import OptimiserConfig, SamplerConfig


@dataclass(frozen=True)
class ActorConfig:
    """The denoiser of one action, an MLP conditioned on the normalised observation."""

    width: int = setting(128, low=8, high=2048, help="hidden width")
    depth: int = setting(3, low=1, high=24, help="residual blocks")


@dataclass(frozen=True)
class CriticConfig:
    """Twin Q networks and the Bellman backup that trains them."""

    width: int = setting(256, low=8, high=4096, help="hidden width")
    depth: int = setting(2, low=1, high=8, help="hidden layers")
    discount: float = setting(0.99, low=0.0, high=0.9999, help="weight of the next step's value")
    target_rate: float = setting(0.005, low=1e-5, high=1.0, help="share of the trained critics that the target critics take over each step")
    learning_rate: float = setting(3e-4, low=1e-8, high=1.0, help="peak learning rate, with the actor's warm-up and decay")
    backup_steps: int = setting(5, low=1, high=200, help="sampler steps to the next action in the backup; evaluation has its own")
    reward_scale: float = setting(1.0, low=1e-6, high=1e6, help="factor on every reward, so that Q stays of order 1 to 100")


@dataclass(frozen=True)
class SelectionConfig:
    """At evaluation: sample some actions, take one by its Q."""

    candidates: int = setting(10, low=1, high=1000, help="N, actions that are sampled; 1 takes the policy's own")
    temperature: float = setting(1.0, low=0.0, high=1e6, help="action i is taken with probability ~ exp(Q_i / temperature); 0 takes the best")


@dataclass(frozen=True)
class RLOptimiserConfig(OptimiserConfig):
    """The optimiser of the behaviour-cloning trainer, with the RL paper's learning rate and no weight decay."""

    learning_rate: float = setting(3e-4, low=1e-8, high=1.0, help="peak learning rate of the actor")
    weight_decay: float = setting(0.0, low=0.0, high=1.0, help="decoupled weight decay")


@dataclass(frozen=True)
class RLSamplerConfig(SamplerConfig):
    """The sampler of evaluation."""

    steps: int = setting(15, low=1, high=200, help="denoiser evaluations an action")
    solver: str = setting("dpmpp_2m", choices=SOLVERS, help="solver of the probability-flow ODE")


@dataclass(frozen=True)
class RLContractionConfig(ContractionConfig):
    """The penalty on the actor's denoiser; only times near the data are penalised in RL (arXiv 2601.01003: the first 5 of 50)."""

    label: str = setting("diffusion", choices=LABELS, help="the penalty; diffusion is plain EDP")
    t_max: float = setting(0.083, low=0.001, high=1.0, help="diffusion times above this are not penalised")


@dataclass(frozen=True)
class RLConfig:
    """One training, from a file of transitions to a policy that acts."""

    dataset: Path
    """Transitions (HDF5, Minari or D4RL layout)."""
    output: Path
    """Folder of the trained policy, of its checkpoints and its log."""
    task: str = setting(help="Gymnasium task in which the policy is evaluated, e.g. Reacher-v5")
    seed: int = setting(0, low=0, high=2**31 - 1, help="fixes the initial weights, the order of the data and every noise")
    threads: int = setting(1, low=0, high=256, help="CPU threads of torch; 0 leaves torch's own choice")
    steps: int = setting(10_000, low=1, high=100_000_000, help="training steps")
    batch_size: int = setting(256, low=1, high=65_536, help="transitions a step")
    eta: float = setting(1.0, low=0.0, high=1e3, help="weight of the Q term against the behaviour-cloning loss; 0 clones")
    log_every: int = setting(100, low=1, high=1_000_000, help="training steps from one logged point to the next")
    checkpoint_every: int = setting(2000, low=1, high=100_000_000, help="training steps from one checkpoint to the next")
    actor: ActorConfig = field(default_factory=ActorConfig)
    critic: CriticConfig = field(default_factory=CriticConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    diffusion: Schedule = field(default_factory=Schedule)
    sampler: RLSamplerConfig = field(default_factory=RLSamplerConfig)
    contraction: RLContractionConfig = field(default_factory=RLContractionConfig)
    optimiser: RLOptimiserConfig = field(default_factory=RLOptimiserConfig)

    def __post_init__(self) -> None:
        if self.output.name in ("", ".."):
            raise ConfigError(f"output: {str(self.output)!r} has no last part that could name the policy")
        if self.contraction.label == "cdp-step" and self.sampler.solver != "ddim":
            raise ConfigError(f"contraction.label: cdp-step is the step map of ddim; it says nothing about sampler.solver {self.sampler.solver}")


def load_rl_config(path: Path, overrides: Sequence[tuple[str, Any]] = ()) -> RLConfig:
    """The configuration of a YAML file with pairs of a dotted key and a value over it. Raises :class:`ConfigError`."""
    return load(RLConfig, path, overrides)
