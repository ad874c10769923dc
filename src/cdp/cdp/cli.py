"""The ``cdp`` command.

A command is a module with ``register(subparsers)``, which adds a parser and sets its default ``run``, a function of the parsed arguments that
returns the summary line (or None, or an exit code) and raises an exception with a message for the user where it fails. Upper layers add commands
through the entry-point group ``cdp.commands``: the name is the command, the object its ``register``. Only the command that is asked for is imported.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from cdp import __version__

GROUP = "cdp.commands"

#: Built-in commands: the module with ``register``, and the line that ``cdp --help`` shows.
BUILT_IN = {
    "data": ("cdp.data.commands", "collect, describe and check demonstrations"),
    "study": ("cdp.studies.commands", "run a study and write its figure and numbers"),
    "train": ("cdp.train.commands", "train a policy and write its bundle"),
    "report": ("cdp.report.commands", "measure how contractive the samplers of bundles are"),
    "export": ("cdp.bundle.commands", "write the ONNX models of a bundle anew and compare the backends"),
    "monitor": ("cdp.bundle.monitor_commands", "add to a bundle what the policy node's monitor compares live observations with"),
    "core-check": ("cdp.checks.core", "check the diffusion core against closed forms"),
    "rl": ("cdp.rl.commands", "offline reinforcement learning: collect, train, eval, study"),
}

Register = Callable[[Any], None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (the process's own by default) and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="cdp", description="Contractive diffusion policies: data, training, bundles and tools.")
    parser.add_argument("--version", action="version", version=f"cdp {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a failure")
    subparsers = parser.add_subparsers(dest="command", metavar="command", required=True)
    wanted = next((word for word in words if not word.startswith("-")), None)
    try:
        _register(subparsers, wanted)
        args, rest = parser.parse_known_args(words)
        if rest and not getattr(args, "takes_overrides", False):
            parser.error(f"unrecognised: {' '.join(rest)}")
        args.overrides = rest
        return _finish(args.run(args))
    except KeyboardInterrupt as interrupt:
        sys.stderr.write(f"cdp: {interrupt or 'interrupted'}\n")
        return 130
    except Exception as error:
        # The outermost edge: whatever failed becomes one line and an exit code.
        if "--debug" in words:
            raise
        sys.stderr.write(f"cdp: {error or type(error).__name__}\n")
        return 1


def _register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser], wanted: str | None) -> None:
    """Add the parser of ``wanted``, and the names of all others."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    if wanted == "train":
        # Read once, when torch loads its OpenMP: threads that spin while they wait make training several times slower beside other work.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if wanted in BUILT_IN:
        importlib.import_module(BUILT_IN[wanted][0]).register(subparsers)
    elif wanted in found:
        found[wanted].load()(subparsers)
    for name, (_, line) in BUILT_IN.items():
        if name != wanted:
            subparsers.add_parser(name, help=line)
    for name, point in found.items():
        if name != wanted and name not in BUILT_IN:
            subparsers.add_parser(name, help=f"from {_package(point)}")


def _package(point: EntryPoint) -> str:
    return point.value.split(":", 1)[0].split(".", 1)[0]


def _finish(outcome: object) -> int:
    if isinstance(outcome, int):
        return outcome
    if outcome is not None:
        sys.stdout.write(f"{outcome}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
