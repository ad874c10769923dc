"""Penalties and reports on every noise path, against Gaussian and mixture data whose denoiser is exact."""

import math

import numpy as np
import pytest
import torch

from cdp.checks.diffusion import largest_symmetric, reverse_generator, scattered_points
from cdp.contraction.config import ContractionConfig
from cdp.contraction.penalties import ContractionPenalty, bind, paper_limit
from cdp.contraction.report_errors import state_gains
from cdp.contraction.report_lipschitz import tiny_pair_ratios
from cdp.contraction.report_paths import STEP_SOLVERS, path_excess, step_factors
from cdp.contraction.report_sampler import Sampler
from cdp.diffusion.known import Gaussian, four_modes
from cdp.diffusion.path import NoisePath
from cdp.diffusion.paths import EDM, PATHS, FlowMatching, Schedule, VPLinear
from cdp.diffusion.sampler import sampler_steps
from cdp.diffusion.steps import standardised_step
from cdp.report.columns import Measuring, measure_column

EVERY_PATH = pytest.mark.parametrize("path", [*(factory() for factory in PATHS.values()), FlowMatching(t_max=0.9)], ids=[*PATHS, "flow to 0.9"])
LOG_SNR = torch.tensor([-4.0, -1.0, 0.0, 1.0, 4.0], dtype=torch.float64)
SHAPE = (2, 3)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def penalty(label, path, **settings):
    return ContractionPenalty(ContractionConfig(label=label, **settings), path, 3, "ddim")


def at(made, data, t, r=None, c=None, dtype=torch.float64, seed=0):
    """The penalty of the exact denoiser of ``data`` at states of the path."""
    t = t.to(dtype)
    x = data.path.size(t)[:, None, None] * torch.randn((len(t), *SHAPE), generator=generator(seed), dtype=dtype)
    fn = bind(lambda x, t, cond: data.denoise(x, t), t, torch.zeros(len(t), 1, dtype=dtype))
    return made.at(fn, x, t, t if r is None else r, t if c is None else c, generator(seed + 1))


def sampler_of(path, std, solver="dpmpp_2m", steps=60, dtype=torch.float64):
    data = Gaussian(std, path, 0.3)
    return Sampler(lambda x, t, cond: data.denoise(x, t), torch.zeros(2, 1, dtype=dtype), SHAPE, path, solver, steps)


def unit_gain(std, log_snr):
    """Of Gaussian data, the derivative of x0 with respect to the state at an angle ``atan(sigma / alpha)`` of the circle alpha^2 + sigma^2 = 1."""
    theta = torch.atan(torch.exp(-log_snr))
    return torch.cos(theta) * std**2 / (torch.cos(theta) ** 2 * std**2 + torch.sin(theta) ** 2)


@pytest.mark.parametrize(
    ("estimator", "dtype", "rel"), [("exact", torch.float64, 1e-9), ("hutchinson", torch.float64, 1e-6), ("hutchinson", torch.float32, 2e-3)]
)
@pytest.mark.parametrize("std", [0.1, 1.0, 3.0])
@EVERY_PATH
def test_kappa_means_the_same_on_every_path(path, std, estimator, dtype, rel):
    """At one signal-to-noise ratio one measure; a Jacobian with respect to a_t is smaller on EDM by ``1 / sqrt(1 + sigma^2)``."""
    found = at(penalty("cdp-saturating", path, estimator=estimator), Gaussian(std, path), path.time_of_log_snr(LOG_SNR), dtype=dtype)
    expected = math.prod(SHAPE) * unit_gain(std, LOG_SNR).square()
    torch.testing.assert_close(found.measure.double(), expected, rtol=rel, atol=0)
    assert float(found.loss) == pytest.approx(float((expected / (expected + 0.1)).mean()), rel=rel)


@EVERY_PATH
def test_beta_of_the_released_penalty_means_the_same_on_every_path(path):
    found = at(penalty("cdp-frobenius", path), Gaussian(0.5, path), path.time_of_log_snr(LOG_SNR))
    torch.testing.assert_close(found.measure, (unit_gain(0.5, LOG_SNR) + 0.1).square() / math.prod(SHAPE))


def disagreements(path, points=1000):
    """Share of scattered points of the mixture where the hinge without margin, and the reverse flow's own Jacobian, differ on contraction."""
    mixture = four_modes(path)
    x, t = scattered_points(mixture, points, 0)
    contracts = largest_symmetric(reverse_generator(mixture, x, t)) < 0.0
    times, states = torch.from_numpy(t), torch.from_numpy(x)[:, None]
    fn = bind(lambda x, t, cond: mixture.denoise(x, t), times, torch.zeros(points, 1))
    found = penalty("cdp-hinge", path, beta=0.0).at(fn, states, times, times, times, generator())
    return float(np.mean((found.measure < found.limit).numpy() != contracts)), float(contracts.mean())


@EVERY_PATH
def test_the_hinge_has_the_sign_of_the_true_reverse_flow(path):
    differ, share = disagreements(path)
    assert differ == 0.0
    assert 0.1 < share < 0.9, "both signs occur"


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("vp_cosine", lambda path, t: 0.0 * t + 1.0),
        ("vp_linear", lambda path, t: -path.alpha(t)),
        ("edm", lambda path, t: 1.0 / (1.0 + path.sigma(t) ** 2)),
        ("flow", lambda path, t: path.alpha(t)),
    ],
)
def test_a_wrong_limit_is_found_out(monkeypatch, kind, wrong):
    """Another path's limit, the noising direction's, that of the standardised state, and the one from alpha alone."""
    monkeypatch.setattr(PATHS[kind], "contraction_limit", wrong)
    assert disagreements(PATHS[kind]())[0] > 0.02


@EVERY_PATH
def test_the_margin_of_the_hinge_is_in_units_of_the_jacobian_that_the_flow_sees(path):
    t = path.time_of_log_snr(LOG_SNR)
    found = at(penalty("cdp-hinge", path, beta=0.3), Gaussian(0.5, path), t)
    torch.testing.assert_close(found.measure, Gaussian(0.5, path).jacobian_x0(t))
    torch.testing.assert_close(found.limit, path.contraction_limit(t) - 0.3)


@EVERY_PATH
def test_the_step_penalty_measures_the_step_between_two_noise_ratios(path):
    """A step's factor is that of the variance-preserving step at the same ratios of signal to noise."""
    circle = Schedule(t_max=0.9999)
    times = [[float(p.time_of_log_snr(value)) for value in (-2.0, 0.5)] for p in (path, circle)]
    steps = [standardised_step(sampler_steps(1, "ddim", p, start=t)[0], p) for p, (t, _) in zip((path, circle), times, strict=True)]
    assert (steps[0].r, steps[0].c) == pytest.approx((steps[1].r, steps[1].c))
    made = penalty("cdp-step", path, beta=0.5)
    t, r, c = made._times(64, generator(), torch.zeros(1, dtype=torch.float64))
    assert set(t.tolist()) == set(path.time_grid(3)[:-1].tolist())
    data = Gaussian(1.4, path)
    found = at(made, data, t, r, c)
    after = [dict(zip(path.time_grid(3)[:-1], path.time_grid(3)[1:], strict=True))[float(now)] for now in t]
    moved = torch.tensor([_ddim_factor(data, float(now), float(then)) for now, then in zip(t, after, strict=True)], dtype=torch.float64)
    torch.testing.assert_close(found.measure, moved)


def _ddim_factor(data, t, s):
    """What a DDIM step multiplies a standardised deviation by: ``alpha_s x0 + sigma_s eps`` over the sizes before and after."""
    path, gain = data.path, float(data.jacobian_x0(t))
    eps = (1.0 - path.alpha(t) * gain) / path.sigma(t)
    size = [math.hypot(path.alpha(u), path.sigma(u)) if u > 0.0 else 1.0 for u in (t, s)]
    kept = (path.alpha(s), path.sigma(s)) if s > 0.0 else (1.0, 0.0)
    return size[0] * (kept[0] * gain + kept[1] * eps) / size[1]


def test_the_papers_limit_is_that_of_f_and_g_and_needs_both():
    t = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    torch.testing.assert_close(paper_limit(VPLinear(), t), VPLinear().sigma(t))
    torch.testing.assert_close(paper_limit(EDM(), t), torch.zeros_like(t))
    torch.testing.assert_close(paper_limit(FlowMatching(t_max=0.98), t), torch.ones_like(t))
    with pytest.raises(ValueError, match="unbounded where alpha of flow is 0"):
        penalty("cdp-paper", FlowMatching())


@pytest.mark.parametrize("path", [VPLinear(), EDM(), FlowMatching(t_max=0.98)], ids=lambda path: path.kind)
def test_the_paper_penalises_the_jacobian_of_the_noise_on_every_path(path):
    t = path.time_of_log_snr(torch.tensor([-2.0, 0.0, 2.0], dtype=torch.float64))
    data = Gaussian(0.5, path)
    found = at(penalty("cdp-paper", path, beta=0.1), data, t)
    torch.testing.assert_close(found.measure, (1.0 - path.alpha(t) * data.jacobian_x0(t)) / path.sigma(t))


@pytest.mark.parametrize("bound", [0.05, 0.4, 1.0])
@EVERY_PATH
def test_penalised_times_keep_to_their_window(path, bound):
    """The window ends at a time in (0, 1] as a network is told it: the path's own, and on EDM's the angle of sigma."""
    seen = []

    def denoise(x, t, cond):
        seen.append(t)
        return 0.5 * x

    penalty("cdp-saturating", path, t_max=bound, fraction=1.0)(denoise, torch.zeros(2000, 1, 2), torch.zeros(2000, 1), generator())
    told = seen[0].atan() * 2.0 / math.pi if path.kind == "edm" else seen[0]
    end = min(bound, math.atan(path.t_max) * 2.0 / math.pi if path.kind == "edm" else path.t_max)
    assert path.t_min * 0.999 <= float(seen[0].min()) and 0.9 * end < float(told.max()) <= end * 1.00001


def test_the_window_of_a_variance_preserving_path_is_what_it_was():
    path, uniform = Schedule(), torch.rand(100, generator=generator())
    for bound in (0.083, 0.5, 1.0):
        high = min(bound, path.t_max)
        assert torch.equal(path.training_time(uniform, path.window_end(bound)), path.t_min + (high - path.t_min) * uniform)


@pytest.mark.parametrize("std", [0.3, 0.98, 1.02, 2.0])
@EVERY_PATH
def test_the_excess_along_paths_is_that_of_the_exact_denoiser(path, std):
    sampler = sampler_of(path, std)
    found = path_excess(sampler, sampler.noise(2, generator()), 7, generator(1))
    expected = [Gaussian(std, path).jacobian_x0(t) - path.contraction_limit(t) for t in found.times]
    torch.testing.assert_close(found.excess, torch.tensor(expected, dtype=torch.float64)[:, None].expand(7, 4), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("solver", STEP_SOLVERS)
@EVERY_PATH
def test_the_product_of_step_factors_is_the_whole_map_from_unit_noise(path, solver):
    """Even where the path starts at sigma = 80: the change of scale is no contraction. One factor a step, of every solver that has them."""
    sampler = sampler_of(path, 0.3, solver, 8)
    noise = sampler.noise(2, generator())
    found = step_factors(sampler, noise, generator(1))
    assert len(found.steps) == 8 and found.bounds == (solver != "dpmpp_2m")
    if found.bounds:
        with torch.no_grad():
            whole = tiny_pair_ratios(sampler.map(2), noise.flatten(0, 1), generator(2))
        torch.testing.assert_close(found.product * path.noise_scale / path.size(path.t_max), whole, rtol=1e-5, atol=0)
        assert path.noise_scale <= path.size(path.t_max) * (1.0 + 1e-9), "so that the product bounds the map"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@EVERY_PATH
def test_a_report_column_reads_the_same_on_every_path(path, dtype):
    """Gaussian data of std s: every ratio of the whole map is s, and so is the gain of noise in the first state."""
    column = measure_column(sampler_of(path, 0.4, steps=40, dtype=dtype), Measuring(seeds=4))
    lipschitz = column["lipschitz"]
    for ratios in (lipschitz["tiny"], lipschitz["independent"], lipschitz["sigma_max"]):
        assert ratios["median"] == pytest.approx(0.4, rel=0.03)
    assert column["solver_error"]["errors"]["dpmpp_2m"]["50"]["rms"] < 0.01
    assert column["violation"]["steps"]["factors"][0]["r"] > 0.5
    gains = state_gains(sampler_of(path, 0.4, steps=40), sampler_of(path, 0.4).noise(2, generator()), generator(1))
    assert float(gains[0].median()) == pytest.approx(0.4, rel=0.03)


def test_a_path_names_its_grid():
    grids = {kind: factory().grid for kind, factory in PATHS.items()}
    assert grids == {"vp_cosine": "uniform", "vp_linear": "uniform", "edm": "sigma^(1/7)", "flow": "uniform"}
    assert all(isinstance(factory(), NoisePath) for factory in PATHS.values())
