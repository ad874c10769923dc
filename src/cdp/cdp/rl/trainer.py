"""The training loop of EDP: critics, actor and penalty in one step; deterministic by seed, resumable to the bit on the same machine."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cdp.contraction.dual import PenaltyWeight
from cdp.contraction.penalties import ContractionPenalty
from cdp.rl.config import RLConfig
from cdp.rl.networks import Networks, build_networks
from cdp.rl.objective import actor_loss, bellman_target, critic_loss, sample_actions
from cdp.rl.transitions import Transitions
from cdp.train.batches import batch_indices, step_generator
from cdp.train.checkpoint import load_checkpoint, remove_checkpoints, save_checkpoint
from cdp.train.clock import TrainingClock
from cdp.train.interrupt import TrainingInterrupted, stop_between_steps
from cdp.train.log import TrainingLog
from cdp.train.optimiser import learning_rate
from cdp.train.resume import TrainingError, check_identity, checkpoint_to_resume, identity_of

#: Called after each step with the steps done and what to show.
Progress = Callable[[int, dict[str, float]], None]

# Settings that a resumed run may change: none of them moves the loss curve.
_FREE_KEYS = ("dataset", "output", "task", "log_every", "checkpoint_every", "selection")


@dataclass(frozen=True)
class RLResult:
    """Averaged actor and target critics, in evaluation mode, the figures of the last step, and the wall time over all resumes."""

    networks: Networks
    steps: int
    figures: dict[str, float]
    penalty_overhead: float
    """Share by which the penalty made training slower than the same training with gamma = 0."""
    wall_s: float


class RLTrainer:
    """One training of ``config`` on ``data``, on the CPU.

    ``networks`` are trained; ``average`` holds the moving average of the actor, which acts in the backup and at evaluation, and the target critics.
    """

    def __init__(self, config: RLConfig, data: Transitions) -> None:
        self.config, self.data = config, data
        self.networks = build_networks(data, config.actor, config.critic, config.seed)
        self.average = copy.deepcopy(self.networks).eval().requires_grad_(False)
        self.optimiser = _make_optimiser(self.networks, config)
        self.penalty = ContractionPenalty(config.contraction, config.diffusion, config.sampler.steps, config.sampler.solver)
        self.weight = PenaltyWeight(config.contraction)
        self._actor, self._critic = list(self.networks.actor.parameters()), list(self.networks.critic.parameters())
        self._average_actor, self._average_critic = list(self.average.actor.parameters()), list(self.average.critic.parameters())
        self._observation = self.networks.normalise_observation(torch.from_numpy(data.observation))
        self._next_observation = self.networks.normalise_observation(torch.from_numpy(data.next_observation))
        self._action = self.networks.normalise_action(torch.from_numpy(data.action))
        self._reward = torch.from_numpy(data.reward) * config.critic.reward_scale
        self._terminal = torch.from_numpy(data.terminal)
        self._checkpoints = config.output / "checkpoints"
        self._clock = TrainingClock()

    def run(self, resume: bool = False, overwrite: bool = False, progress: Progress | None = None) -> RLResult:
        """Train to ``config.steps``.

        With ``resume`` it goes on from the newest checkpoint under ``config.output``, where there is one; with ``overwrite`` it removes those of an
        earlier training; with neither it refuses a folder that holds one. Raises :class:`TrainingError` where a loss is no longer finite, and
        ``cdp.train.checkpoint.CheckpointError`` for checkpoints of another configuration or data set.
        """
        if overwrite and not resume:
            remove_checkpoints(self._checkpoints)
        done, figures = self._restore(resume)
        config = self.config
        with TrainingLog(config.output, done) as log, stop_between_steps() as stop:
            for step in range(done, config.steps):
                started = time.perf_counter()
                figures = self.step(step)
                self._clock.total_s += time.perf_counter() - started
                done = step + 1
                last = done == config.steps
                if done % config.log_every == 0 or last:
                    log.write(done, {f"train/{name}": value for name, value in figures.items()})
                stopped = stop.is_set() and not last
                if done % config.checkpoint_every == 0 or last or stopped:
                    self._save(done, figures)
                if progress is not None:
                    progress(done, figures)
                if stopped:
                    raise TrainingInterrupted.after(done, config.steps, self._checkpoints)
        return RLResult(self.average, done, figures, self._clock.overhead, self._clock.total_s)

    def step(self, step: int) -> dict[str, float]:
        """One update of everything, step ``step`` (from 0); its figures. Raises :class:`TrainingError` for a loss that is not finite."""
        config = self.config
        generator = step_generator(config.seed, step)
        rows = torch.from_numpy(batch_indices(len(self.data), config.batch_size, config.seed, step))
        cond, action = self._observation[rows], self._action[rows]
        _set_rates(self.optimiser, step, config)
        self.optimiser.zero_grad(set_to_none=True)
        figures = self._critic_step(rows, cond, action, generator)
        figures |= self._actor_step(cond, action, generator)
        bad = next((name for name, value in figures.items() if not np.isfinite(value)), None)
        if bad is not None:
            raise TrainingError(
                f"{bad} is {figures[bad]} at step {step}; checkpoints up to there are kept in {self._checkpoints}; lower the learning rate"
            )
        if config.contraction.active and step % config.contraction.every == 0:
            figures |= self._penalise(cond, action, generator)
        for parameters in (self._actor, self._critic):
            nn.utils.clip_grad_norm_(parameters, config.optimiser.clip_norm)
        self.optimiser.step()
        # The actor's average warms up: at first it follows closely, so that it does not act on the random start for long.
        _follow(self._average_actor, self._actor, 1.0 - min(config.optimiser.ema_decay, (1.0 + step) / (10.0 + step)))
        _follow(self._average_critic, self._critic, config.critic.target_rate)
        return figures

    def _critic_step(self, rows: Tensor, cond: Tensor, action: Tensor, generator: torch.Generator) -> dict[str, float]:
        config = self.config
        following, terminal = self._next_observation[rows], self._terminal[rows]
        with torch.no_grad():
            width = self.networks.action_width
            steps, solver = config.critic.backup_steps, config.sampler.solver
            next_action = sample_actions(self.average.denoise, following, width, steps, solver, config.diffusion, generator)
            next_q = self.average.critic(following, next_action)
        target = bellman_target(self._reward[rows], terminal, next_q, config.critic.discount)
        loss = critic_loss(self.networks.critic, cond, action, target)
        loss.backward(inputs=self._critic)  # type: ignore[no-untyped-call]
        return {"critic_loss": float(loss.detach()), "target_mean": float(target.mean())}

    def _actor_step(self, cond: Tensor, action: Tensor, generator: torch.Generator) -> dict[str, float]:
        config = self.config
        loss = actor_loss(self.networks.denoise, self.networks.critic, action, cond, config.diffusion, generator)
        # Only the actor is asked for: the critics must not learn to flatter it.
        (loss.cloning + config.eta * loss.improvement).backward(inputs=self._actor)  # type: ignore[no-untyped-call]
        return {"cloning": float(loss.cloning.detach()), "q_mean": float(loss.q_mean)}

    def _penalise(self, cond: Tensor, action: Tensor, generator: torch.Generator) -> dict[str, float]:
        started = time.perf_counter()
        penalised = self.penalty(self.networks.denoise, action[:, None], cond, generator)
        (self.weight.value * penalised.loss).backward(inputs=self._actor)  # type: ignore[no-untyped-call]
        violation = penalised.violation
        self.weight.update(violation)
        figures = {
            "penalty": float(penalised.loss.detach()),
            "measure_median": float(penalised.measure.median()),
            "over_limit": violation,
            "gamma": self.weight.value,
        }
        self._clock.penalty_s += time.perf_counter() - started
        return figures

    def _save(self, done: int, figures: dict[str, float]) -> None:
        state = {"identity": self._identity(), "figures": figures, "clock": vars(self._clock), "gamma": self.weight.value}
        save_checkpoint(self._checkpoints, done, self.networks, self.average, self.optimiser, state)

    def _restore(self, resume: bool) -> tuple[int, dict[str, float]]:
        newest = checkpoint_to_resume(self._checkpoints, resume)
        if newest is None:
            return 0, {}
        state = load_checkpoint(newest, self.networks, self.average, self.optimiser)
        check_identity(newest, state["identity"], self._identity())
        self._clock = replace(self._clock, **state["clock"])
        self.weight.value = float(state["gamma"])
        return int(state["step"]), dict(state["figures"])

    def _identity(self) -> dict[str, Any]:
        return identity_of(self.config, _FREE_KEYS, self.data.sha256)


def _make_optimiser(networks: Networks, config: RLConfig) -> torch.optim.AdamW:
    """One AdamW over actor and critics, each with its own peak rate."""
    groups = [
        {"params": list(networks.actor.parameters()), "peak": config.optimiser.learning_rate},
        {"params": list(networks.critic.parameters()), "peak": config.critic.learning_rate},
    ]
    return torch.optim.AdamW(groups, lr=config.optimiser.learning_rate, weight_decay=config.optimiser.weight_decay, fused=True)


def _set_rates(optimiser: torch.optim.Optimizer, step: int, config: RLConfig) -> None:
    share = learning_rate(config.optimiser, step, config.steps) / config.optimiser.learning_rate
    for group in optimiser.param_groups:
        group["lr"] = share * group["peak"]


@torch.no_grad()
def _follow(slow: Sequence[Tensor], fast: Sequence[Tensor], share: float) -> None:
    """Move each tensor of ``slow`` by ``share`` of the way to its counterpart, in one call for all: small networks cost their calls."""
    torch._foreach_lerp_(list(slow), list(fast), share)
