"""The weight of the penalty: a number, or a dual variable of the constraint on the violation rate."""

from __future__ import annotations

from cdp.contraction.config import ContractionConfig


class PenaltyWeight:
    """``gamma`` of a training. Its only state is :attr:`value`, which a checkpoint keeps."""

    def __init__(self, config: ContractionConfig) -> None:
        self._config = config
        self.value = config.first_gamma

    def update(self, violation: float) -> None:
        """Projected gradient ascent after a penalised step, ``violation`` being the share of its samples over their limit; a fixed weight stays.

        The gradient of the Lagrangian with respect to gamma is ``violation - target_violation``: too many violations raise the weight, too few
        lower it.
        """
        config = self._config
        if config.automatic:
            moved = self.value + config.gamma_rate * (violation - config.target_violation)
            self.value = min(max(moved, config.gamma_min), config.gamma_max)
