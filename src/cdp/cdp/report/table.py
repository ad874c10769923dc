"""A report as a table: one figure a row, one sampler a column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ABSENT = "-"


@dataclass(frozen=True)
class Row:
    """A figure by its name, the part of the report it belongs to, and its text in each column."""

    part: str
    name: str
    cells: tuple[str, ...]


def rows_of(columns: Sequence[Mapping[str, Any]], headline: bool = False) -> list[Row]:
    """The rows of a report's ``columns``, part by part; with ``headline`` the few that a card has room for."""
    rows = [_row(columns, *spec) for spec in (_HEADLINE if headline else (*_HEADLINE, *_DETAILS))]
    rows += [_row(columns, "solver", "error at its own steps (rms)", _own_solver_error)] if headline else _solver_rows(columns)
    rows.append(_row(columns, "task", "success, by `cdp eval`", _success))
    parts = list(dict.fromkeys(row.part for row in rows))
    return sorted(rows, key=lambda row: parts.index(row.part))


def text_table(columns: Sequence[Mapping[str, Any]]) -> str:
    """For a terminal, in aligned columns."""
    rows = rows_of(columns)
    names = [f"{row.part}: {row.name}" for row in rows]
    heads = [column["name"] for column in columns]
    first = max(map(len, names))
    widths = [max(len(head), *(len(row.cells[i]) for row in rows)) for i, head in enumerate(heads)]
    lines = ["  ".join([" " * first, *(head.rjust(width) for head, width in zip(heads, widths, strict=True))])]
    for name, row in zip(names, rows, strict=True):
        lines.append("  ".join([name.ljust(first), *(cell.rjust(width) for cell, width in zip(row.cells, widths, strict=True))]))
    return "\n".join(lines)


def markdown_table(columns: Sequence[Mapping[str, Any]], headline: bool = False) -> str:
    """For a page or a card."""
    heads = ["", *(column["name"] for column in columns)]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "--:|" * len(columns)]
    lines += [f"| {row.part}: {row.name} | {' | '.join(row.cells)} |" for row in rows_of(columns, headline)]
    return "\n".join(lines)


def number(value: Any) -> str:
    """Three significant digits; a dash for what was not measured."""
    return ABSENT if value is None else f"{value:.3g}"


def pick(data: Any, path: str) -> Any:
    """The entry of nested mappings under a dotted path; None where there is none."""
    for key in path.split("."):
        if not isinstance(data, Mapping) or key not in data:
            return None
        data = data[key]
    return data


Cell = str | Callable[[Mapping[str, Any]], str]


def _row(columns: Sequence[Mapping[str, Any]], part: str, name: str, cell: Cell) -> Row:
    return Row(part, name, tuple(number(pick(c["measured"], cell)) if isinstance(cell, str) else cell(c) for c in columns))


def _per_cent(path: str) -> Callable[[Mapping[str, Any]], str]:
    def cell(column: Mapping[str, Any]) -> str:
        value = pick(column["measured"], path)
        return ABSENT if value is None else f"{100 * value:.2f} %"

    return cell


def _each(path: str) -> Callable[[Mapping[str, Any]], str]:
    def cell(column: Mapping[str, Any]) -> str:
        values = pick(column["measured"], path)
        shown = [number(value) for value in values or ()]
        return ABSENT if not shown else " ".join(shown) if len(shown) <= 5 else f"{shown[0]} ... {shown[-1]}"

    return cell


def _step_medians(column: Mapping[str, Any]) -> str:
    factors = pick(column["measured"], "violation.steps.factors") or ()
    shown = [number(factor["median"]) for factor in factors]
    return ABSENT if not shown else " ".join(shown) if len(shown) <= 5 else f"{shown[0]} ... {shown[-1]}"


def _own_solver_error(column: Mapping[str, Any]) -> str:
    found = pick(column["measured"], f"solver_error.errors.{column['solver']}.{column['steps']}.rms")
    return f"{number(found)} ({column['solver']}, {column['steps']})" if found is not None else ABSENT


def _several(column: Mapping[str, Any]) -> str:
    spread = pick(column["measured"], "spread")
    return ABSENT if spread is None else f"{spread['observations_with_several_modes']} of {len(spread['per_observation']['modes'])}"


def _success(column: Mapping[str, Any]) -> str:
    found = [f"{s['successes']}/{s['trials']} ({s['solver']}, {s['steps']})" for s in column["task_success"]]
    return "; ".join(found) if found else "not measured"


def _solver_rows(columns: Sequence[Mapping[str, Any]]) -> list[Row]:
    errors: Mapping[str, Any] = next((e for c in columns if (e := pick(c["measured"], "solver_error.errors"))), {})
    rows = [
        _row(columns, "solver", f"{solver}, {count} steps, error (rms)", f"solver_error.errors.{solver}.{count}.rms")
        for solver, found in errors.items()
        for count in found
    ]
    return [*rows, _row(columns, "solver", "resolution of these errors (rms)", "solver_error.resolution")]


_HEADLINE: tuple[tuple[str, str, Cell], ...] = (
    ("Lipschitz", "tiny pairs, median", "lipschitz.tiny.median"),
    ("Lipschitz", "tiny pairs, 99.9 %", "lipschitz.tiny.p999"),
    ("Lipschitz", "independent pairs, median", "lipschitz.independent.median"),
    ("Lipschitz", "independent pairs, 99.9 %", "lipschitz.independent.p999"),
    ("Lipschitz", "sigma_max, median", "lipschitz.sigma_max.median"),
    ("Lipschitz", "sigma_max, max", "lipschitz.sigma_max.max"),
    ("paths", "points in violation", _per_cent("violation.fraction")),
    ("paths", "product of step factors, max", "violation.steps.product.max"),
    ("spread", "std over seeds, median", "spread.total.median"),
    ("spread", "std within modes, median", "spread.within.median"),
    ("spread", "std between modes, median", "spread.between.median"),
    ("spread", "modes, mean", "spread.modes.mean"),
    ("gain", "of noise in all x0 predictions", "noise_gains.prediction.together"),
    ("gain", "of noise in all states", "noise_gains.state.together"),
)

_DETAILS: tuple[tuple[str, str, Cell], ...] = (
    ("Lipschitz", "tiny pairs, 95 %", "lipschitz.tiny.p95"),
    ("Lipschitz", "tiny pairs, max", "lipschitz.tiny.max"),
    ("Lipschitz", "independent pairs, 95 %", "lipschitz.independent.p95"),
    ("Lipschitz", "independent pairs, max", "lipschitz.independent.max"),
    ("Lipschitz", "sigma_max, 95 %", "lipschitz.sigma_max.p95"),
    ("paths", "factor of each step, median", _step_medians),
    ("paths", "product of step factors, median", "violation.steps.product.median"),
    ("spread", "std over seeds, max", "spread.total.max"),
    ("spread", "std between modes, max", "spread.between.max"),
    ("spread", "observations with several modes", _several),
    ("gain", "of noise in each x0 prediction", _each("noise_gains.prediction.each")),
    ("gain", "of noise in each state", _each("noise_gains.state.each")),
)
