"""``cdp rl``: collect transitions, train a diffusion policy on them, let it act, and compare it with and without contraction over seeds."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cdp.rl.config import RLConfig

EXAMPLES = """examples:
  cdp rl collect --task Reacher-v5 -o data/rl/reacher.hdf5
  cdp rl train config/rl/reacher.yaml
  cdp rl train config/rl/reacher.yaml --contraction.label cdp-saturating --output runs/rl/reacher_cdp
  cdp rl eval runs/rl/reacher --episodes 20
  cdp rl study config/rl/reacher.yaml --seeds 0 1 2 -o docs/studies/rl
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a parser."""
    # Read once, when torch loads its OpenMP: threads that spin while they wait make training several times slower beside other work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parser = subparsers.add_parser(
        "rl", help="offline reinforcement learning", epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="rl_command", required=True)
    _register_collect(commands)
    train = commands.add_parser(
        "train",
        allow_abbrev=False,
        help="train a policy on a file of transitions",
        description="Any key of the configuration can be overridden: --steps 100 --contraction.gamma 0.3",
    )
    train.add_argument("config", type=Path, help="training configuration, e.g. config/rl/reacher.yaml")
    train.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    train.add_argument("--overwrite", action="store_true", help="start anew over an earlier training")
    train.set_defaults(run=run_train, takes_overrides=True)
    evaluation = commands.add_parser("eval", help="let a trained policy act in its task")
    evaluation.add_argument("policy", type=Path, help="folder that `cdp rl train` wrote")
    evaluation.add_argument("--episodes", type=int, default=20, help="episodes (default 20)")
    evaluation.add_argument("--seed", type=int, default=100_000, help="seed of the first episode (default 100000)")
    evaluation.add_argument("--min-return", type=float, default=None, help="fail where the mean return is below this")
    evaluation.set_defaults(run=run_eval)
    study = commands.add_parser("study", allow_abbrev=False, help="train with and without contraction over seeds, and compare")
    study.add_argument("config", type=Path, help="training configuration of the baseline")
    study.add_argument("--variants", type=Path, default=None, help="YAML: name of each variant -> overrides of the configuration")
    study.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="training seeds (default 0 1 2)")
    study.add_argument("--episodes", type=int, default=20, help="evaluation episodes of each training (default 20)")
    study.add_argument("-o", "--out", type=Path, required=True, help="folder of results.json and the figure")
    study.set_defaults(run=run_study, takes_overrides=True)


def _register_collect(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("collect", help="search a policy for a task, and record it at several stages of its skill")
    parser.add_argument("--task", required=True, help="Gymnasium task, e.g. Reacher-v5")
    parser.add_argument("-o", "--out", type=Path, required=True, help="file to write, e.g. data/rl/reacher.hdf5")
    parser.add_argument("--transitions", type=_positive, default=100_000, help="transitions, in equal shares from each level (default 100000)")
    parser.add_argument("--levels", type=_positive, default=5, help="stages of the search that act (default 5)")
    parser.add_argument("--noise", type=float, default=0.3, help="largest noise on the actions, in half ranges (default 0.3)")
    parser.add_argument("--iterations", type=_positive, default=20, help="iterations of the search (default 20)")
    parser.add_argument("--population", type=_positive, default=24, help="policies tried in each iteration (default 24)")
    parser.add_argument("--spread", type=float, default=1.0, help="standard deviation of the first weights of the search (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything (default 0)")
    parser.set_defaults(run=run_collect)


def run_collect(args: argparse.Namespace) -> str:
    """Collect; the summary line. Raises ValueError for an existing file or settings that cannot be, and the errors of its parts."""
    from tqdm import tqdm

    from cdp.rl.collect import Recipe, collect

    if args.out.exists():
        raise ValueError(f"{args.out} exists and is left as it is; remove it or choose another --out")
    if args.levels > args.iterations:
        raise ValueError(f"--levels: {args.levels} stages cannot be told apart in {args.iterations} iterations")
    if not 0.0 <= args.noise <= 2.0:
        raise ValueError(f"--noise: {args.noise} is outside [0, 2]")
    if not args.spread > 0.0:
        raise ValueError(f"--spread: {args.spread} is not above 0")
    recipe = Recipe(args.task, args.transitions, args.levels, args.noise, args.iterations, args.population, args.spread, args.seed)
    with tqdm(dynamic_ncols=True, file=sys.stderr) as bar:

        def show(done: int, total: int, line: str) -> None:
            bar.total, bar.n = total, done
            bar.set_description(line, refresh=False)
            bar.refresh()

        made = collect(args.out, recipe, show)
    levels = ", ".join(f"{value:.4g}" for value in made.level_returns)
    return f"{made.path}: {made.transitions} transitions in {made.episodes} episodes, mean return {made.mean_return:.4g}, by level {levels}"


def run_train(args: argparse.Namespace) -> str:
    """Train, write the policy; the summary line. Raises the errors of its parts, each with a message for the user."""
    from cdp.rl.train import train
    from cdp.rl.transitions import read_transitions

    config = _config(args)
    data = read_transitions(config.dataset)
    result = train(config, data, args.resume, args.overwrite)
    figures = result.figures
    overhead = f"{100 * result.penalty_overhead:.0f} %" if config.contraction.active else "none"
    return (
        f"trained {result.steps} steps in {result.wall_s / 60:.1f} min: cloning loss {figures['cloning']:.4g}, Q of the policy "
        f"{figures['q_mean']:.4g}, Bellman error {figures['critic_loss']:.4g}, penalty overhead {overhead}, policy {config.output}"
    )


def run_eval(args: argparse.Namespace) -> int:
    """Evaluate; 0 where the mean return reaches what was asked for. Raises the errors of its parts."""
    import json

    from tqdm import tqdm

    from cdp.rl.evaluation import evaluate
    from cdp.rl.policy import load_policy

    if args.episodes < 1:
        raise ValueError(f"--episodes: {args.episodes} is below 1")
    policy = load_policy(args.policy, seed=args.seed)
    _threads(policy.config)
    with tqdm(total=args.episodes, unit="episode", dynamic_ncols=True, file=sys.stderr) as bar:
        measured = evaluate(policy, args.episodes, args.seed, lambda done: bar.update(done - bar.n) and None)
    (args.policy / "evaluation.json").write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(
        f"{args.policy}: return {measured['return_mean']:.4g} +- {measured['return_std']:.2g} (standard deviation) over {args.episodes} episodes "
        f"of {policy.config.task}, mean length {measured['length_mean']:.4g}, seeds from {args.seed}\n"
    )
    return 1 if args.min_return is not None and measured["return_mean"] < args.min_return else 0


def run_study(args: argparse.Namespace) -> str:
    """Compare; the summary line. Raises the errors of its parts."""
    from cdp.rl.study import run_study as study

    return study(_config(args), args.variants, args.seeds, args.episodes, args.out, " ".join(["cdp", "rl", "study", *_words(args)]))


def _words(args: argparse.Namespace) -> list[str]:
    variants = ["--variants", str(args.variants)] if args.variants is not None else []
    seeds = [str(seed) for seed in args.seeds]
    return [str(args.config), *variants, "--seeds", *seeds, "--episodes", str(args.episodes), "-o", str(args.out), *args.overrides]


def _config(args: argparse.Namespace) -> RLConfig:
    from cdp.rl.config import load_rl_config
    from cdp.train.commands import parse_overrides

    config = load_rl_config(args.config, parse_overrides(args.overrides))
    _threads(config)
    return config


def _threads(config: RLConfig) -> None:
    import torch

    if config.threads:
        torch.set_num_threads(config.threads)


def _positive(word: str) -> int:
    value = int(word)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value
