"""Acting with a trained policy: sample candidates, and draw one by its Q (EDP's energy-based selection)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cdp.config import dump, load
from cdp.rl.config import RLConfig
from cdp.rl.networks import Networks
from cdp.rl.objective import sample_actions

WEIGHTS = "policy.safetensors"
CONFIG = "config.yaml"


class PolicyError(ValueError):
    """A folder that holds no usable policy; the message says which part is missing or does not fit."""


def selection_probabilities(q: Tensor, temperature: float) -> Tensor:
    """Values (B, N) of N candidates -> the probability (B, N) ~ exp(Q / temperature) with which each is taken; at 0 all of it is on the best."""
    if temperature == 0.0:
        return torch.nn.functional.one_hot(q.argmax(dim=1), q.shape[1]).to(q.dtype)
    return torch.softmax(q / temperature, dim=1)


class RLPolicy:
    """The averaged actor and the target critics of a training, in evaluation. Calls are a function of the seed and of how many came before."""

    def __init__(self, networks: Networks, config: RLConfig, seed: int = 0) -> None:
        self.networks, self.config = networks.eval(), config
        self._generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Observations (B, P) -> actions (B, D), both in the task's unit."""
        networks, count = self.networks, self.config.selection.candidates
        cond = networks.normalise_observation(torch.from_numpy(np.ascontiguousarray(observation)))
        candidates = self.candidates(cond, count)
        chosen = candidates[:, 0]
        if count > 1:
            q = networks.critic(cond.repeat_interleave(count, 0), candidates.flatten(0, 1)).amin(dim=0).reshape(-1, count)
            picks = torch.multinomial(selection_probabilities(q, self.config.selection.temperature), 1, generator=self._generator)
            chosen = candidates[torch.arange(len(candidates)), picks[:, 0]]
        actions: NDArray[np.float32] = networks.denormalise_action(chosen).numpy()
        return actions

    @torch.no_grad()
    def candidates(self, cond: Tensor, count: int) -> Tensor:
        """``count`` samples for each normalised observation (B, P): normalised actions (B, count, D)."""
        sampler, networks = self.config.sampler, self.networks
        repeated = cond.repeat_interleave(count, 0)
        actions = sample_actions(
            networks.denoise, repeated, networks.action_width, sampler.steps, sampler.solver, self.config.diffusion, self._generator
        )
        return actions.reshape(len(cond), count, -1)


def save_policy(folder: Path, networks: Networks, config: RLConfig) -> None:
    """Write weights and configuration into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in networks.state_dict().items()}, folder / WEIGHTS)
    dump(config, folder / CONFIG)


def load_policy(folder: Path, seed: int = 0) -> RLPolicy:
    """The policy of a folder that a training wrote; ``seed`` fixes its noise. Raises :class:`PolicyError` and ``cdp.config.ConfigError``."""
    if not (folder / WEIGHTS).is_file():
        raise PolicyError(f"{folder} holds no trained policy: {WEIGHTS} is missing; a training writes it at its end")
    config = load(RLConfig, folder / CONFIG)
    try:
        state = load_file(folder / WEIGHTS)
        networks = Networks(len(state["observation_mean"]), len(state["action_centre"]), config.actor, config.critic)
        networks.load_state_dict(state)
    except (OSError, RuntimeError, KeyError, SafetensorError) as error:
        raise PolicyError(f"{folder / WEIGHTS} does not fit {CONFIG} beside it: {error}") from error
    return RLPolicy(networks.requires_grad_(False), config, seed)
