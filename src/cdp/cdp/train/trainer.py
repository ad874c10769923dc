"""The training loop: deterministic by seed, resumable to the bit on the same machine and thread count."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cdp.bundle.reader import Bundle
from cdp.contraction.dual import PenaltyWeight
from cdp.contraction.penalties import ContractionPenalty, Penalised
from cdp.networks.policy import VisionPolicy, build_policy
from cdp.shares import Share, SharedGenerator, draw
from cdp.train.batches import Windows, batch_indices, image_tensor, random_crop, step_generator
from cdp.train.checkpoint import Checkpoint, read_checkpoint, remove_checkpoints, save_checkpoint
from cdp.train.clock import TrainingClock
from cdp.train.conditions import pick_draw
from cdp.train.config import TrainConfig
from cdp.train.forward import Forward, deterministic_kernels
from cdp.train.initial import start_from
from cdp.train.interrupt import TrainingInterrupted, stop_between_steps
from cdp.train.log import TrainingLog
from cdp.train.objective import diffusion_loss
from cdp.train.optimiser import learning_rate, make_optimiser, update_average
from cdp.train.parallel import Ranks
from cdp.train.resume import TrainingError, check_alike, check_identity, checkpoint_to_resume, identity_of
from cdp.train.validation import Validation, validate

#: Called after each step with the steps done and what to show.
Progress = Callable[[int, dict[str, float]], None]

# Settings that a resumed run may change: none of them moves the loss curve, threads and compile but for rounding.
_FREE_KEYS = (
    *("run_dir", "output", "log_every", "validate_every", "checkpoint_every", "dataset", "report_windows", "report_seeds", "monitor_windows"),
    *("process_timeout_s", "threads", "compile"),
)


@dataclass(frozen=True)
class TrainResult:
    """The averaged policy, in evaluation mode, and the figures of its training."""

    policy: VisionPolicy
    steps: int
    loss: float
    validation: Validation
    penalty_overhead: float
    """Share by which the penalty made training slower than the same training with gamma = 0."""
    wall_s: float
    gamma: float
    """Weight of the penalty at the end: where ``gamma: auto`` has driven it, or the configured one."""


class Trainer:
    """One training of ``config`` on two splits.

    ``device`` is where it runs, ``ranks`` the processes that share each batch of it, ``initial`` the bundle that ``config.initial`` names.
    """

    def __init__(
        self, config: TrainConfig, train: Windows, valid: Windows, device: torch.device, ranks: Ranks | None = None, initial: Bundle | None = None
    ) -> None:
        self.ranks = ranks if ranks is not None else Ranks()
        if config.batch_size < self.ranks.size:
            raise TrainingError(f"batch_size: {config.batch_size} leaves some of the {self.ranks.size} processes without a row; start fewer")
        deterministic_kernels(device)
        if not len(train) or not len(valid):
            raise TrainingError(f"the data set has {len(train)} training and {len(valid)} validation rows; it needs some of both")
        if (config.initial is None) != (initial is None):
            raise TrainingError(f"initial is {config.initial} in the configuration and {initial and initial.path} was given: the two go together")
        self.config, self.train, self.valid, self.device = config, train, valid, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            policy = build_policy(
                config.network,
                lowdim_width=train.lowdim_width,
                action_width=train.action_width,
                window=config.observation.window,
                horizon=config.horizon,
                schedule=config.diffusion,
            )
        if initial is not None:
            start_from(policy, initial, config.freeze_encoder)
        self.policy = policy.to(device).train()
        if config.freeze_encoder:
            # Not its weights only: a backbone of the user's own may keep running statistics, or drop features, in training.
            self.policy.encoder.eval()
        self.forward = Forward(self.policy, device, config.precision, config.compile)
        self.average = copy.deepcopy(self.policy).eval().requires_grad_(False)
        self.optimiser = make_optimiser(self.policy, config.optimiser)
        self.penalty = ContractionPenalty(config.contraction, config.diffusion, config.sampler.steps, config.sampler.solver)
        self._checkpoints = config.run_folder / "checkpoints"
        self.weight = PenaltyWeight(config.contraction)
        self._clock = TrainingClock()
        self._smooth_loss = 0.0
        # Of the newest penalised step: logged at every step, since the steps that are logged need not be penalised ones.
        self._penalty_figures: dict[str, float] = {}

    def run(self, resume: bool = False, overwrite: bool = False, progress: Progress | None = None) -> TrainResult:
        """Train to ``config.steps``.

        With ``resume`` it goes on from the newest checkpoint of ``config.run_folder``, where there is one; with ``overwrite`` it removes those of an
        earlier training; with neither it refuses a folder that holds one.
        SIGINT or SIGTERM end it after the step, with a checkpoint, as :class:`TrainingInterrupted`.
        Raises :class:`TrainingError` where the loss is no longer finite, and for checkpoints of another configuration or data set.
        """
        if overwrite and not resume and self.ranks.main:
            remove_checkpoints(self._checkpoints)
        done = self._restore(resume)
        config = self.config
        main = self.ranks.main
        validation = self._validate() if done >= config.steps else None
        with TrainingLog(config.run_folder, done) if main else nullcontext() as log, stop_between_steps() as stop:
            for step in range(done, config.steps):
                started = time.perf_counter()
                figures = self.step(step)
                self._clock.total_s += time.perf_counter() - started
                done = step + 1
                last = done == config.steps
                if log is not None and (done % config.log_every == 0 or last):
                    log.write(done, self._logged(figures, step))
                if done % config.validate_every == 0 or last:
                    validation = self._validate()
                    figures["val_error"] = validation.action_error
                    if log is not None:
                        log.write(done, {f"valid/{name}": value for name, value in vars(validation).items()})
                stopped = self.ranks.any(stop.is_set()) and not last
                if done % config.checkpoint_every == 0 or last or stopped:
                    self.ranks.first(partial(self._save, done))
                if main and progress is not None:
                    progress(done, figures)
                if stopped:
                    raise TrainingInterrupted.after(done, config.steps, self._checkpoints)
        if validation is None:
            raise TrainingError("training ended without a validation")
        return TrainResult(self.average, done, self._smooth_loss, validation, self._clock.overhead, self._clock.total_s, self.weight.value)

    def step(self, step: int) -> dict[str, float]:
        """One update of the weights, number ``step`` (from 0), and its figures. Raises :class:`TrainingError` where the loss is not finite."""
        config = self.config
        share = self.ranks.share(config.batch_size)
        generator = step_generator(config.seed, step)
        if self.ranks.size > 1:
            generator = SharedGenerator(share, generator)
        cond, chunk = self._batch(step, generator, share)
        rate = learning_rate(config.optimiser, step, config.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        repeats = config.noise_samples
        loss = self.loss(chunk.repeat_interleave(repeats, 0), cond.repeat_interleave(repeats, 0), generator)
        value = self.ranks.sum(float(loss.detach()) * share.weight)
        if not np.isfinite(value):
            raise TrainingError(
                f"the loss is {value} at step {step}; checkpoints up to there are kept in {config.run_folder}; lower the learning rate"
            )
        (loss * share.weight).backward()  # type: ignore[no-untyped-call]
        figures = {"loss": value}
        if config.contraction.active and step % config.contraction.every == 0:
            self._penalty_figures = self._penalise(self.ranks.whole(chunk, share), self.ranks.whole(cond.detach(), share), generator)
        figures |= self._penalty_figures
        self.ranks.sum_gradients(self.policy.parameters())
        figures["gradient_norm"] = float(torch.nn.utils.clip_grad_norm_(self.policy.parameters(), config.optimiser.clip_norm))
        self.optimiser.step()
        update_average(self.average, self.policy, config.optimiser.ema_decay, step)
        self._smooth_loss = value if step == 0 else self._smooth_loss + (value - self._smooth_loss) * max(0.01, 1.0 / (step + 1))
        return figures

    def loss(self, chunk: Tensor, cond: Tensor, generator: torch.Generator) -> Tensor:
        """The denoising loss of chunks (B, T, D) under conditions (B, C), a scalar; a subclass may train for another."""
        config = self.config
        prediction = config.network.denoiser.prediction
        return diffusion_loss(self.forward.denoise, chunk, cond, config.diffusion, config.weighting, generator, prediction)

    def _penalise(self, chunk: Tensor, cond: Tensor, generator: torch.Generator) -> dict[str, float]:
        """Add the penalty's gradient, by a backward pass of its own so that its cost can be told."""
        started = time.perf_counter()
        penalised: Penalised = self.penalty(self.policy.denoise, chunk, cond, generator, self.ranks.share if self.ranks.size > 1 else None)
        gamma = self.weight.value
        (gamma * penalised.share.weight * penalised.loss).backward()  # type: ignore[no-untyped-call]
        penalised = self.ranks.whole_penalised(penalised)
        violation = penalised.violation
        self.weight.update(violation)
        figures = {
            "gamma": gamma,
            "penalty": float(penalised.loss.detach()),
            "measure_median": float(penalised.measure.median()),
            "over_limit": violation,
        }
        self._clock.penalty_s += time.perf_counter() - started
        return figures

    def _batch(self, step: int, generator: torch.Generator, share: Share) -> tuple[Tensor, Tensor]:
        """Conditions (B, C), with a graph where the encoder learns, and chunks (B, T, D) of this process's share of a step."""
        config = self.config
        batch = self.train.batch(batch_indices(len(self.train), config.batch_size, config.seed, step)[share.rows])
        chunk = torch.from_numpy(batch["action"]).to(self.device)
        if "cond" in batch:
            return pick_draw(batch["cond"], generator).to(self.device), chunk
        encoder = config.network.encoder
        size = encoder.crop_size if encoder.kind == "vision" else config.observation.image_size
        cropped = random_crop(batch["image"], size, np.random.default_rng((config.seed, step)), share)
        lowdim = torch.from_numpy(batch["lowdim"])
        if config.lowdim_noise > 0.0:
            lowdim = lowdim + config.lowdim_noise * draw(torch.randn, lowdim.shape, generator)
        return self.forward.encode(image_tensor(cropped, self.device), lowdim.to(self.device)), chunk

    def _validate(self) -> Validation:
        return self.ranks.first(lambda: validate(self.average, self.valid, self.config, self.device))

    def _logged(self, figures: dict[str, float], step: int) -> dict[str, float]:
        values = {f"train/{name}": value for name, value in figures.items()}
        values["train/loss_smooth"] = self._smooth_loss
        values["train/learning_rate"] = learning_rate(self.config.optimiser, step, self.config.steps)
        values["time/steps_per_s"] = (step + 1) / max(self._clock.total_s, 1e-9)
        values["time/penalty_overhead"] = self._clock.overhead
        return values

    def _save(self, done: int) -> None:
        state = {
            "identity": self._identity(),
            "smooth_loss": self._smooth_loss,
            "clock": vars(self._clock),
            "gamma": self.weight.value,
            "penalty": self._penalty_figures,
        }
        save_checkpoint(self._checkpoints, done, self.policy, self.average, self.optimiser, state)

    def _restore(self, resume: bool) -> int:
        identity = self._identity()
        check_alike(self.ranks.first(lambda: identity), identity)
        found = self.ranks.first(lambda: self._newest(resume))
        if found is None:
            self.ranks.align(self.policy)
            self.ranks.align(self.average)
            return 0
        found.restore(self.policy, self.average, self.optimiser)
        state = found.state
        check_identity(found.path, state["identity"], identity)
        self._clock = replace(self._clock, **state["clock"])
        self._smooth_loss = float(state["smooth_loss"])
        self.weight.value = float(state["gamma"])
        self._penalty_figures = dict(state["penalty"])
        return int(state["step"])

    def _newest(self, resume: bool) -> Checkpoint | None:
        newest = checkpoint_to_resume(self._checkpoints, resume)
        return None if newest is None else read_checkpoint(newest)

    def _identity(self) -> dict[str, Any]:
        return identity_of(self.config, _FREE_KEYS, self.train.sha256)
