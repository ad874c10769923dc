"""The diffusion core against closed forms: paths, conversions, contraction, solvers, in double precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cdp.checks import orders
from cdp.checks.figure import Figure, Suite
from cdp.diffusion import conversions
from cdp.diffusion.known import Gaussian, GaussianMixture, four_modes
from cdp.diffusion.path import NoisePath
from cdp.diffusion.paths import PATHS
from cdp.diffusion.reference import solve_reference
from cdp.diffusion.sampler import ALL_SOLVERS, DETERMINISTIC, STOCHASTIC, sample

STDS = (0.1, 0.5, 1.5)
MEAN = 0.3
LIPSCHITZ_STEPS = 2000
LIPSCHITZ_TOLERANCE = 0.01
SIGN_POINTS = 3000
STOCHASTIC_STEPS = 1000
STOCHASTIC_SAMPLES = 20_000
MOMENT_TOLERANCE = 0.03


def round_trips(seed: int) -> list[Figure]:
    """Worst error of x0 -> prediction -> x0 and -> eps over times, for each path and prediction."""
    rng = np.random.default_rng(seed)
    x0, eps = rng.standard_normal((2, 500, 4))
    made = []
    for kind, factory in PATHS.items():
        path = factory()
        # Towards the ends one of the two is all of the noisy action, and the other is divided out of rounding errors.
        t = path.time_of_log_snr(rng.uniform(-4.0, 4.0, len(x0)))
        alpha, sigma = conversions.coefficients(path, t, x0)
        rates = conversions.rates(path, t, x0)
        noisy = alpha * x0 + sigma * eps
        v = conversions.x0_to_v(noisy, x0, alpha, sigma)
        u = conversions.x0_to_flow(noisy, x0, alpha, sigma, *rates)
        back = {
            "eps": (conversions.eps_to_x0(noisy, eps, alpha, sigma), conversions.x0_to_eps(noisy, x0, alpha, sigma)),
            "v": (conversions.v_to_x0(noisy, v, alpha, sigma), conversions.v_to_eps(noisy, v, alpha, sigma)),
            "flow": (conversions.flow_to_x0(noisy, u, alpha, sigma, *rates), conversions.flow_to_eps(noisy, u, alpha, sigma, *rates)),
        }
        for name, (to_x0, to_eps) in back.items():
            worst = max(float(np.abs(to_x0 - x0).max()), float(np.abs(to_eps - eps).max()))
            made.append(Figure("conversions there and back, worst error", f"{kind} {name}", worst, high=1e-11))
    return made


def lipschitz_ratio(path: NoisePath, std: float, solver: str, steps: int, seed: int) -> float:
    """``|Phi(x) - Phi(y)| / |x - y|`` of the sampler of normal data, for one pair of noises; ``solver`` may be ``rk45``."""
    data = Gaussian(std, path, MEAN)
    noise = np.random.default_rng(seed).standard_normal((2, 6))
    if solver == "rk45":
        ends = solve_reference(data.denoise, path.noise_scale * noise, path, path.t_max)
    else:
        ends = sample(data.denoise, noise, steps, solver, path)
    return float(np.linalg.norm(ends[0] - ends[1]) / np.linalg.norm(noise[0] - noise[1]))


def gaussian_lipschitz(seed: int) -> list[Figure]:
    """The sampled map of normal data is ``a_0 = mean + s z``."""
    title = f"Lipschitz constant over s for normal data, {LIPSCHITZ_STEPS} steps, worst of s in {STDS}"
    made = []
    for kind, factory in PATHS.items():
        for solver in (*DETERMINISTIC, "rk45"):
            ratios = [lipschitz_ratio(factory(), std, solver, LIPSCHITZ_STEPS, seed) / std for std in STDS]
            worst = max(ratios, key=lambda ratio: abs(ratio - 1.0))
            made.append(Figure(title, f"{kind} {solver}", worst, 1.0 - LIPSCHITZ_TOLERANCE, 1.0 + LIPSCHITZ_TOLERANCE))
    return made


def largest_symmetric(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest eigenvalue (N,) of the symmetric part of matrices (N, d, d)."""
    return np.asarray(np.linalg.eigvalsh(0.5 * (matrix + matrix.transpose(0, 2, 1)))[:, -1])


def scattered_points(mixture: GaussianMixture, count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Noisy points (count, d) and their times (count,), in the modes and between them, at noise levels where contraction changes its sign."""
    rng = np.random.default_rng(seed)
    t = mixture.path.time_of_log_snr(rng.uniform(-2.0, 3.0, count))
    clean = rng.uniform(-1.3, 1.3, (count, mixture.means.shape[1]))
    alpha, sigma = conversions.coefficients(mixture.path, t, clean)
    return alpha * clean + sigma * rng.standard_normal(clean.shape), t


def reverse_generator(mixture: GaussianMixture, x: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.float64]:
    """``-J_F`` (N, d, d) of the flow at points (N, d), by central differences of its velocity alone."""
    path = mixture.path

    def velocity(at: NDArray[np.float64]) -> NDArray[np.float64]:
        coefficients = (*conversions.coefficients(path, t, at), *conversions.rates(path, t, at))
        return np.asarray(conversions.x0_to_flow(at, mixture.denoise(at, t), *coefficients))

    h = 1e-5
    return -np.stack([(velocity(x + h * e) - velocity(x - h * e)) / (2.0 * h) for e in np.eye(x.shape[1])], axis=-1)


def contraction_sign(seed: int) -> list[Figure]:
    """``lambda_max(sym J_x0) < contraction_limit(t)`` exactly where the reverse generator contracts in every direction."""
    title = f"sign of contraction, {SIGN_POINTS} points of a mixture of four modes"
    made = []
    for kind, factory in PATHS.items():
        path = factory()
        mixture = four_modes(path)
        x, t = scattered_points(mixture, SIGN_POINTS, seed)
        contracts = largest_symmetric(reverse_generator(mixture, x, t)) < 0.0
        predicted = largest_symmetric(mixture.jacobian_x0(x, t)) < path.contraction_limit(t)
        made.append(Figure(title, f"{kind} points that disagree", float(np.sum(predicted != contracts)), 0.0, 0.0))
        made.append(Figure(title, f"{kind} share that contracts", float(contracts.mean()), 0.1, 0.9))
    return made


def stochastic_moments(seed: int) -> list[Figure]:
    """The stochastic samplers reproduce mean and standard deviation of normal data."""
    std = 0.5
    title = f"moments of {STOCHASTIC_SAMPLES} samples of normal data over s, {STOCHASTIC_STEPS} steps"
    made = []
    for kind, factory in PATHS.items():
        data = Gaussian(std, factory(), MEAN)
        for solver in STOCHASTIC:
            rng = np.random.default_rng(seed)
            noise = rng.standard_normal((STOCHASTIC_SAMPLES, 1))
            actions = sample(data.denoise, noise, STOCHASTIC_STEPS, solver, data.path, generator=rng)
            error = (float(actions.mean()) - MEAN) / std
            made.append(Figure(title, f"{kind} {solver} error of the mean", error, -MOMENT_TOLERANCE, MOMENT_TOLERANCE))
            made.append(Figure(title, f"{kind} {solver} std", float(actions.std()) / std, 1.0 - MOMENT_TOLERANCE, 1.0 + MOMENT_TOLERANCE))
    return made


def numpy_and_torch(seed: int) -> list[Figure]:
    """The same actions from arrays and from tensors, with the same draws of noise."""
    # The one check that needs torch.
    import torch

    made = []
    for kind, factory in PATHS.items():
        mixture = four_modes(factory())
        noise = np.random.default_rng(seed).standard_normal((64, 2))
        worst = 0.0
        for solver in ALL_SOLVERS:
            for steps in (1, 2, 20):
                arrays = sample(mixture.denoise, noise, steps, solver, mixture.path, generator=np.random.default_rng(seed))
                start = torch.from_numpy(noise)
                tensors = sample(mixture.denoise, start, steps, solver, mixture.path, generator=np.random.default_rng(seed))
                worst = max(worst, float(np.abs(tensors.numpy() - arrays).max()))
        made.append(Figure("numpy against torch, all solvers, worst difference", kind, worst, high=1e-8))
    return made


SUITE = Suite(
    checks={
        "conversions": round_trips,
        "gaussian lipschitz": gaussian_lipschitz,
        "sign of contraction": contraction_sign,
        "orders of convergence": orders.check,
        "stochastic moments": stochastic_moments,
        "numpy and torch": numpy_and_torch,
    },
    plots=(orders.plot,),
)
