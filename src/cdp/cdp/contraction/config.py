"""Which contraction penalty a training uses."""

from __future__ import annotations

from dataclasses import dataclass

from cdp.config import ConfigError, setting

LABELS = ("diffusion", "cdp-saturating", "cdp-hinge", "cdp-frobenius", "cdp-step")


@dataclass(frozen=True)
class ContractionConfig:
    """Penalty ``gamma * mean_i p(J_i)`` on the Jacobian ``J = d x0_hat / d a_t`` of the denoiser, the condition held fixed.

    ``cdp-saturating``: ``e / (e + kappa)`` with ``e = ||J||_F^2``.
    ``cdp-hinge``: ``relu(lambda_max(sym J) - (alpha_t - beta))^2``, the condition under which the probability-flow ODE contracts as it is sampled.
    ``cdp-frobenius``: ``mean((sym J + beta I)^2)`` elementwise, as released with arXiv 2601.01003.
    ``cdp-step``: ``relu(sigma_max(r I + c J) - (1 - beta))^2`` on a step of the deployed sampler.
    ``diffusion``: none.
    """

    label: str = setting("cdp-saturating", choices=LABELS, help="the penalty; diffusion is the baseline without one")
    gamma: float = setting(0.1, low=0.0, high=1e3, help="weight of the penalty")
    kappa: float = setting(0.1, low=1e-6, high=1e6, help="cdp-saturating: squared Frobenius norm at which the penalty is one half")
    beta: float = setting(0.1, low=0.0, high=1.0, help="margin of the other penalties")
    fraction: float = setting(0.25, low=0.0, high=1.0, help="fraction of the batch that is penalised")
    every: int = setting(2, low=1, high=1000, help="training steps from one penalised step to the next")
    t_max: float = setting(1.0, low=0.001, high=1.0, help="diffusion times above this are not penalised")
    derivative: str = setting("central", choices=("central", "jvp"), help="J v by central differences (cheap) or by forward differentiation (exact)")
    delta: float = setting(0.1, low=1e-4, high=1.0, help="length of the central difference, in normalised actions")
    probes: int = setting(1, low=1, high=64, help="random directions a sample in an estimate of a Frobenius norm")
    iterations: int = setting(2, low=1, high=50, help="power iterations for an eigenvalue or a singular value")

    def __post_init__(self) -> None:
        if self.active and self.fraction == 0.0:
            raise ConfigError("fraction: 0.0 penalises nothing; use label diffusion or gamma 0 for the baseline")

    @property
    def active(self) -> bool:
        """Whether there is a penalty at all."""
        return self.label != "diffusion" and self.gamma > 0.0
