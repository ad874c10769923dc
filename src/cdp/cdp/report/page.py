"""A report as one page of Markdown, as a section of a bundle's card, and as one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cdp.contraction.report_errors import GAIN_NOISE
from cdp.contraction.report_spread import MODE_SHARE
from cdp.report.columns import REFERENCE_SOLVER, REFERENCE_STEPS
from cdp.report.table import markdown_table, number, pick

HEADING = "Contraction report"


def page(report: Mapping[str, Any], plots: Sequence[str]) -> str:
    """``report.md``: how it was measured, the headline table, the plots, and what the words mean."""
    parts = [
        f"# {HEADING}: {report['columns'][0]['name']}",
        f"```sh\n{report['command']}\n```",
        setting_of(report),
        comparison(report),
        markdown_table(report["columns"], headline=True),
        "\n\n".join(f"![{name.removesuffix('.png').replace('_', ' ')}]({name})" for name in plots),
        "## What the figures mean",
        "\n".join(f"- {line}" for line in definitions(report)),
        "Every figure, also those that the table leaves out, is in `report.json`.",
    ]
    return "\n\n".join(parts) + "\n"


def section(report: Mapping[str, Any]) -> str:
    """The section of the card."""
    return "\n\n".join([f"```sh\n{report['command']}\n```", setting_of(report), comparison(report), markdown_table(report["columns"], headline=True)])


def setting_of(report: Mapping[str, Any]) -> str:
    """Sampler, observations and seeds, in a sentence or two."""
    first, seen, measuring = report["columns"][0], report["observations"], report["measuring"]
    text = (
        f"Sampler {first['solver']}, {first['steps']} steps, {report['precision']}. Observations: {seen['text']}. "
        f"{measuring['seeds']} noise seeds an observation ({min(measuring['costly_seeds'], measuring['seeds'])} for figures that need Jacobians or "
        f"many steps), drawn from seed {measuring['seed']}; the same observations and seeds in every column."
    )
    paths = list(dict.fromkeys(column["noise_path"] for column in report["columns"]))
    if paths != ["vp_cosine"]:
        text += f" Noise path {', '.join(paths)}."
    if len(paths) > 1:
        text += " Each path has a limit of its own: the points in violation do not compare between them; Lipschitz, step factors and gains do."
    if seen.get("is_training_file") is False:
        text += " The file is not the one that the bundle was trained on."
    return text


def comparison(report: Mapping[str, Any]) -> str:
    """What the columns can say about the contraction penalty, and what they cannot."""
    columns = report["columns"]
    baselines = [c for c in columns if c["kind"] == "baseline"]
    if not baselines:
        return (
            "No baseline was given: these figures describe the sampler, and do not say what a contraction penalty did to it. A reduced initial "
            "temperature lowers the spread of any sampler."
        )
    lines = []
    for baseline in baselines:
        ratios = []
        for name, path in (("Lipschitz ratio (tiny pairs)", "lipschitz.tiny"), ("std over seeds", "spread.total")):
            own, other = (pick(c["measured"], f"{path}.median") for c in (columns[0], baseline))
            ratios.append(f"median {name} {own / other:.3g} of the baseline's" if other else f"median {name} of the baseline is 0")
        lines.append(f"Against {baseline['name']} ({baseline['label']}): {', '.join(ratios)}.")
    return " ".join(lines)


def definitions(report: Mapping[str, Any]) -> list[str]:
    """What a reader must know of how each part was measured."""
    return [
        "Actions are chunks in normalised units, [-1, 1] over the training data; the condition (the encoded observation) is held fixed.",
        "Lipschitz: |Φ(x) − Φ(y)| / |x − y| of the whole sampler, x and y points that sampling starts from (after the temperature). sigma_max is the "
        "largest singular value of dΦ/da_T, by Lanczos iterations: a lower bound.",
        "Points in violation: λmax(sym J_x0) above the limit (alpha_t on a variance-preserving path, 1 on edm and flow), where the "
        f"probability-flow ODE expands in some direction, on paths of {report['measuring']['path_steps']} steps. The step factor is the largest "
        "singular value of r I + c J, before and after it the state divided by sqrt(alpha² + sigma²), which is 1 on a variance-preserving path.",
        f"Modes: single-linkage clusters of an observation's samples, cut at a distance of {report['measuring']['mode_distance']:g} (rms over the "
        f"elements); clusters below {100 * MODE_SHARE:g} % of the samples count to the nearest. total² = within² + between².",
        f"Solver error: rms of Φ_k − Φ_{REFERENCE_STEPS} from the same noise, the reference by {REFERENCE_SOLVER}; its resolution is the difference "
        f"between {REFERENCE_STEPS} and {REFERENCE_STEPS // 2} steps: an error no larger says nothing. Neither it nor the gains "
        "are measured at reduced temperatures.",
        f"Gain: rms change of the action over the rms of the injected normal noise (std {GAIN_NOISE:g}), in the x0 prediction (noise e there is "
        "alpha e / sigma² in the score) or in the state, so divided, that a step starts from. Noise in the last prediction reaches the action as it "
        "is: gain 1.",
        "Task success is measured by `cdp eval` and read from the bundle's own report.",
    ]


def headline_figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """What the bundle's ``report.json`` keeps of the report, by column."""
    paths = (
        *(f"lipschitz.{kind}.{figure}" for kind in ("tiny", "independent", "sigma_max") for figure in ("median", "p95", "p999", "max")),
        "violation.fraction",
        "violation.steps.product.median",
        "violation.steps.product.max",
        *(f"spread.{part}.{figure}" for part in ("total", "within", "between") for figure in ("median", "max")),
        "spread.modes.mean",
        "noise_gains.prediction.together",
        "noise_gains.state.together",
        "solver_error.resolution",
    )
    figures: dict[str, Any] = {}
    for column in report["columns"]:
        found = {path: value for path in paths if (value := pick(column["measured"], path)) is not None}
        for solver, errors in (pick(column["measured"], "solver_error.errors") or {}).items():
            found |= {f"solver_error.{solver}.{count}": error["rms"] for count, error in errors.items()}
        figures[column["name"]] = found
    return {
        "command": report["command"],
        "observations": report["observations"],
        "measuring": report["measuring"],
        "precision": report["precision"],
        "columns": figures,
    }


def summary_line(report: Mapping[str, Any], place: str) -> str:
    """The line that the command ends with."""
    first = report["columns"][0]
    measured = first["measured"]
    tiny = measured["lipschitz"]["tiny"]
    own = pick(measured, f"solver_error.errors.{first['solver']}.{first['steps']}.rms")
    parts = [
        f"{first['name']}: Lipschitz ratio median {number(tiny['median'])}, 99.9 % {number(tiny['p999'])}",
        f"sigma_max {number(measured['lipschitz']['sigma_max']['max'])}",
        f"violation {100 * measured['violation']['fraction']:.2f} %",
        f"std over seeds {number(measured['spread']['total']['median'])}, modes an observation {number(measured['spread']['modes']['mean'])}",
    ]
    if own is not None:
        parts.append(f"solver error {number(own)} at {first['steps']} steps")
    for column in report["columns"]:
        if column["kind"] == "baseline":
            parts.append(f"baseline {column['name']}: Lipschitz ratio median {number(column['measured']['lipschitz']['tiny']['median'])}")
    observed = "synthetic observations" if report["observations"]["source"] == "synthetic" else f"{report['observations']['count']} observations"
    return f"report {'; '.join(parts)}; {observed}, {place}"
