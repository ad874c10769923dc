"""One training from its data to the policy in its folder, with a progress bar."""

from __future__ import annotations

import sys

from tqdm import tqdm

from cdp.rl.config import RLConfig
from cdp.rl.policy import save_policy
from cdp.rl.trainer import RLResult, RLTrainer
from cdp.rl.transitions import Transitions

_SHOWN = ("cloning", "q_mean", "penalty")


def train(config: RLConfig, data: Transitions, resume: bool = False, overwrite: bool = False) -> RLResult:
    """Train and write the policy to ``config.output``. Raises what ``RLTrainer.run`` raises."""
    trainer = RLTrainer(config, data)
    with tqdm(total=config.steps, unit="step", dynamic_ncols=True, file=sys.stderr, desc=config.output.name) as bar:

        def show(done: int, figures: dict[str, float]) -> None:
            bar.update(done - bar.n)
            bar.set_postfix({name: f"{figures[name]:.3g}" for name in _SHOWN if name in figures}, refresh=False)

        result = trainer.run(resume, overwrite, show)
    save_policy(config.output, result.networks, config)
    return result
