"""The contraction penalties. Each is a non-linear function of one sample's Jacobian; the mean over samples is taken after it, never before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cdp.contraction.config import ContractionConfig
from cdp.contraction.estimators import Map, standardised_map
from cdp.contraction.measures import Measures
from cdp.diffusion.conversions import coefficients, x0_to_eps
from cdp.diffusion.path import NoisePath
from cdp.diffusion.sampler import sampler_steps
from cdp.diffusion.steps import standardised_step
from cdp.shares import ALL, Share, SharedGenerator

#: ``denoise(x (B, T, D), t (B,), cond (B, C)) -> x0 (B, T, D)``
ConditionalDenoise = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Penalised:
    """The mean penalty, ready for backward, and what it was computed from: (N,) ``measure`` of each sample and its (N,) ``limit``.

    ``share`` says which part of a larger set of samples the N are; alone they are all of them.
    """

    loss: Tensor
    measure: Tensor
    limit: Tensor
    share: Share = ALL

    @property
    def violation(self) -> float:
        """Share of the samples whose measure exceeds their limit."""
        return float((self.measure > self.limit).float().mean())


def saturating(measure: Tensor, kappa: float) -> Tensor:
    """``e / (e + kappa)``: pulls hard where the map nearly contracts and lets go where it has to expand, between modes."""
    return measure / (measure + kappa)


def squared_hinge(measure: Tensor, limit: Tensor) -> Tensor:
    """``relu(measure - limit)^2``."""
    return torch.relu(measure - limit).square()


def literal_hinge(measure: Tensor, limit: Tensor, beta: float) -> Tensor:
    """``max(-beta, measure - limit - beta)``, with ``limit = -f / h - beta`` the loss as printed in arXiv 2601.01003."""
    return (measure - limit - beta).clamp_min(-beta)


def paper_limit(schedule: NoisePath, t: Tensor) -> Tensor:
    """``-f / h`` at times (N,): ``f = d ln(alpha) / dt`` and ``h = g^2 / (2 sigma) = sigma (d ln(sigma) / dt - d ln(alpha) / dt)``.

    Wants alpha > 0, where f and g are finite.
    """
    f = schedule.dlog_alpha_dt(t)
    limit: Tensor = -f / (schedule.sigma(t) * (schedule.dlog_sigma_dt(t) - f))
    return limit


def eps_map(fn: Map, t: Tensor, schedule: NoisePath) -> Map:
    """The noise that a map to x0 at times (N,) implies; of a network that predicts the noise it is the network itself."""

    def eps(x: Tensor) -> Tensor:
        alpha, sigma = coefficients(schedule, t.repeat(len(x) // len(t)), x)
        noise: Tensor = x0_to_eps(x, fn(x), alpha, sigma)
        return noise

    return eps


def bind(denoise: ConditionalDenoise, t: Tensor, cond: Tensor) -> Map:
    """``denoise`` at times (N,) and conditions (N, C) as a map that takes (N, T, D), or several such stacked."""

    def fn(x: Tensor) -> Tensor:
        repeats = len(x) // len(t)
        return denoise(x, t.repeat(repeats), cond.repeat(repeats, 1))

    return fn


class ContractionPenalty:
    """The penalty of a configuration, on a random part of a batch and at random times.

    ``steps`` and ``solver`` are those of the deployed sampler, on whose grid ``cdp-step`` looks at the step map. Every Jacobian is estimated with
    respect to the standardised state ``a_t / size(t)`` (:meth:`NoisePath.size`, 1 on a variance-preserving path); those of ``cdp-hinge`` and
    ``cdp-paper`` are then taken back to a_t, in which their limits are written. Raises ValueError for a label that does not suit solver or path.
    """

    def __init__(self, config: ContractionConfig, schedule: NoisePath, steps: int, solver: str) -> None:
        self.config = config
        self.schedule = schedule
        self.measures = Measures(config)
        self._steps = [standardised_step(step, schedule) for step in sampler_steps(steps, "ddim", schedule)]
        self._window_end = schedule.window_end(config.t_max)
        if config.label == "cdp-step" and solver != "ddim":
            raise ValueError(f"cdp-step is the step map of ddim; it says nothing about {solver}")
        if config.label == "cdp-paper" and schedule.alpha(schedule.t_max) <= 0.0:
            raise ValueError(f"cdp-paper is written in f and g of the path, which are unbounded where alpha of {schedule.kind} is 0; lower its t_max")

    def __call__(
        self,
        denoise: ConditionalDenoise,
        chunk: Tensor,
        cond: Tensor,
        generator: torch.Generator,
        share_of: Callable[[int], Share] | None = None,
    ) -> Penalised:
        """Penalise ``denoise`` around clean chunks (B, T, D) under conditions (B, C), which are detached: the penalty does not train the encoder.

        One of several processes names by ``share_of`` its part of the samples that are drawn; all give the whole batch and the same generator.
        """
        count = max(1, round(self.config.fraction * len(chunk)))
        chosen = torch.randperm(len(chunk), generator=generator)[:count].to(chunk.device)
        chunk, cond = chunk[chosen], cond[chosen].detach()
        t, r, c = self._times(count, generator, chunk)
        alpha, sigma = coefficients(self.schedule, t, chunk)
        x = alpha * chunk + sigma * torch.randn(chunk.shape, generator=generator, dtype=chunk.dtype).to(chunk.device)
        if share_of is None:
            return self.at(bind(denoise, t, cond), x, t, r, c, generator)
        share = share_of(count)
        x, t, r, c, cond = (rows[share.rows] for rows in (x, t, r, c, cond))
        if not len(share):
            return Penalised(x.new_zeros((), requires_grad=True), t, t, share)
        return replace(self.at(bind(denoise, t, cond), x, t, r, c, SharedGenerator(share, generator)), share=share)

    def at(self, fn: Map, x: Tensor, t: Tensor, r: Tensor, c: Tensor, generator: torch.Generator) -> Penalised:
        """The penalty of the map ``fn`` at noisy chunks ``x`` (N, T, D) of times ``t`` (N,).

        ``r`` and ``c`` (N,), those of :func:`standardised_step`, are read by ``cdp-step`` only.
        """
        config = self.config
        measures = self.measures
        size = self.schedule.size(t)
        unit, y = standardised_map(fn, size), x / size.reshape((-1,) + (1,) * (x.ndim - 1))
        if config.label == "cdp-saturating":
            e = measures.frobenius_squared(unit, y, generator)
            return Penalised(saturating(e, config.kappa).mean(), e.detach(), torch.full_like(t, config.kappa))
        if config.label == "cdp-hinge":
            e, limit = measures.lambda_max_symmetric(unit, y, generator) / size, self.schedule.contraction_limit(t) - config.beta
            return Penalised(squared_hinge(e, limit).mean(), e.detach(), limit)
        if config.label == "cdp-step":
            e, limit = measures.sigma_max_affine(unit, y, r, c, generator), torch.full_like(t, 1.0 - config.beta)
            return Penalised(squared_hinge(e, limit).mean(), e.detach(), limit)
        if config.label == "cdp-paper":
            e = measures.lambda_max_symmetric(standardised_map(eps_map(fn, t, self.schedule), size), y, generator) / size
            limit = paper_limit(self.schedule, t) - config.beta
            return Penalised(literal_hinge(e, limit, config.beta).mean(), e.detach(), limit)
        if config.label == "cdp-frobenius":
            e = measures.symmetric_frobenius_squared(unit, y, generator, config.beta) / x[0].numel() ** 2
            return Penalised(e.mean(), e.detach(), torch.zeros_like(t))
        raise ValueError(f"{config.label} has no penalty")

    def _times(self, count: int, generator: torch.Generator, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Times (N,) of the window and the step coefficients (N,) there: training times, or for ``cdp-step`` those of the deployed grid."""
        if self.config.label == "cdp-step":
            allowed = [step for step in self._steps if step.t <= self._window_end] or self._steps[-1:]
            picks = torch.randint(len(allowed), (count,), generator=generator).tolist()
            columns = [[getattr(allowed[i], name) for i in picks] for name in ("t", "r", "c")]
            t, r, c = (torch.tensor(column, dtype=like.dtype, device=like.device) for column in columns)
            return t, r, c
        t = self.schedule.training_time(torch.rand(count, generator=generator, dtype=like.dtype), self._window_end).to(like.device)
        return t, torch.zeros_like(t), torch.ones_like(t)
