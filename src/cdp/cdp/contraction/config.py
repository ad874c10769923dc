"""Which contraction penalty a training uses."""

from __future__ import annotations

from dataclasses import dataclass

from cdp.config import ConfigError, setting

#: What ``auto`` takes for chunks of more than :data:`EXACT_UP_TO` numbers stands last.
LABEL_ESTIMATORS = {
    "diffusion": ("exact", "lanczos", "hutchinson", "power"),
    "cdp-saturating": ("exact", "hutchinson"),
    "cdp-hinge": ("exact", "lanczos", "power"),
    "cdp-frobenius": ("exact", "hutchinson"),
    "cdp-step": ("exact", "lanczos", "power"),
    "cdp-paper": ("exact", "lanczos", "power"),
}
LABELS = tuple(LABEL_ESTIMATORS)
ESTIMATORS = ("auto", "exact", "power", "lanczos", "hutchinson")
EXACT_UP_TO = 16
"""Numbers in a chunk (d) up to which ``estimator: auto`` builds the whole Jacobian."""
AUTO = "auto"
GAMMA_RANGE = (0.0, 1e3)


@dataclass(frozen=True)
class ContractionConfig:
    """Penalty ``gamma * mean_i p(J_i)`` on the Jacobian ``J = d x0_hat / d a_t`` of the denoiser, the condition held fixed.

    Off the variance-preserving paths ``J_y = size(t) J``, with ``size = sqrt(alpha^2 + sigma^2)``, is the Jacobian with respect to the standardised
    state ``a_t / size``, r_y and c_y are the coefficients of its step, and l_t is ``NoisePath.contraction_limit``; on them J_y = J and l_t = alpha_t.

    ``cdp-saturating``: ``e / (e + kappa)`` with ``e = ||J_y||_F^2``.
    ``cdp-hinge``: ``relu(lambda_max(sym J) - (l_t - beta))^2``, the condition under which the probability-flow ODE contracts as it is sampled.
    ``cdp-frobenius``: ``mean((sym J_y + beta I)^2)`` elementwise, as released with arXiv 2601.01003.
    ``cdp-step``: ``relu(sigma_max(r_y I + c_y J_y) - (1 - beta))^2`` on a step of the deployed sampler.
    ``cdp-paper``: ``max(-beta, lambda_max(sym J_eps) + f / h)`` with ``J_eps = d eps_hat / d a_t``, as printed in arXiv 2601.01003. For comparison
    only: it is the condition of the forward, noising direction, not of sampling.
    ``diffusion``: none.

    ``gamma: auto`` moves gamma by projected gradient ascent on the constraint that the share of penalised samples over their limit be
    ``target_violation``: ``gamma <- clip(gamma + gamma_rate (share - target_violation), gamma_min, gamma_max)`` after each penalised step. The limit
    is kappa, l_t - beta, 1 - beta or -f / h - beta in the order above; ``cdp-frobenius`` has none.
    """

    label: str = setting("cdp-saturating", choices=LABELS, help="the penalty; diffusion is the baseline without one")
    gamma: float | str = setting(0.1, help="weight of the penalty, from 0 to 1000; auto: driven to target_violation")
    target_violation: float = setting(0.1, low=0.0, high=1.0, help="gamma auto: share of penalised samples that may exceed their limit")
    gamma_start: float = setting(0.1, low=0.0, high=1e3, help="gamma auto: the first weight")
    gamma_rate: float = setting(0.01, low=1e-6, high=1e3, help="gamma auto: change of the weight a penalised step, by unit of excess violation")
    gamma_min: float = setting(0.0, low=0.0, high=1e3, help="gamma auto: lower bound of the weight")
    gamma_max: float = setting(10.0, low=0.0, high=1e3, help="gamma auto: upper bound of the weight")
    kappa: float = setting(0.1, low=1e-6, high=1e6, help="cdp-saturating: squared Frobenius norm at which the penalty is one half")
    beta: float = setting(0.1, low=0.0, high=1.0, help="margin of the other penalties")
    fraction: float = setting(0.25, low=0.0, high=1.0, help="fraction of the batch that is penalised")
    every: int = setting(2, low=1, high=1000, help="training steps from one penalised step to the next")
    t_max: float = setting(1.0, low=0.001, high=1.0, help="diffusion times above this are not penalised; edm: 2/pi atan(sigma) in place of its time")
    estimator: str = setting(
        "auto", choices=ESTIMATORS, help=f"how the Jacobian is measured; auto: exact for chunks of up to {EXACT_UP_TO} numbers, else the cheapest"
    )
    derivative: str = setting("central", choices=("central", "jvp"), help="J v by central differences (cheap) or by forward differentiation (exact)")
    delta: float = setting(0.1, low=1e-4, high=1.0, help="length of the central difference, in standardised states")
    probes: int = setting(1, low=1, high=64, help="hutchinson: random directions a sample in an estimate of a Frobenius norm")
    iterations: int = setting(2, low=1, high=50, help="power: iterations for an eigenvalue or a singular value")
    lanczos_steps: int = setting(6, low=2, high=64, help="lanczos: steps for an eigenvalue or a singular value")

    def __post_init__(self) -> None:
        self._check_gamma()
        if self.active and self.fraction == 0.0:
            raise ConfigError("fraction: 0.0 penalises nothing; use label diffusion or gamma 0 for the baseline")
        suitable = (AUTO, *LABEL_ESTIMATORS[self.label]) if self.label in LABEL_ESTIMATORS else ESTIMATORS
        if self.estimator not in suitable:
            raise ConfigError(f"estimator: {self.estimator!r} does not measure what {self.label} penalises; choose {', '.join(map(repr, suitable))}")

    def _check_gamma(self) -> None:
        low, high = GAMMA_RANGE
        if isinstance(self.gamma, str):
            if self.gamma != AUTO:
                raise ConfigError(f"gamma: {self.gamma!r} is neither a number in [{low}, {high}] nor 'auto'")
            if self.label == "cdp-frobenius":
                raise ConfigError("gamma: 'auto' needs a limit to hold and cdp-frobenius has none; choose a number, or another label")
            if not self.gamma_min <= self.gamma_start <= self.gamma_max:
                raise ConfigError(f"gamma_start: {self.gamma_start} is outside [{self.gamma_min}, {self.gamma_max}], gamma_min to gamma_max")
        elif not low <= self.gamma <= high:
            raise ConfigError(f"gamma: {self.gamma!r} is outside [{low}, {high}]")

    @property
    def automatic(self) -> bool:
        """Whether gamma is driven by the measured violation."""
        return self.gamma == AUTO

    @property
    def first_gamma(self) -> float:
        """The weight that a training starts with."""
        return self.gamma_start if isinstance(self.gamma, str) else self.gamma

    @property
    def active(self) -> bool:
        """Whether there is a penalty at all."""
        return self.label != "diffusion" and (self.automatic or self.first_gamma > 0.0)

    def resolved_estimator(self, dimension: int) -> str:
        """The estimator of chunks of ``dimension`` (d) numbers: ``auto`` resolved."""
        if self.estimator != AUTO:
            return self.estimator
        return "exact" if dimension <= EXACT_UP_TO else LABEL_ESTIMATORS[self.label][-1]
