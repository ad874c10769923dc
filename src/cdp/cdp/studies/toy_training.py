"""Training of toy denoisers, one loop for every study."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from cdp.contraction.penalties import ConditionalDenoise
from cdp.diffusion.prediction import standardised
from cdp.networks.mlp import MLPDenoiser
from cdp.studies.stack import MLPStack
from cdp.studies.toy_config import ToyTraining
from cdp.studies.toy_penalty import StackPenalty
from cdp.studies.toy_regression import regression_loss
from cdp.studies.toy_task import SHAPE, STATE_WIDTH, demonstrations
from cdp.train.objective import diffusion_loss


@dataclass(frozen=True)
class Training:
    """The averaged weights of a stack at each snapshot, ``weights[updates][name]`` (M, ...), and the trace of its penalty.

    ``gamma`` (K, M) is the weight of each penalised step and ``violation`` (K, M) the share of its samples over their limit.
    """

    weights: Mapping[int, Mapping[str, Tensor]]
    gamma: Tensor
    violation: Tensor


def train(config: ToyTraining) -> Training:
    """Train every member.

    A member depends on its own settings and on the stack that it is drawn with: members share one stream of noise.
    """
    members, size = config.members, len(config.members)
    stack = MLPStack([initial_network(config, member.seed) for member in members])
    flat, average = stack.flat, stack.flat.detach().clone()
    optimiser = torch.optim.AdamW([flat], lr=config.learning_rate, weight_decay=0.0, fused=True)
    decay = _decay(config, stack)
    draw = _batches(config)
    generator = torch.Generator().manual_seed(members[0].seed)
    loss_of = _loss(config, stack.denoise)
    penalty = StackPenalty(config) if config.penalises else None
    penalised = standardised(stack.denoise, penalty.schedule) if penalty is not None and config.standardised else stack.denoise
    weights, gammas, violations = {}, [torch.zeros(0, size)], [torch.zeros(0, size)]
    label = config.contraction.label if config.objective == "diffusion" else config.objective
    for step in tqdm(range(config.snapshots[-1]), desc=f"{size} x {label}", unit="step", dynamic_ncols=True, file=sys.stderr):
        chunk, cond = draw(generator)
        stack.refresh()
        # The members share no parameter: the gradient of the sum is each one's own.
        loss = size * loss_of(chunk.flatten(0, 1), cond.flatten(0, 1), generator)
        flat.grad = torch.autograd.grad(loss, flat, retain_graph=True)[0]
        if penalty is not None and step % config.contraction.every == 0:
            each, violation = penalty(penalised, chunk, cond, generator)
            flat.grad += penalty.gamma[:, None] * torch.autograd.grad(size * each, flat)[0]
            gammas.append(penalty.gamma[None])
            violations.append(violation[None])
            penalty.update(violation)
        with torch.no_grad():
            flat.mul_(decay)
            optimiser.step()
            average.lerp_(flat, 1.0 - min(config.ema_decay, (1.0 + step) / (10.0 + step)))
        if step + 1 in config.snapshots:
            weights[step + 1] = {name: value.clone() for name, value in stack.named(average).items()}
    return Training(weights, torch.cat(gammas), torch.cat(violations))


def toy_network(config: ToyTraining) -> MLPDenoiser:
    """The library's network of a member."""
    return MLPDenoiser(*SHAPE, STATE_WIDTH, config.width, config.depth)


def initial_network(config: ToyTraining, seed: int) -> MLPDenoiser:
    """The network that the training of ``seed`` starts from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return toy_network(config)


def _loss(config: ToyTraining, denoise: ConditionalDenoise) -> Callable[[Tensor, Tensor, torch.Generator], Tensor]:
    path = config.schedule
    predict = standardised(denoise, path) if config.standardised else denoise
    loss_of = diffusion_loss if config.objective == "diffusion" else regression_loss
    return lambda chunk, cond, generator: loss_of(predict, chunk, cond, path, "uniform", generator)


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


def _decay(config: ToyTraining, stack: MLPStack) -> Tensor:
    """Factor (M, P) of one step's weight decay: 1 for biases."""
    each = torch.tensor([1.0 - config.learning_rate * member.weight_decay for member in config.members])
    parts = [(each[:, None] if value.ndim > 2 else torch.ones(len(each), 1)).expand(-1, value[0].numel()) for value in stack.parameters.values()]
    return torch.cat(parts, dim=1)
