"""Training of toy denoisers, one function for every study, and the cache that lets studies share them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

import cdp
from cdp.config import ConfigError, setting, to_mapping
from cdp.contraction.config import ContractionConfig
from cdp.contraction.penalties import ConditionalDenoise, ContractionPenalty
from cdp.diffusion.conversions import coefficients
from cdp.diffusion.path import NoisePath
from cdp.diffusion.sampler import times_like
from cdp.diffusion.schedule import Schedule
from cdp.networks.mlp import MLPDenoiser
from cdp.studies.stack import MLPStack
from cdp.studies.toy_task import SHAPE, STATE_WIDTH, ToyTask, demonstrations
from cdp.train.objective import diffusion_loss

#: Deployed steps on whose grid cdp-step looks at the sampler's step map.
DEPLOYED_STEPS = 3
#: Sources that a training reads: a change in one of them makes the cached models stale.
_SOURCES = ("diffusion", "contraction", "networks/layers.py", "networks/mlp.py", "train/objective.py", "studies/stack.py", "studies/toy_task.py")
_REFINEMENT_LOG_SNR = math.log(9.0)


@dataclass(frozen=True)
class Member:
    """What tells one network of a stack from the others."""

    seed: int = setting(0, low=0, high=2**31 - 1, help="fixes the initial weights and the demonstrations")
    gamma: float = setting(0.0, low=0.0, high=1e3, help="weight of the penalty")
    weight_decay: float = setting(0.0, low=0.0, high=10.0, help="decoupled weight decay of matrices, times the learning rate a step")
    fraction: float = setting(1.0, low=0.0, high=1.0, help="part of the demonstrations, whole ones")


@dataclass(frozen=True)
class ToyTraining:
    """Training of a stack. The penalty is the label's; its weight is each member's."""

    members: tuple[Member, ...]
    objective: str = setting("diffusion", choices=("diffusion", "regression"), help="regression: a two-step policy without noise at the start")
    contraction: ContractionConfig = field(default_factory=ContractionConfig)
    task: ToyTask = field(default_factory=ToyTask)
    schedule: Schedule = field(default_factory=Schedule)
    snapshots: tuple[int, ...] = setting((750, 1500, 2250, 3000, 4500), low=1, high=1_000_000, help="updates after which the weights are kept")
    width: int = setting(64, low=8, high=1024, help="hidden width of the MLP")
    depth: int = setting(2, low=1, high=16, help="residual blocks of the MLP")
    batch_size: int = setting(64, low=4, high=65_536, help="rows a step for each member")
    learning_rate: float = setting(1e-3, low=1e-8, high=1.0, help="of AdamW, constant, so that a snapshot is a training that ended there")
    ema_decay: float = setting(0.995, low=0.0, high=0.99999, help="decay of the moving average of the weights")

    def __post_init__(self) -> None:
        if not self.members or not self.snapshots or list(self.snapshots) != sorted(set(self.snapshots)):
            raise ConfigError("members and snapshots: some of each are needed, the snapshots ascending")


@dataclass(frozen=True)
class Trained:
    """The averaged weights of a stack at each snapshot: ``weights[updates][name]`` (M, ...)."""

    config: ToyTraining
    weights: Mapping[int, Mapping[str, Tensor]]

    def denoiser(self, member: int, updates: int) -> MLPDenoiser:
        """The library's network with the weights of a member at a snapshot."""
        network = _network(self.config)
        network.load_state_dict({name: value[member] for name, value in self.weights[updates].items()})
        return network.eval().requires_grad_(False)


def trained(config: ToyTraining, cache: Path) -> Trained:
    """The stack of ``config``: from the folder ``cache`` where it was trained before by the same sources, trained and kept there otherwise."""
    text = json.dumps(to_mapping(config), sort_keys=True)
    path = cache / f"toy-{hashlib.sha256((text + _sources_digest()).encode()).hexdigest()[:16]}.safetensors"
    if path.is_file():
        flat = load_file(path)
    else:
        flat = {f"{updates}/{name}": value for updates, values in train(config).items() for name, value in values.items()}
        cache.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        save_file(flat, part, {"config": text})
        part.replace(path)
    weights: dict[int, dict[str, Tensor]] = {updates: {} for updates in config.snapshots}
    for key, value in flat.items():
        updates_text, name = key.split("/", 1)
        weights[int(updates_text)][name] = value
    return Trained(config, weights)


def train(config: ToyTraining) -> dict[int, dict[str, Tensor]]:
    """Train every member; its averaged weights by snapshot.

    A member depends on its own settings and on the stack that it is drawn with: members share one stream of noise.
    """
    members, size = config.members, len(config.members)
    stack = MLPStack([_initial(config, member.seed) for member in members])
    flat, average = stack.flat, stack.flat.detach().clone()
    optimiser = torch.optim.AdamW([flat], lr=config.learning_rate, weight_decay=0.0, fused=True)
    decay = _decay(config, stack)
    gamma = torch.tensor([[member.gamma] for member in members])
    draw = _batches(config)
    generator = torch.Generator().manual_seed(members[0].seed)
    loss_of = diffusion_loss if config.objective == "diffusion" else regression_loss
    penalty = _penalty(config)
    weights = {}
    label = config.contraction.label if config.objective == "diffusion" else config.objective
    for step in tqdm(range(config.snapshots[-1]), desc=f"{size} x {label}", unit="step", dynamic_ncols=True, file=sys.stderr):
        chunk, cond = draw(generator)
        stack.refresh()
        # The members share no parameter: the gradient of the sum is each one's own.
        loss = size * loss_of(stack.denoise, chunk.flatten(0, 1), cond.flatten(0, 1), config.schedule, "uniform", generator)
        flat.grad = torch.autograd.grad(loss, flat, retain_graph=True)[0]
        if penalty is not None and step % config.contraction.every == 0:
            few = max(1, round(config.contraction.fraction * config.batch_size))
            penalised = penalty(stack.denoise, chunk[:, :few].flatten(0, 1), cond[:, :few].flatten(0, 1), generator)
            flat.grad += gamma * torch.autograd.grad(size * penalised.loss, flat)[0]
        with torch.no_grad():
            flat.mul_(decay)
            optimiser.step()
            average.lerp_(flat, 1.0 - min(config.ema_decay, (1.0 + step) / (10.0 + step)))
        if step + 1 in config.snapshots:
            weights[step + 1] = {name: value.clone() for name, value in stack.named(average).items()}
    return weights


def regression_loss(
    denoise: ConditionalDenoise, chunk: Tensor, cond: Tensor, schedule: NoisePath, weighting: str, generator: torch.Generator
) -> Tensor:
    """Loss of the two-step regression policy of :func:`regression_action`; the arguments are those of ``diffusion_loss``.

    Squared error of both predictions: from nothing, and from a lightly noised expert action.
    """
    t = refinement_time(schedule)
    near = times_like(chunk, t)
    alpha, sigma = coefficients(schedule, near, chunk)
    first = denoise(torch.zeros_like(chunk), times_like(chunk, schedule.t_max), cond)
    second = denoise(alpha * chunk + sigma * torch.randn(chunk.shape, generator=generator), near, cond)
    return (first - chunk).square().mean() + (second - chunk).square().mean()


def regression_action(denoise: ConditionalDenoise, shape: tuple[int, ...], cond: Tensor, schedule: NoisePath) -> Tensor:
    """Actions (B, T, D) of the two-step regression policy: the mean action for the state, then one refinement of it, with no noise in either.

    Our definition, after the minimal iterative policy of arXiv 2512.01809: the refinement looks at ``alpha a`` at the time where signal and noise
    stand 9 to 1.
    """
    near = refinement_time(schedule)
    first = denoise(torch.zeros(shape), cond.new_full((len(cond),), schedule.t_max), cond)
    return denoise(schedule.alpha(near) * first, times_like(first, near), cond)


def refinement_time(schedule: NoisePath) -> float:
    """Where ``alpha / sigma`` is 9."""
    return float(schedule.time_of_log_snr(_REFINEMENT_LOG_SNR))


def _batches(config: ToyTraining) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
    """A function that draws chunks (M, B, T, D) and conditions (M, B, C + 1), each member from its own demonstrations."""
    data = [demonstrations(config.task, member.seed, member.fraction) for member in config.members]
    counts = torch.tensor([len(states) for states, _ in data])
    states = torch.nn.utils.rnn.pad_sequence([states for states, _ in data], batch_first=True)
    actions = torch.nn.utils.rnn.pad_sequence([actions for _, actions in data], batch_first=True)
    rows = torch.arange(len(data))[:, None]
    name = rows.expand(-1, config.batch_size)[..., None].to(states.dtype)

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        picks = (torch.rand(len(data), config.batch_size, generator=generator) * counts[:, None]).long()
        return actions[rows, picks], torch.cat([states[rows, picks], name], dim=-1)

    return draw


def _penalty(config: ToyTraining) -> ContractionPenalty | None:
    if config.contraction.label == "diffusion" or not any(member.gamma for member in config.members):
        return None
    # The stack picks the rows itself, as many for each member.
    whole = dataclasses.replace(config.contraction, fraction=1.0)
    return ContractionPenalty(whole, config.schedule, DEPLOYED_STEPS, "ddim")


def _network(config: ToyTraining) -> MLPDenoiser:
    return MLPDenoiser(*SHAPE, STATE_WIDTH, config.width, config.depth)


def _initial(config: ToyTraining, seed: int) -> MLPDenoiser:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _network(config)


def _decay(config: ToyTraining, stack: MLPStack) -> Tensor:
    """Factor (M, P) of one step's weight decay: 1 for biases."""
    each = torch.tensor([1.0 - config.learning_rate * member.weight_decay for member in config.members])
    parts = [(each[:, None] if value.ndim > 2 else torch.ones(len(each), 1)).expand(-1, value[0].numel()) for value in stack.parameters.values()]
    return torch.cat(parts, dim=1)


def _sources_digest() -> str:
    root = Path(cdp.__file__).parent
    digest = hashlib.sha256()
    for source in (*_SOURCES, Path(__file__).relative_to(root)):
        path = root / source
        for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()
