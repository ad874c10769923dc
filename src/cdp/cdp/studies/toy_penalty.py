"""The penalty of a stack: the library's, with each member's own weight and its own share of samples over the limit."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from cdp.contraction.dual import PenaltyWeight
from cdp.contraction.penalties import ConditionalDenoise, ContractionPenalty, Penalised
from cdp.diffusion.conversions import coefficients
from cdp.diffusion.schedule import Schedule
from cdp.studies.toy_config import ToyTraining

#: Deployed steps on whose grid cdp-step looks at the sampler's step map.
DEPLOYED_STEPS = 3


class StackPenalty:
    """:class:`ContractionPenalty` for M members at once, on the VP cosine path whatever path a stack is trained on.

    A network that sees the standardised state is a denoiser on every path. Penalised on one and the same, a weight means the same for all.
    """

    def __init__(self, config: ToyTraining) -> None:
        self._size = len(config.members)
        self._on_state = config.penalised == "state"
        self.schedule = config.schedule if isinstance(config.schedule, Schedule) else Schedule()
        self._few = max(1, round(config.contraction.fraction * config.batch_size))
        # The stack picks the rows itself, as many for each member.
        whole = dataclasses.replace(config.contraction, fraction=1.0)
        self._penalty = ContractionPenalty(whole, self.schedule, DEPLOYED_STEPS, "ddim")
        self.weights = [PenaltyWeight(member.contraction(config.contraction)) for member in config.members]

    @property
    def gamma(self) -> Tensor:
        """The members' weights (M,)."""
        return torch.tensor([weight.value for weight in self.weights])

    def __call__(self, denoise: ConditionalDenoise, chunk: Tensor, cond: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Chunks (M, B, T, D) and conditions (M, B, C + 1), the last column the member -> the mean penalty, and each member's violation rate (M,)."""
        witness = _Witness(denoise)
        rows, names = chunk[:, : self._few].flatten(0, 1), cond[:, : self._few].flatten(0, 1)
        on_state = self._state_penalty if self._on_state else self._penalty
        penalised = on_state(witness, rows, names, generator)
        over = (penalised.measure > penalised.limit).to(chunk.dtype)
        return penalised.loss, torch.zeros(self._size).index_add_(0, witness.members[: len(over)], over) / self._few

    def update(self, violation: Tensor) -> None:
        """Move each weight by its own member's violation rate (M,), by the library's rule."""
        for weight, rate in zip(self.weights, violation.tolist(), strict=True):
            weight.update(rate)

    def _state_penalty(self, denoise: ConditionalDenoise, chunk: Tensor, cond: Tensor, generator: torch.Generator) -> Penalised:
        """The same function of ``d x0 / d state``, at noise levels and noisy actions drawn as for the other."""
        t = self.schedule.t_min + (self.schedule.t_max - self.schedule.t_min) * torch.rand(len(chunk), generator=generator)
        alpha, sigma = coefficients(self.schedule, t, chunk)
        x = alpha * chunk + sigma * torch.randn(chunk.shape, generator=generator)

        def of_state(state: Tensor) -> Tensor:
            repeats = len(state) // len(t)
            return denoise(x.repeat(repeats, 1, 1), t.repeat(repeats), torch.cat([state, cond[:, -1:].repeat(repeats, 1)], dim=1)).flatten(1)

        return self._penalty.at(of_state, cond[:, :-1], t, t, t, generator)


class _Witness:
    """A stack's denoiser that remembers which members were asked: the penalty shuffles its samples."""

    def __init__(self, denoise: ConditionalDenoise) -> None:
        self._denoise = denoise
        self.members = torch.zeros(0, dtype=torch.long)

    def __call__(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        self.members = cond[:, -1].detach().long()
        return self._denoise(x, t, cond)
