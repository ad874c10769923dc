"""How fast the solvers converge: the error against the number of steps, and its slope on a log-log plot."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from cdp.checks.figure import Figure
from cdp.diffusion.known import four_modes
from cdp.diffusion.paths import PATHS
from cdp.diffusion.reference import solve_reference
from cdp.diffusion.sampler import integrate

ORDERS = {"euler": 1, "ddim": 1, "heun": 2, "dpmpp_2m": 2}
STEPS = (8, 16, 32, 64, 128, 256)
#: Log signal-to-noise ratios of the stretch, where the modes part. It ends above 0: a step to the data is first order for every solver.
LOG_SNR = (-1.5, 1.5)
#: Wide enough for the flow to bend over many steps.
MODE_STD = 0.25
SLOPE_TOLERANCE = 0.1
_POINTS = 64
#: Doublings of the steps at the fine end that the slope is taken over.
_DOUBLINGS = 2


@cache
def errors(kind: str, seed: int) -> dict[str, list[float]]:
    """Root mean square error of each solver at each of :data:`STEPS` against the adaptive reference, on a mixture of four modes."""
    path = PATHS[kind]()
    mixture, rng = four_modes(path, MODE_STD), np.random.default_rng(seed)
    start, end = (float(path.time_of_log_snr(value)) for value in LOG_SNR)
    x = path.noised(mixture.draw(_POINTS, rng), rng.standard_normal((_POINTS, 2)), start)
    exact = solve_reference(mixture.denoise, x, path, start, end, rtol=1e-10, atol=1e-10)

    def error(solver: str, steps: int) -> float:
        state = integrate(mixture.denoise, x, np.linspace(start, end, steps + 1).tolist(), solver, path)[-1]
        return float(np.sqrt(np.mean((state - exact) ** 2)))

    return {solver: [error(solver, steps) for steps in STEPS] for solver in ORDERS}


def slope(curve: list[float]) -> float:
    """Order of convergence: minus the slope of log error over log steps at the fine end."""
    return float(np.log2(curve[-1 - _DOUBLINGS] / curve[-1]) / _DOUBLINGS)


def check(seed: int) -> list[Figure]:
    """The order of every solver on every path."""
    title = f"order of convergence, {STEPS[-1 - _DOUBLINGS]} to {STEPS[-1]} steps, four modes"
    return [
        Figure(title, f"{kind} {solver}", slope(errors(kind, seed)[solver]), order - SLOPE_TOLERANCE, order + SLOPE_TOLERANCE)
        for kind in PATHS
        for solver, order in ORDERS.items()
    ]


def plot(folder: Path, seed: int) -> Path:
    """``orders.png``: error against steps, one panel a path."""
    # Only drawing needs matplotlib.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(PATHS), figsize=(15.0, 4.4), sharey=True, layout="constrained")
    styles = {"euler": ("C0", "o-"), "ddim": ("C1", "s--"), "heun": ("C2", "^-"), "dpmpp_2m": ("C3", "v--")}
    for axis, kind in zip(axes, PATHS, strict=True):
        curves = errors(kind, seed)
        for solver, curve in curves.items():
            colour, style = styles[solver]
            axis.loglog(STEPS, curve, style, color=colour, ms=4, lw=1.3, label=f"{solver}: slope {-slope(curve):.2f}")
        for order, solver in ((1, "ddim"), (2, "dpmpp_2m")):
            guide = [1.8 * curves[solver][-1] * (STEPS[-1] / n) ** order for n in STEPS]
            axis.loglog(STEPS, guide, ":", color="0.6", lw=1.0)
        axis.set_title(kind)
        axis.set_xlabel("steps")
        axis.set_xticks(STEPS, [str(n) for n in STEPS])
        axis.minorticks_off()
        axis.grid(True, color="0.92")
        axis.legend(fontsize=8, loc="lower left")
    axes[0].set_ylabel("rms error [data units, modes at distance 1]")
    figure.suptitle("Error of a stretch of the probability flow against RK45; dotted: orders 1 and 2", fontsize=11)
    path = folder / "orders.png"
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path
