"""Noise paths on the toy: a denoiser carried from one to another, and a training on each."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.config import ConfigError
from cdp.contraction.config import ContractionConfig
from cdp.diffusion.paths import EDM, FlowMatching, VPLinear
from cdp.diffusion.prediction import standardised
from cdp.diffusion.sampler import integrate
from cdp.diffusion.schedule import Schedule
from cdp.networks.mlp import MLPDenoiser
from cdp.studies.carry import carried
from cdp.studies.toy_config import Member, ToyTraining
from cdp.studies.toy_task import SHAPE, ToyTask, exact_denoiser, mode_of, states_on_circle
from cdp.studies.toy_training import train
from cdp.train.objective import diffusion_loss

PATHS = (Schedule(), VPLinear(), EDM(), FlowMatching())
PAIRS = list(itertools.permutations(PATHS, 2))
NAMES = [f"{p.kind}-{q.kind}" for p, q in PAIRS]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=NAMES)
@given(st.floats(-4.0, 5.0), st.integers(0, 100))
@settings(max_examples=15, deadline=None)
def test_exact_denoiser_carried_is_the_exact_denoiser_there(source, target, log_snr, seed):
    # A scale left out, or a time taken for the other path's, is off by a factor of up to 80 here.
    task, cond = ToyTask(), states_on_circle(6).double()
    t = target.time_of_log_snr(torch.full((6,), log_snr, dtype=torch.float64))
    alpha, sigma = target.alpha(t)[:, None, None], target.sigma(t)[:, None, None]
    x = alpha * 0.8 + sigma * torch.randn((6, *SHAPE), generator=generator(seed), dtype=torch.float64)
    found = carried(exact_denoiser(task, source), source, target)(x, t, cond)
    assert torch.allclose(found, exact_denoiser(task, target)(x, t, cond), atol=1e-6)


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=NAMES)
def test_noisier_than_the_source_is_its_last_time(source, target):
    cond = states_on_circle(3).double()
    t = torch.full((3,), target.t_max, dtype=torch.float64)
    x = target.noise_scale * torch.randn((3, *SHAPE), generator=generator(), dtype=torch.float64)
    found = carried(exact_denoiser(ToyTask(), source), source, target)(x, t, cond)
    assert torch.isfinite(found).all()
    # At those noise levels hardly anything but the mean of the modes, 0, is left: |E[a_0 | a_t]| <= 0.8 tanh(0.8 * 4 e^-4.3) for |z| < 4.
    assert found.abs().max() < 0.05


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=NAMES)
def test_a_standardised_network_carried_is_itself_on_the_other_path(source, target):
    network = MLPDenoiser(*SHAPE, 2, 8, 1).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator(parameter.numel()), dtype=torch.float64))
    t = target.time_of_log_snr(torch.linspace(-4.0, 4.0, 5, dtype=torch.float64))
    x, cond = torch.randn((5, *SHAPE), generator=generator(1), dtype=torch.float64), states_on_circle(5).double()
    found = carried(standardised(network, source), source, target)(x, t, cond)
    assert torch.allclose(found, standardised(network, target)(x, t, cond), atol=1e-5)


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=NAMES)
def test_ddim_at_the_same_noise_levels_gives_the_same_actions_on_every_path(source, target):
    levels = np.linspace(-4.0, 4.0, 9)
    denoise, cond = exact_denoiser(ToyTask(), source), states_on_circle(6).double()
    unit = torch.randn((6, *SHAPE), generator=generator(), dtype=torch.float64)
    actions = []
    for path, fn in ((source, denoise), (target, carried(denoise, source, target))):
        times = [float(path.time_of_log_snr(level)) for level in levels]
        first = math.hypot(path.alpha(times[0]), path.sigma(times[0])) * unit
        actions.append(integrate(lambda a, t, fn=fn: fn(a, t, cond), first, [*times, 0.0], "ddim", path)[-1])
    assert torch.allclose(*actions, atol=1e-8)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.kind)
def test_the_loss_of_the_exact_denoiser_is_below_that_of_nothing_known(path):
    task = ToyTask(std=0.05)
    cond = states_on_circle(16).repeat(64, 1)
    sign = torch.where(torch.rand(len(cond), 1, generator=generator()) < 0.5, -1.0, 1.0)

    chunk = (sign * mode_of(task, cond)).reshape(-1, *SHAPE)
    exact = diffusion_loss(exact_denoiser(task, path), chunk, cond, path, "uniform", generator(1))
    nothing = diffusion_loss(lambda x, t, c: 0.0 * x, chunk, cond, path, "uniform", generator(1))
    assert float(nothing) == pytest.approx(0.5 * task.radius**2, rel=1e-5)
    # Some of each path's draws are so noisy that the mode is not to be told, and some so clean that it is.
    assert 0.02 * nothing < exact < 0.9 * nothing


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.kind)
def test_every_path_trains_with_the_penalty(path):
    config = ToyTraining(
        (Member(seed=1), Member(seed=1, gamma=1.0)),
        contraction=ContractionConfig(every=1),
        schedule=path,
        standardised=True,
        snapshots=(6,),
        width=8,
        depth=1,
        batch_size=8,
    )
    weight = train(config).weights[6]["rows_out.weight"]
    assert torch.isfinite(weight).all()
    assert not torch.equal(weight[0], weight[1])


def test_another_path_wants_the_standardised_state():
    with pytest.raises(ConfigError, match="edm"):
        ToyTraining((Member(),), schedule=EDM())
