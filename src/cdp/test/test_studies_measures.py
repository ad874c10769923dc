"""Measures of the studies on maps whose figures are known: sensitivity to the state, stochastic samplers, distances of distributions."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.diffusion.schedule import Schedule
from cdp.studies.distances import energy_distance, expert_actions
from cdp.studies.frame import spread
from cdp.studies.measures import sampler_of
from cdp.studies.noise_paths import noise_gains, noise_path_sampler
from cdp.studies.pairs import difference_cell, ratio
from cdp.studies.state_measures import StateBench, expert_gain
from cdp.studies.toy_policies import Bench, Policy, Scale
from cdp.studies.toy_task import SHAPE, ToyTask, mode_of, states_on_circle

SCHEDULE = Schedule()
STOCHASTIC = ["ancestral", "euler_maruyama"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def state_bench(task):
    bench = Bench.of(task, Scale((10,), 16, 8, 16, lipschitz_steps=4))
    return StateBench(dataclasses.replace(bench, noise=bench.noise.double(), states=bench.states.double()), 16, 360)


@pytest.mark.parametrize("turns", [1, 3])
def test_a_policy_that_keeps_the_experts_mode_has_the_experts_sensitivity(turns):
    task = ToyTask(turns=turns)
    figures = state_bench(task).measure(Policy(lambda x, t, cond: mode_of(task, cond).reshape(x.shape) + 0.0 * x))
    gain = task.radius * turns
    assert gain == expert_gain(task)
    assert figures["hits_50"] == 1.0
    assert figures["along_median"] == pytest.approx(gain, rel=1e-6)
    assert figures["along_p999"] == pytest.approx(gain, rel=1e-6)
    assert figures["across_median"] == pytest.approx(0.0, abs=1e-9)
    assert figures["error"] == pytest.approx(0.0, abs=1e-9)
    assert figures["switches"] == figures["flips_0.01"] == 0.0
    # A chord of one of 360 steps is shorter than its arc, for three turns by 1e-4.
    assert figures["smooth_length"] == figures["length"] == pytest.approx(1.0, abs=2e-4)
    # To first order the state's angle moves by the noise's part along the circle.
    assert figures["change_0.01"] == pytest.approx(0.01 * gain, rel=0.2)


def test_switches_are_counted_and_kept_out_of_the_smooth_path():
    task = ToyTask(turns=1)

    def denoise(x, t, cond):
        side = torch.sign(torch.cos(3.0 * torch.atan2(cond[:, 1], cond[:, 0]) + 0.1))
        return (side[:, None] * mode_of(task, cond)).reshape(x.shape) + 0.0 * x

    bench = state_bench(task)
    figures = bench.walked(bench.walk(Policy(denoise)))
    assert figures["switches"] == 6.0
    assert figures["smooth_length"] == pytest.approx(354 / 360, abs=1e-3)
    # Each of six switches goes from one mode to the other, 2 radius away.
    assert figures["length"] == pytest.approx(354 / 360 + 6 * 2 * task.radius / (2 * math.pi * task.radius), abs=1e-2)


def test_half_the_slope_is_an_error_of_a_half():
    task = ToyTask(turns=1)

    def denoise(x, t, cond):
        mode = mode_of(task, cond)
        return (mode.detach() + 0.5 * (mode - mode.detach())).reshape(x.shape) + 0.0 * x

    figures = state_bench(task).gains(Policy(denoise))
    assert figures["error"] == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("solver", STOCHASTIC)
def test_a_stochastic_sampler_is_the_same_map_at_each_call(solver):
    cond, noise = torch.zeros(5, 2), torch.randn((5, *SHAPE), generator=generator())
    fn = sampler_of(lambda x, t, c: 0.5 * x, cond, 5, solver, SCHEDULE)
    assert torch.equal(fn(noise), fn(noise))
    quiet = sampler_of(lambda x, t, c: 0.5 * x, cond, 5, solver, SCHEDULE, eta=0.0)
    assert not torch.allclose(fn(noise), quiet(noise))


@pytest.mark.parametrize("solver", STOCHASTIC)
@given(st.floats(0.2, 1.0))
@settings(max_examples=5, deadline=None)
def test_all_noise_of_a_gaussian_sampler_has_the_gain_of_its_std(solver, std):
    # The action is a sum of independent normal draws: the squares of their weights, the squared gain, add up to its variance.
    def denoise(x, t, cond):
        alpha, sigma = SCHEDULE.alpha(t).reshape(-1, 1, 1), SCHEDULE.sigma(t).reshape(-1, 1, 1)
        return alpha * std**2 / (alpha**2 * std**2 + sigma**2) * x

    noise = torch.randn((3, 401, 2), generator=generator(), dtype=torch.float64)
    start, total = noise_gains(noise_path_sampler(denoise, torch.zeros(3, 2), 400, solver, SCHEDULE, 1.0), noise)
    assert torch.allclose(total, torch.full_like(total, std), rtol=0.06)
    # It forgets where it started; the ODE remembers.
    assert (start < 0.1 * std).all()
    start, total = noise_gains(noise_path_sampler(denoise, torch.zeros(3, 2), 400, solver, SCHEDULE, 0.0), noise)
    assert torch.allclose(start, torch.full_like(start, std), rtol=0.06)
    assert torch.equal(start, total)


def test_noise_path_sampler_without_noise_is_ddim():
    noise = torch.randn((4, 7, 2), generator=generator(), dtype=torch.float64)
    cond = states_on_circle(4).double()

    def denoise(x, t, c):
        return torch.tanh(x) + 0.1 * c[:, None]

    found = noise_path_sampler(denoise, cond, 6, "ancestral", SCHEDULE, 0.0)(noise)
    assert torch.allclose(found, sampler_of(denoise, cond, 6, "ddim", SCHEDULE)(noise[:, :1]))


def test_energy_distance_of_points_and_of_equal_distributions():
    here, there = torch.zeros(2, 5, 2), torch.tensor([3.0, 4.0]).expand(2, 9, 2)
    assert torch.allclose(energy_distance(here, there), torch.full((2,), 10.0))
    task, states = ToyTask(), states_on_circle(64)
    draws = [expert_actions(task, states, count, generator(count)) for count in (32, 256)]
    same = energy_distance(*draws)
    # Unbiased: with the distances of a sample to itself it would be mean distance / 32 = 0.025 or more.
    assert abs(float(same.mean())) < 4.0 * float(same.std()) / 8.0
    assert abs(float(same.mean())) < 0.02
    one_mode = draws[0] * torch.sign((draws[0] * mode_of(task, states)[:, None]).sum(dim=-1, keepdim=True))
    # Half of the expert's draws are 2 radius away: 2 (radius) - 0 - radius, but for the noise.
    assert float(energy_distance(one_mode, draws[1]).mean()) == pytest.approx(task.radius, rel=0.15)


def test_pairs_are_by_seed():
    ours, other = spread([1.0, 4.0]), spread([2.0, 2.0])
    assert ratio(ours, other) == pytest.approx(1.0)
    assert difference_cell(ours, other, 1) == "0.5 ± 2.1 (more in 1 of 2)"
