"""The networks of a policy that was learnt from rewards: a denoiser of one action, twin critics, and the units that both work in."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from cdp.networks.layers import TokenNorm
from cdp.networks.mlp import MLPDenoiser
from cdp.rl.config import ActorConfig, CriticConfig
from cdp.rl.transitions import Transitions


class QNetwork(nn.Module):
    """Q(s, a): normalised observation (B, P) and action (B, D) -> (B,).

    The hidden features are normalised, which bounds how far the value of an action outside the data can run away (Ball et al., arXiv 2302.02948).
    """

    def __init__(self, observation_width: int, action_width: int, config: CriticConfig) -> None:
        super().__init__()
        widths = [observation_width + action_width] + [config.width] * config.depth
        hidden = [nn.Sequential(nn.Linear(a, b), TokenNorm(), nn.SiLU()) for a, b in itertools.pairwise(widths)]
        self.layers = nn.Sequential(*hidden, nn.Linear(config.width, 1))

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Values (B,)."""
        return self.layers(torch.cat([observation, action], dim=-1)).squeeze(-1)  # type: ignore[no-any-return]


class TwinCritic(nn.Module):
    """Two Q networks that start apart; the lesser of the two is believed (Fujimoto et al., arXiv 1802.09477)."""

    def __init__(self, observation_width: int, action_width: int, config: CriticConfig) -> None:
        super().__init__()
        self.first = QNetwork(observation_width, action_width, config)
        self.second = QNetwork(observation_width, action_width, config)

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Both values (2, B)."""
        return torch.stack([self.first(observation, action), self.second(observation, action)])


class Networks(nn.Module):
    """Actor and critics in normalised units; the data set's statistics are buffers, so that a state dictionary is a whole policy.

    Observations are standardised; actions are mapped from their smallest and greatest value in the data to [-1, 1].
    """

    observation_mean: Tensor
    observation_std: Tensor
    action_centre: Tensor
    action_half: Tensor

    def __init__(self, observation_width: int, action_width: int, actor: ActorConfig, critic: CriticConfig) -> None:
        super().__init__()
        self.actor = MLPDenoiser(1, action_width, observation_width, actor.width, actor.depth)
        self.critic = TwinCritic(observation_width, action_width, critic)
        self.register_buffer("observation_mean", torch.zeros(observation_width))
        self.register_buffer("observation_std", torch.ones(observation_width))
        self.register_buffer("action_centre", torch.zeros(action_width))
        self.register_buffer("action_half", torch.ones(action_width))

    def fit_units(self, data: Transitions) -> None:
        """Take the statistics of ``data``; what does not vary there is left in its own unit, around its value."""
        observation, action = torch.from_numpy(data.observation).double(), torch.from_numpy(data.action).double()
        low, high = action.amin(dim=0), action.amax(dim=0)
        std, half = observation.std(dim=0, unbiased=False), 0.5 * (high - low)
        self.observation_mean.copy_(observation.mean(dim=0))
        self.observation_std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))
        self.action_centre.copy_(0.5 * (low + high))
        self.action_half.copy_(torch.where(half > 1e-6, half, torch.ones_like(half)))

    @property
    def action_width(self) -> int:
        """D."""
        return len(self.action_centre)

    @property
    def observation_width(self) -> int:
        """P."""
        return len(self.observation_mean)

    def denoise(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """Noisy normalised action (B, 1, D) at times (B,), normalised observation (B, P) -> x0 (B, 1, D), not clipped."""
        return self.actor(x, t, cond)  # type: ignore[no-any-return]

    def normalise_observation(self, observation: Tensor) -> Tensor:
        """(..., P) in the task's unit -> (..., P)."""
        return (observation - self.observation_mean) / self.observation_std

    def normalise_action(self, action: Tensor) -> Tensor:
        """(..., D) in the task's unit -> (..., D) in [-1, 1]."""
        return (action - self.action_centre) / self.action_half

    def denormalise_action(self, action: Tensor) -> Tensor:
        """Inverse of :meth:`normalise_action`."""
        return action * self.action_half + self.action_centre


def build_networks(data: Transitions, actor: ActorConfig, critic: CriticConfig, seed: int) -> Networks:
    """Freshly initialised networks in the units of ``data``; the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = Networks(data.observation.shape[1], data.action.shape[1], actor, critic)
    networks.fit_units(data)
    return networks
