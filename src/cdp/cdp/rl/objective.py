"""The losses of Efficient Diffusion Policy (EDP; Kang et al. 2023, arXiv 2305.20081), in normalised units, for an x0 denoiser.

One forward pass of the actor serves both of its losses. A data set's action a is noised, ``a_t = alpha a + sigma eps``, and the denoiser's x0 is at
once what behaviour cloning compares with a and what stands for the policy's action in the Q term: the one-step approximation of the paper, which
saves running the sampler and differentiating through it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cdp.contraction.penalties import ConditionalDenoise
from cdp.diffusion.conversions import coefficients
from cdp.diffusion.sampler import sample
from cdp.diffusion.schedule import Schedule
from cdp.rl.networks import TwinCritic


@dataclass(frozen=True)
class ActorLoss:
    """Behaviour-cloning term, Q term (normalised, without its weight) and the mean Q of the approximated actions; scalars."""

    cloning: Tensor
    improvement: Tensor
    q_mean: Tensor


def one_step_action(denoise: ConditionalDenoise, action: Tensor, cond: Tensor, schedule: Schedule, generator: torch.Generator) -> Tensor:
    """The action (B, D) that the denoiser makes in one step of dataset actions (B, D), noised at uniform times: its x0 prediction."""
    t = torch.rand(len(action), generator=generator, dtype=action.dtype).to(action.device) * (schedule.t_max - schedule.t_min) + schedule.t_min
    alpha, sigma = coefficients(schedule, t, action)
    noisy = alpha * action + sigma * torch.randn(action.shape, generator=generator, dtype=action.dtype).to(action.device)
    predicted: Tensor = denoise(noisy[:, None], t, cond)
    return predicted.squeeze(1)


def actor_loss(
    denoise: ConditionalDenoise, critic: TwinCritic, action: Tensor, cond: Tensor, schedule: Schedule, generator: torch.Generator
) -> ActorLoss:
    """EDP's losses of the actor on dataset actions (B, D) under observations (B, P).

    The Q term is ``-E[min_j Q_j(s, a_hat)] / E|min_j Q_j|``: the divisor, held constant, makes its weight independent of the scale of the rewards.
    The approximated action is clipped to the box of the data first: a critic knows nothing beyond it.
    """
    predicted = one_step_action(denoise, action, cond, schedule, generator)
    q = critic(cond, predicted.clamp(-1.0, 1.0)).amin(dim=0)
    scale = q.detach().abs().mean().clamp_min(1e-6)
    return ActorLoss((predicted - action).square().mean(), -q.mean() / scale, q.detach().mean())


def bellman_target(reward: Tensor, terminal: Tensor, next_q: Tensor, discount: float) -> Tensor:
    """``r + discount (1 - terminal) min_j Q_j(s', a')``: rewards (B,), terminal (B,) bool, both target values (2, B) -> (B,)."""
    return reward + discount * torch.where(terminal, torch.zeros_like(reward), next_q.amin(dim=0))


def critic_loss(critic: TwinCritic, cond: Tensor, action: Tensor, target: Tensor) -> Tensor:
    """Squared Bellman error, summed over the twins and averaged over the batch: observations (B, P), actions (B, D), targets (B,)."""
    error: Tensor = critic(cond, action) - target.detach()
    return error.square().sum(dim=0).mean()


@torch.no_grad()
def sample_actions(
    denoise: ConditionalDenoise, cond: Tensor, width: int, steps: int, solver: str, schedule: Schedule, generator: torch.Generator
) -> Tensor:
    """The policy's actions (B, D), D = ``width``, by the whole sampler, clipped to the box of the data."""
    noise = torch.randn((len(cond), 1, width), generator=generator, dtype=cond.dtype).to(cond.device)
    actions: Tensor = sample(lambda x, t: denoise(x, t, cond), noise, steps, solver, schedule)
    return actions[:, 0].clamp(-1.0, 1.0)
