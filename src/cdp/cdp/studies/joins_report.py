"""The report of the study ``joins``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdp.studies.frame import cell, table
from cdp.studies.joins_figures import DRAWN

_HEAD = ("join", "delay", "jump [mm]", "largest", "jerk at joins [m/s³]", "largest", "jerk within", "ratio", "off the demonstration [mm]")


def report(results: Mapping[str, Any]) -> str:
    """Markdown."""
    digits = {"jump_mm": 2, "jump_max_mm": 1, "jerk_join": 1, "jerk_join_max": 0, "jerk_within": 1, "jerk_ratio": 2, "error_mm": 2}
    rows = [
        [name, f"{delay} ms", *(cell(f[key], places) for key, places in digits.items())]
        for name, by_delay in results["joins"].items()
        for delay, f in by_delay.items()
    ]
    noises = [
        [name, cell(f["jump_mm"]), cell(f["jerk_ratio"]), cell(f["error_mm"]), f"{f['seed_spread_mm']:.2f}"] for name, f in results["noises"].items()
    ]
    return f"""# Joins: where one chunk takes over from another

What is the arm sent when a chunk replaces the one before it, by the join that the policy node is set to and by how late the chunk comes? The
recorded observations of {results["recordings"]} held-out demonstrations go through the session that the robot runs, at the policy's rate, with a
chunk every {results["replan_ticks"]} observations (`{results["bundle"]}`, {results["solver"]}, {results["steps"]} steps). Each chunk is handed over
after a delay that is made up; what the guard would follow is put together from what was sent. The delay that `rtc` plans for is the measured one.

Jump at a join, jerk there, and distance to the demonstration, as root mean squares, over the delays:

{_findings(results["joins"])}

![Figures by join and delay](delays.png)

{table(_HEAD, rows)}

{_products(results["joins"])}

Mean ± standard deviation over seeds of the noise. Jump: from where the old chunk would have sent the arm to where the new one does at the same
time. Jerk: third difference of the commanded position once a policy period, over joins and within chunks of the same motion; the ratio is of their
root mean squares. Off the demonstration: the distance to what the demonstrator did at that time, which a join that holds on to old plans would make
larger.

![Speed of the commanded target](motion.png)

## The initial noise
With a hard join and no delay. `warm` starts the sampler from the last chunk, noised to a level of the noise path (1: all of it).

{table(["initial noise", "jump [mm]", "jerk ratio", "off the demonstration [mm]", "apart over seeds [mm]"], noises)}

Apart over seeds: distance of a row from its mean over seeds, for the same observation. A sampler that contracts forgets its noise: what little is
left is what a warm start could take away.

{_closed(results["closed_loop"])}
## What this does not show
- Recorded observations: the arm's own motion does not answer to what is sent, and no limits of speed and acceleration smooth it, as the guard does.
- So few episodes in simulation tell a join that breaks the task from one that does not, and nothing finer.
- One task, one policy, positions only; slide has one way to do it, so that no join has to choose between two.
"""


def _products(joins: Mapping[str, Any]) -> str:
    plain = joins["rtc"]
    lines = []
    for name, by_delay in joins.items():
        if not name.startswith("rtc, "):
            continue
        worse = sum(f["error_mm"]["mean"] > plain[delay]["error_mm"]["mean"] for delay, f in by_delay.items())
        largest = max(f["jump_max_mm"]["mean"] for f in by_delay.values())
        lines.append(
            f"`{name}` is further off the demonstration than `rtc` at {worse} of {len(by_delay)} delays, and jumps by up to {largest:.0f} mm"
        )
    return (
        "Products are evaluations that carry the agreement to the free rows through the denoiser's Jacobian, exactly so on Gaussian data (a test).\n"
        f"{'; '.join(lines)}.\nA trained denoiser's Jacobian need not be a covariance, and one that training made small says little: the policy node "
        "does not offer products."
    )


def _closed(closed: Mapping[str, Any]) -> str:
    if not closed:
        return ""
    rows = []
    for name, by_delay in closed.items():
        for delay, found in by_delay.items():
            low, high = found["wilson_95"]
            seconds = "" if found["mean_duration_s"] is None else f"{found['mean_duration_s']:.2f}"
            rows.append([name, f"{delay} ms", f"{found['successes']} of {found['trials']}", f"{low:.2f} to {high:.2f}", seconds])
    head = ("join", "delay", "successes", "95 % interval", "mean time of a success [s]")
    return (
        f"## In simulation\nWith the guard, the same scenes for each; simulated time stands still while the policy computes.\n\n{table(head, rows)}\n"
    )


def _findings(joins: Mapping[str, Any]) -> str:
    def between(name: str, key: str, digits: int) -> str:
        means = [f[key]["mean"] for f in joins[name].values()]
        return f"{min(means):.{digits}f} to {max(means):.{digits}f}"

    return "\n".join(
        f"- `{name}`: {between(name, 'jump_mm', 1)} mm, {between(name, 'jerk_join', 1)} m/s³ ({between(name, 'jerk_ratio', 2)} times that within "
        f"chunks), {between(name, 'error_mm', 1)} mm"
        for name in DRAWN
    )
