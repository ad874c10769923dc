"""What the study of slide measures of each policy: on validation observations that no training saw, with the same noise for every policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cdp.actions import POSITION
from cdp.contraction.estimators import stacked_jacobian
from cdp.contraction.penalties import ConditionalDenoise
from cdp.contraction.report_sampler import Sampler
from cdp.data.normalise import MinMax
from cdp.diffusion.path import NoisePath
from cdp.diffusion.sampler import sample
from cdp.report.columns import Measuring, measure_column
from cdp.train.validation import even_rows

SOLVER = "ddim"
#: Figures that are zero by construction for a policy without noise.
NOISE_FIGURES = ("lipschitz_median", "lipschitz_p99", "sigma_max_median", "sigma_max_max", "std", "jitter_mm")
_NOISE_SEED = 20_240_701
#: Exact Jacobians are d columns each: of this many observations, with one noise.
EXACT = 4


@dataclass(frozen=True)
class Policy:
    """A denoiser and the standard deviation of its initial noise; or, with ``act``, a function of the condition alone."""

    denoise: ConditionalDenoise
    temperature: float = 1.0
    act: Callable[[Tensor], Tensor] | None = None

    def actions(self, noise: Tensor, cond: Tensor, steps: int, schedule: NoisePath) -> Tensor:
        """Chunks (B, T, D) from unit ``noise`` (B, T, D) and conditions (B, C)."""
        if self.act is not None:
            return self.act(cond)
        chunk: Tensor = sample(lambda a, t: self.denoise(a, t, cond), self.temperature * noise, steps, SOLVER, schedule)
        return chunk


@dataclass(frozen=True)
class Bench:
    """Validation windows: conditions (N, C) and the operator's chunks (N, T, D); what of them is looked at with many noise seeds."""

    cond: Tensor
    chunk: Tensor
    scale: MinMax
    schedule: NoisePath
    observations: int
    seeds: int

    @property
    def seen(self) -> Tensor:
        """Conditions of the observations that are sampled with many seeds."""
        return self.cond[torch.from_numpy(even_rows(len(self.cond), self.observations))]

    def noise(self, shape: tuple[int, ...]) -> Tensor:
        """Unit noise, always the same for one shape."""
        return torch.randn(shape, generator=torch.Generator().manual_seed(_NOISE_SEED))

    @torch.no_grad()
    def measure(self, policy: Policy, steps: int) -> dict[str, float]:
        """Figures of a policy in ``steps`` sampler steps; ratios are to a distance of unit noise, whatever the temperature.

        ``action_error``: root mean square over the whole validation split, normalised. ``jitter_mm``: of the position in the first row of a chunk,
        over noise seeds, root mean square over observations.
        """
        found = {"action_error": self._error(policy, steps), **self._jitter(policy, steps)}
        if policy.act is not None or policy.temperature == 0.0:
            return found | dict.fromkeys(NOISE_FIGURES, 0.0)
        shape = tuple(self.chunk.shape[1:])
        sampler = Sampler(policy.denoise, self.seen, shape, self.schedule, SOLVER, steps, policy.temperature)
        column = measure_column(sampler, Measuring(seeds=self.seeds, costly_seeds=1), ("lipschitz",))["lipschitz"]["tiny"]
        exact = policy.temperature * self._sigma_max(policy, steps)
        return {
            **found,
            "lipschitz_median": policy.temperature * column["median"],
            "lipschitz_p99": policy.temperature * column["quantiles"][99],
            "sigma_max_median": float(exact.median()),
            "sigma_max_max": float(exact.max()),
        }

    @torch.no_grad()
    def violation(self, policy: Policy) -> float:
        """Share of points on sampled paths where sampling expands in some direction."""
        sampler = Sampler(policy.denoise, self.seen, tuple(self.chunk.shape[1:]), self.schedule, SOLVER, 10, policy.temperature)
        measured: dict[str, Any] = measure_column(sampler, Measuring(seeds=2, costly_seeds=1), ("violation",))["violation"]
        return float(measured["fraction"])

    def _error(self, policy: Policy, steps: int) -> float:
        noise = self.noise(tuple(self.chunk.shape))
        return float((policy.actions(noise, self.cond, steps, self.schedule) - self.chunk).square().mean().sqrt())

    def _jitter(self, policy: Policy, steps: int) -> dict[str, float]:
        seen, shape = self.seen, tuple(self.chunk.shape[1:])
        noise = self.noise((len(seen) * self.seeds, *shape))
        actions = policy.actions(noise, seen.repeat_interleave(self.seeds, 0), steps, self.schedule).reshape(len(seen), self.seeds, *shape)
        first = self.scale.denormalise(actions[:, :, 0].numpy())[..., POSITION]
        return {
            "std": float(actions.var(dim=1).mean().sqrt()),
            "jitter_mm": float(1e3 * np.sqrt(first.var(axis=1, ddof=1).sum(axis=-1).mean())),
        }

    def _sigma_max(self, policy: Policy, steps: int) -> Tensor:
        cond = self.seen[:: max(1, len(self.seen) // EXACT)][:EXACT]
        start = policy.temperature * self.noise((len(cond), *self.chunk.shape[1:]))
        values = []
        # One observation at a time: its Jacobian is a batch of d already.
        for i in range(len(cond)):

            def phi(x: Tensor, row: Tensor = cond[i : i + 1]) -> Tensor:
                many = row.expand(len(x), -1)
                moved: Tensor = sample(lambda a, t: policy.denoise(a, t, many), x, steps, SOLVER, self.schedule)
                return moved

            values.append(torch.linalg.matrix_norm(stacked_jacobian(phi, start[i : i + 1]).detach(), ord=2))
        return torch.cat(values)
