"""The figures of the 2-D toy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from torch import Tensor

from cdp.contraction.estimators import exact_jacobian
from cdp.contraction.penalties import ConditionalDenoise
from cdp.diffusion.conversions import x0_to_flow
from cdp.diffusion.path import NoisePath
from cdp.diffusion.sampler import Denoise, sample_path, times_like
from cdp.diffusion.schedule import Schedule
from cdp.studies.plots import STYLES, panels, save
from cdp.studies.toy_policies import REFERENCE_STEPS, Bench, Policy
from cdp.studies.toy_task import HIT_RADIUS, ToyTask, mode_of

FLOW_TIMES = (0.8, 0.5, 0.3, 0.15)
_EXTENT = 1.6
_CONTRACTS, _EXPANDS = "#cfe3f3", "#fbdcb4"


def sampling_velocity(denoise: ConditionalDenoise, x: Tensor, t: float, cond: Tensor, schedule: NoisePath) -> Tensor:
    """Direction (N, T, D) in which sampling moves ``x`` at time t: minus the probability-flow ODE."""
    x0 = denoise(x, times_like(x, t), cond)
    return cast(Tensor, -x0_to_flow(x, x0, schedule.alpha(t), schedule.sigma(t), schedule.alpha_dt(t), schedule.sigma_dt(t)))


def excess(denoise: ConditionalDenoise, x: Tensor, t: float, cond: Tensor, schedule: NoisePath) -> Tensor:
    """``lambda_max(sym J_x0) - contraction_limit`` (N,): sampling contracts where it is negative."""
    jacobian = exact_jacobian(lambda a: denoise(a, times_like(a, t), cond), x).detach()
    return cast(Tensor, torch.linalg.eigvalsh(0.5 * (jacobian + jacobian.mT))[:, -1] - schedule.contraction_limit(t))


def draw_flows(
    policies: Mapping[str, ConditionalDenoise], state: Tensor, task: ToyTask, path: Path, times: Sequence[float] = FLOW_TIMES, cells: int = 41
) -> None:
    """For one state (2,): streamlines at ``times`` over where sampling contracts, and trajectories from the same noise."""
    schedule = Schedule()
    figure, axes = panels(len(policies), len(times) + 1, size=2.5)
    line = np.linspace(-_EXTENT, _EXTENT, cells)
    grid = torch.tensor(np.stack(np.meshgrid(line, line), axis=-1), dtype=torch.float32).reshape(-1, 1, 2)
    cond = state.expand(len(grid), -1)
    noise = torch.randn((40, 1, 2), generator=torch.Generator().manual_seed(5))
    mode = mode_of(task, state[None])[0]
    for row, (name, denoise) in zip(axes, policies.items(), strict=True):
        for axis, t in zip(row, times, strict=False):
            with torch.no_grad():
                velocity = sampling_velocity(denoise, grid, t, cond, schedule).reshape(cells, cells, 2).numpy()
            where = excess(denoise, grid, t, cond, schedule).reshape(cells, cells).numpy()
            axis.contourf(line, line, where, levels=[-np.inf, 0.0, np.inf], colors=[_CONTRACTS, _EXPANDS])
            axis.streamplot(line, line, velocity[..., 0], velocity[..., 1], color="#404040", density=0.7, linewidth=0.6, arrowsize=0.7)
            _modes(axis, mode, schedule.alpha(t))
        with torch.no_grad():
            states = sample_path(_for_state(denoise, state), noise, REFERENCE_STEPS, "ddim", schedule)
        track = torch.stack(states)[:, :, 0].numpy()
        row[-1].plot(track[..., 0], track[..., 1], color=STYLES[name][0], linewidth=0.6, alpha=0.7)
        row[-1].plot(track[-1, :, 0], track[-1, :, 1], "o", color="#D55E00", markersize=2.5)
        _modes(row[-1], mode, 1.0)
        row[0].set_ylabel(f"{name}\naction 2 [normalised]")
    for axis, t in zip(axes[0], times, strict=False):
        axis.set_title(f"t = {t:g}")
    axes[0][-1].set_title(f"{len(noise)} trajectories")
    for axis in axes[-1]:
        axis.set_xlabel("action 1 [normalised]")
    _frame(axes)
    figure.suptitle("Sampling flow for one state: blue contracts, orange expands; circles are the two modes, scaled by alpha")
    save(figure, path)


def draw_samples(policies: Mapping[str, Mapping[int, Policy]], bench: Bench, path: Path) -> None:
    """Samples of all states, turned so that the modes lie on the first axis, by policy (rows) and training updates (columns)."""
    snapshots = list(next(iter(policies.values())))
    figure, axes = panels(len(policies), len(snapshots), size=2.1)
    angle = torch.atan2(bench.mode[:, 1], bench.mode[:, 0])[:, None]
    for row, (name, by_updates) in zip(axes, policies.items(), strict=True):
        for axis, updates in zip(row, snapshots, strict=True):
            actions = bench.actions(by_updates[updates], REFERENCE_STEPS)[:, :16]
            x = actions[..., 0] * torch.cos(angle) + actions[..., 1] * torch.sin(angle)
            y = actions[..., 1] * torch.cos(angle) - actions[..., 0] * torch.sin(angle)
            axis.plot(x.flatten(), y.flatten(), ".", color=STYLES[name][0], markersize=3.5, alpha=0.4, markeredgewidth=0)
            _modes(axis, torch.tensor([bench.task.radius, 0.0]), 1.0)
        row[0].set_ylabel(f"{name}\nacross the modes")
    for axis, updates in zip(axes[0], snapshots, strict=True):
        axis.set_title(f"{updates} updates")
    for axis in axes[-1]:
        axis.set_xlabel("along the modes")
    _frame(axes)
    figure.suptitle(f"Samples over training ({REFERENCE_STEPS} steps, all states turned so that the modes lie sideways; circles: hits)")
    save(figure, path)


def draw_trade(curves: Mapping[str, Mapping[str, Sequence[float]]], task: ToyTask, path: Path) -> None:
    """Median and tail of the local Lipschitz constant and spread within a mode against the hit rate; a line runs through a policy's training."""
    columns = {
        "lipschitz_median": "local Lipschitz constant, median",
        "lipschitz_p999": "local Lipschitz constant, 99.9 %",
        "within_std": "std of actions within a mode",
    }
    figure, axes = panels(1, len(columns), size=3.9, share=False)
    for axis, (key, label) in zip(axes[0], columns.items(), strict=True):
        for name, figures in curves.items():
            colour, marker = STYLES[name.partition(",")[0]]
            style = "--" if name.endswith(", strong") else "-"
            axis.plot(figures["hits_50"], figures[key], style, color=colour, marker=marker, markersize=5, linewidth=1, label=name)
        axis.set_yscale("log")
        axis.set_xlabel("hit rate, 50 steps")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    axes[0][2].axhline(task.std, color="#7f7f7f", linestyle=":")
    axes[0][2].annotate("expert", (0.02, task.std), xycoords=("axes fraction", "data"), va="bottom", color="#7f7f7f")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle("Along training, mean over seeds: further right is better, further down is more contractive")
    save(figure, path)


def _for_state(denoise: ConditionalDenoise, state: Tensor) -> Denoise:
    def fn(x: Tensor, t: Tensor) -> Tensor:
        return denoise(x, t, state.expand(len(x), -1))

    return fn


def _modes(axis: Axes, mode: Tensor, alpha: float) -> None:
    for sign in (1.0, -1.0):
        centre = (float(sign * alpha * mode[0]), float(sign * alpha * mode[1]))
        axis.add_patch(Circle(centre, HIT_RADIUS, fill=False, color="#D55E00", linewidth=1.0, zorder=3))


def _frame(axes: Sequence[Sequence[Axes]]) -> None:
    for axis in (axis for row in axes for axis in row):
        axis.set_xlim(-_EXTENT, _EXTENT)
        axis.set_ylim(-_EXTENT, _EXTENT)
        axis.set_aspect("equal")
        axis.set_xticks([-1, 0, 1])
        axis.set_yticks([-1, 0, 1])
