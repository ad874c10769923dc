"""The toy's closed forms, its measures on maps that are known, and the training that studies share."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.config import ConfigError
from cdp.contraction.config import ContractionConfig
from cdp.contraction.estimators import exact_jacobian
from cdp.diffusion.sampler import sample
from cdp.diffusion.schedule import Schedule
from cdp.networks.mlp import MLPDenoiser
from cdp.studies import toy_cache
from cdp.studies.measures import at_hit_rate, coverage, hit_rate, lipschitz, sampler_lipschitz, sampler_of, seed_std, within_std
from cdp.studies.stack import MLPStack
from cdp.studies.toy import compare
from cdp.studies.toy_cache import trained
from cdp.studies.toy_config import Member, ToyTraining
from cdp.studies.toy_figures import excess, sampling_velocity
from cdp.studies.toy_regression import regression_action
from cdp.studies.toy_task import HIT_RADIUS, SHAPE, ToyTask, demonstrations, exact_denoiser, mode_of, states_on_circle
from cdp.studies.toy_training import train

SCHEDULE = Schedule()
TINY = ToyTraining(
    (Member(seed=1), Member(seed=2)), contraction=ContractionConfig(label="diffusion"), snapshots=(2, 4), width=8, depth=1, batch_size=8
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def expert(task, states, noises, seed=0):
    """Actions (S, Z, 2) that the expert itself takes."""
    sign = torch.where(torch.rand(len(states), noises, 1, generator=generator(seed)) < 0.5, -1.0, 1.0)
    return sign * mode_of(task, states)[:, None] + task.std * torch.randn(len(states), noises, 2, generator=generator(seed + 1))


def test_the_modes_themselves_hit_and_their_middle_does_not():
    task, states = ToyTask(), states_on_circle(16)
    mode = mode_of(task, states)
    both = torch.stack([mode, -mode], dim=1)
    assert hit_rate(both, mode) == 1.0
    assert coverage(both, mode) == 1.0
    assert hit_rate(torch.zeros_like(both), mode) == 0.0
    assert hit_rate(both + torch.tensor([HIT_RADIUS + 1e-3, 0.0]), mode) == 0.0
    assert coverage(mode[:, None], mode) == 0.0


def test_the_expert_has_its_closed_form_figures():
    task, states = ToyTask(), states_on_circle(32)
    actions = expert(task, states, 4000)
    mode = mode_of(task, states)
    assert task.hit_rate == pytest.approx(1.0 - math.exp(-4.5))
    assert hit_rate(actions, mode) == pytest.approx(task.hit_rate, abs=2e-3)
    assert within_std(actions, mode) == pytest.approx(task.std, rel=0.01)
    assert seed_std(actions) == pytest.approx(task.action_std, rel=0.01)
    assert coverage(actions, mode) == 1.0


@given(st.integers(1, 6), st.integers(1, 9), st.sampled_from((0.1, 0.25, 0.5, 1.0)), st.integers(0, 50))
@settings(max_examples=25, deadline=None)
def test_parts_of_the_data_are_whole_demonstrations_and_nested(turns, rows, fraction, seed):
    task = ToyTask(turns=turns, rows=rows, demonstrations=20)
    states, actions = demonstrations(task, seed)
    some, some_actions = demonstrations(task, seed, fraction)
    assert len(states) == 20 * rows
    assert len(some) == round(20 * fraction) * rows
    assert torch.equal(states[: len(some)], some)
    assert torch.equal(actions[: len(some)], some_actions)
    assert torch.allclose(states.norm(dim=1), torch.ones(len(states)))
    # One mode through the whole demonstration, and the actions are about it (8 standard deviations).
    along = (actions[:, 0] * mode_of(task, states)).sum(dim=1).reshape(20, rows)
    assert ((along > 0).all(dim=1) | (along < 0).all(dim=1)).all()
    off = torch.minimum((actions[:, 0] - mode_of(task, states)).norm(dim=1), (actions[:, 0] + mode_of(task, states)).norm(dim=1))
    assert (off < 8 * task.std).all()


def test_exact_denoiser_is_the_posterior_mean_by_quadrature():
    task = ToyTask(std=0.2)
    states = states_on_circle(5)
    x = torch.randn((5, *SHAPE), generator=generator(), dtype=torch.float64)
    t = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9], dtype=torch.float64)
    line = torch.linspace(-2.5, 2.5, 1001, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1).reshape(-1, 2)
    alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
    wanted = []
    for i in range(5):
        mode = mode_of(task, states[i : i + 1].double())
        prior = sum(torch.exp(-(grid - sign * mode).square().sum(dim=1) / (2 * task.std**2)) for sign in (1, -1))
        weight = prior * torch.exp(-(x[i] - alpha[i] * grid).square().sum(dim=1) / (2 * sigma[i] ** 2))
        wanted.append((weight[:, None] * grid).sum(dim=0) / weight.sum())
    found = exact_denoiser(task, SCHEDULE)(x, t, states.double())
    assert torch.allclose(found[:, 0], torch.stack(wanted), atol=1e-6)


def test_exact_denoiser_brings_samples_to_the_expert():
    task, states = ToyTask(), states_on_circle(8).double()
    noise = torch.randn((8 * 200, *SHAPE), generator=generator(3), dtype=torch.float64)
    denoise, cond = exact_denoiser(task, SCHEDULE), states.repeat_interleave(200, 0)
    actions = sample(lambda a, t: denoise(a, t, cond), noise, 200).reshape(8, 200, 2)
    mode = mode_of(task, states)
    assert hit_rate(actions, mode) >= task.hit_rate - 0.01
    assert coverage(actions, mode) == 1.0
    # DDIM in finitely many steps shrinks a mode a little.
    assert within_std(actions, mode) == pytest.approx(task.std, rel=0.15)


@given(st.lists(st.floats(-2.0, 2.0), min_size=4, max_size=4))
@settings(max_examples=25, deadline=None)
def test_lipschitz_of_a_linear_map_is_its_largest_singular_value(entries):
    matrix = torch.tensor(entries, dtype=torch.float64).reshape(2, 2)
    x = torch.randn((3, *SHAPE), generator=generator(), dtype=torch.float64)
    assert torch.allclose(lipschitz(lambda a: a @ matrix.T, x), torch.linalg.svdvals(matrix)[0].expand(3), atol=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_lipschitz_of_a_gaussian_sampler_is_its_std(temperature):
    std = 0.3

    def denoise(x, t, cond):
        alpha, sigma = SCHEDULE.alpha(t).reshape(-1, 1, 1), SCHEDULE.sigma(t).reshape(-1, 1, 1)
        return alpha * std**2 / (alpha**2 * std**2 + sigma**2) * x

    # More points than one batch of Jacobians: none may be lost.
    noise = torch.randn((600, *SHAPE), generator=generator(), dtype=torch.float64)
    found = sampler_lipschitz(denoise, torch.zeros(600, 1), noise, 300, "ddim", SCHEDULE, temperature)
    assert found.shape == (600,)
    assert torch.allclose(found, torch.full_like(found, temperature * std), rtol=0.02)


def test_zero_temperature_gives_one_action():
    task = ToyTask()
    cond = states_on_circle(4).repeat_interleave(3, 0)
    noise = torch.randn((12, *SHAPE), generator=generator())
    actions = sampler_of(exact_denoiser(task, SCHEDULE), cond, 5, "ddim", SCHEDULE, 0.0)(noise).reshape(4, 3, 2)
    assert seed_std(actions) == 0.0


def test_sampling_velocity_is_the_limit_of_a_ddim_step():
    task, t, h = ToyTask(), 0.4, 1e-5
    state = states_on_circle(3)[1].double()
    x = torch.randn((6, *SHAPE), generator=generator(), dtype=torch.float64)
    cond = state.expand(6, 2)
    denoise = exact_denoiser(task, SCHEDULE)
    r = SCHEDULE.sigma(t - h) / SCHEDULE.sigma(t)
    x0 = denoise(x, torch.full((6,), t, dtype=torch.float64), cond)
    step = r * x + (SCHEDULE.alpha(t - h) - SCHEDULE.alpha(t) * r) * x0
    assert torch.allclose(sampling_velocity(denoise, x, t, cond, SCHEDULE), (step - x) / h, rtol=1e-3, atol=1e-4)


def test_excess_has_the_sign_of_the_velocity_jacobian():
    task, t = ToyTask(), 0.3
    cond = states_on_circle(3)[1].double().expand(200, 2)
    x = torch.randn((200, *SHAPE), generator=generator(), dtype=torch.float64)
    denoise = exact_denoiser(task, SCHEDULE)
    jacobian = exact_jacobian(lambda a: sampling_velocity(denoise, a, t, cond, SCHEDULE), x).detach()
    largest = torch.linalg.eigvalsh(0.5 * (jacobian + jacobian.mT))[:, -1]
    found = excess(denoise, x, t, cond, SCHEDULE)
    assert ((largest < 0) == (found < 0)).all()
    assert 0 < (found < 0).sum() < 200


def test_stack_computes_what_its_members_would():
    members = [MLPDenoiser(1, 2, 2, 8, 2) for _ in range(3)]
    with torch.no_grad():
        for i, member in enumerate(members):
            for parameter in member.parameters():
                parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator(100 * i + parameter.numel())))
    stack = MLPStack(members)
    x, t, cond = torch.randn((12, *SHAPE), generator=generator()), torch.rand(12, generator=generator()), torch.randn(12, 2, generator=generator(1))
    # In any order, as a penalty that permutes its batch hands them over.
    which = torch.randperm(12, generator=generator(2)) % 3
    found = stack.denoise(x, t, torch.cat([cond, which[:, None].float()], dim=1))
    wanted = torch.stack([members[int(m)](x[i : i + 1], t[i : i + 1], cond[i : i + 1])[0] for i, m in enumerate(which)])
    assert torch.allclose(found, wanted, atol=1e-5)


def test_members_do_not_share_gradients():
    stack = MLPStack([MLPDenoiser(1, 2, 2, 8, 1) for _ in range(2)])
    cond = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    out = stack.denoise(torch.ones(2, *SHAPE), torch.full((2,), 0.5), cond)
    gradient = torch.autograd.grad(out[0].sum(), stack.flat)[0]
    assert gradient[0].abs().max() > 0.0
    assert gradient[1].abs().max() == 0.0


def test_training_is_deterministic_and_settings_tell_members_apart():
    config = dataclasses.replace(TINY, members=(Member(seed=1), Member(seed=1, gamma=5.0), Member(seed=1, weight_decay=10.0)))
    config = dataclasses.replace(config, contraction=ContractionConfig(label="cdp-saturating", every=1))
    first, second = train(config).weights, train(config).weights
    for updates in config.snapshots:
        assert all(torch.equal(value, second[updates][name]) for name, value in first[updates].items())
    weight = first[4]["blocks.0.layers.0.weight"]
    assert not torch.equal(weight[0], weight[1])
    assert weight[2].norm() < weight[0].norm()


def test_cache_is_read_and_keyed_by_the_settings(tmp_path, monkeypatch):
    first = trained(TINY, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(toy_cache, "train", lambda config: pytest.fail("trained again"))
    again = trained(TINY, tmp_path)
    x, t, cond = torch.ones(1, *SHAPE), torch.full((1,), 0.5), torch.ones(1, 2)
    assert torch.equal(first.denoiser(1, 4)(x, t, cond), again.denoiser(1, 4)(x, t, cond))
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        trained(dataclasses.replace(TINY, learning_rate=2e-3), tmp_path)


def test_snapshots_out_of_order_are_refused():
    with pytest.raises(ConfigError, match="ascending"):
        dataclasses.replace(TINY, snapshots=(4, 2))


def test_two_step_regression_of_a_perfect_network_gives_its_action():
    action = torch.tensor([[[0.3, -0.2]]])
    found = regression_action(lambda x, t, cond: action.expand(len(x), *SHAPE) + 0.0 * x, (4, *SHAPE), torch.zeros(4, 2), SCHEDULE)
    assert torch.equal(found, action.expand(4, *SHAPE))


def test_values_at_equal_hits_are_interpolated_in_the_logarithm():
    assert at_hit_rate(0.5, [0.25, 0.75], [1.0, 0.01]) == pytest.approx(0.1)
    assert at_hit_rate(0.2, [0.25, 0.75], [1.0, 0.01]) == 1.0
    assert at_hit_rate(0.8, [0.25, 0.75], [1.0, 0.01]) is None


def test_comparison_is_at_the_level_that_both_reach():
    def side(rates, values):
        return {
            u: {key: {"seeds": [value]} for key in ("lipschitz_median", "lipschitz_p999", "std", "within_std")} | {"hits_50": {"seeds": [rate]}}
            for u, (rate, value) in enumerate(zip(rates, values, strict=True))
        }

    found = compare(side([0.0, 0.5], [4.0, 1.0]), side([0.5, 1.0], [2.0, 1.0]), 1)
    assert found["hits_50"]["mean"] == 0.5
    assert found["std"]["ratio"] == pytest.approx(0.5)
    assert found["std"]["smaller"] == 1
