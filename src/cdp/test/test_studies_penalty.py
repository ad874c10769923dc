"""The penalty of a stack: each member's weight and violation rate are its own, and a stack of one is the library's training."""

import torch

from cdp.contraction.config import ContractionConfig
from cdp.contraction.dual import PenaltyWeight
from cdp.contraction.estimators import exact_jacobian
from cdp.contraction.penalties import ContractionPenalty
from cdp.diffusion.schedule import Schedule
from cdp.studies.sweep import SWEEP, members_of, sweep_members
from cdp.studies.toy_config import Member, ToyTraining
from cdp.studies.toy_penalty import DEPLOYED_STEPS, StackPenalty
from cdp.studies.toy_task import SHAPE, demonstrations
from cdp.studies.toy_training import initial_network, train
from cdp.train.objective import diffusion_loss


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def tiny(members, **settings):
    contraction = ContractionConfig(every=1, fraction=0.5, gamma_rate=0.5, **settings)
    return ToyTraining(members, contraction=contraction, snapshots=(12,), width=8, depth=1, batch_size=8)


def test_each_member_has_its_own_violations():
    # J of member i is i I: squared norms 0, 2 and 8 against a limit of 3. Violations in the shuffled order, or pooled, are not 0, 0, 1.
    config = tiny((Member(gamma=1.0), Member(gamma=1.0), Member(gamma=1.0)), kappa=3.0)
    names = torch.arange(3.0)[:, None, None].expand(-1, 8, 1)
    cond = torch.cat([torch.zeros(3, 8, 2), names], dim=-1)
    penalty = StackPenalty(config)
    loss, violation = penalty(lambda x, t, c: c[:, -1, None, None] * x, torch.zeros(3, 8, *SHAPE), cond, generator())
    assert violation.tolist() == [0.0, 0.0, 1.0]
    # The mean of e / (e + 3).
    assert abs(float(loss) - (0.0 + 2.0 / 5.0 + 8.0 / 11.0) / 3) < 1e-6


def test_weights_follow_the_rule_from_their_own_violations():
    config = tiny((Member(seed=1, gamma=0.1, target_violation=0.0), Member(seed=1, gamma=0.1, target_violation=0.9), Member(seed=1, gamma=0.3)))
    training = train(config)
    assert training.gamma.shape == training.violation.shape == (12, 3)
    contraction = config.contraction
    for member, target in enumerate((0.0, 0.9)):
        weight = 0.1
        for gamma, violation in zip(training.gamma[:, member].tolist(), training.violation[:, member].tolist(), strict=True):
            assert abs(gamma - weight) < 1e-6
            weight = min(max(weight + contraction.gamma_rate * (violation - target), contraction.gamma_min), contraction.gamma_max)
    assert torch.all(training.gamma[:, 2] == 0.3)
    # Something moved, and not in step.
    assert training.gamma[-1, 0] > training.gamma[-1, 1]


def test_a_stack_of_one_is_the_librarys_penalty_weight_and_network():
    config = tiny((Member(seed=3, gamma=0.2, target_violation=0.2),))
    found = train(config)

    network, settings = initial_network(config, 3), config.members[0].contraction(config.contraction)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=0.0)
    weight = PenaltyWeight(settings)
    states, actions = demonstrations(config.task, 3)
    draws, gammas = generator(3), []
    whole = ContractionPenalty(ContractionConfig(**{**vars(settings), "fraction": 1.0}), Schedule(), DEPLOYED_STEPS, "ddim")
    for _ in range(12):
        picks = (torch.rand(1, 8, generator=draws) * len(states)).long()[0]
        optimiser.zero_grad()
        diffusion_loss(network, actions[picks], states[picks], Schedule(), "uniform", draws).backward()
        penalised = whole(network, actions[picks][:4], states[picks][:4], draws)
        gammas.append(weight.value)
        (weight.value * penalised.loss).backward()
        weight.update(penalised.violation)
        optimiser.step()
    assert torch.allclose(found.gamma[:, 0], torch.tensor(gammas), atol=1e-5)
    assert len(set(gammas)) > 2


def test_the_state_penalty_is_of_the_jacobian_to_the_state():
    matrix = torch.tensor([[1.0, 2.0], [0.0, -1.0]])
    config = tiny((Member(gamma=1.0),), kappa=1.0)
    config = ToyTraining(**{**vars(config), "penalised": "state"})
    cond = torch.cat([torch.randn(1, 8, 2, generator=generator()), torch.zeros(1, 8, 1)], dim=-1)

    def denoise(x, t, c):
        return 5.0 * x + (c[:, :2] @ matrix.T)[:, None]

    jacobian = exact_jacobian(lambda c: denoise(torch.zeros(8, *SHAPE), None, torch.cat([c, torch.zeros(8, 1)], dim=1)), cond[0, :, :2])
    e = float(jacobian[0].square().sum())
    loss, violation = StackPenalty(config)(denoise, torch.zeros(1, 8, *SHAPE), cond, generator())
    assert abs(e - 6.0) < 1e-5
    assert abs(float(loss) - e / (e + 1.0)) < 1e-5
    assert violation.tolist() == [1.0]


def test_a_weight_of_the_sweep_finds_its_own_members():
    members = sweep_members((5, 7))
    for weight in SWEEP:
        found = [members[i] for i in members_of(weight, 2)]
        assert [(m.seed, m.gamma, m.target_violation) for m in found] == [(seed, weight.gamma, weight.target) for seed in (5, 7)]
