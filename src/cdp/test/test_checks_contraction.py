"""The estimator checks of `cdp core-check`: they hold, and they can fail."""

import pytest
import torch

from cdp.checks import contraction


@pytest.mark.parametrize("check", ["eigenvalues", "singular values"])
def test_the_estimators_hold_at_another_seed(check):
    assert all(figure.holds for figure in contraction.SUITE.checks[check](7))


def test_an_estimator_without_a_shift_is_found_out(monkeypatch):
    def unshifted(fn, x, generator, iterations, delta):
        v = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        for _ in range(iterations):
            v = torch.nn.functional.normalize(fn(v), dim=1)
        return (v * fn(v)).sum(dim=1)

    monkeypatch.setattr(contraction, "lambda_max_symmetric", unshifted)
    failed = {figure.name for figure in contraction.eigenvalues(0) if not figure.holds}
    assert "power, largest is negative" in failed and "lanczos, largest is negative" not in failed


def test_the_gradient_of_the_wrong_weights_is_found_out():
    assert contraction.gradient_error("mlp", "cdp-hinge", 3) < contraction.GRADIENT_TOLERANCE
    right = contraction._penalty

    def detached(model, label, seed):
        return right(model, label, seed) + sum(p.detach().square().sum() for p in model.parameters())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contraction, "_penalty", detached)
        assert contraction.gradient_error("mlp", "cdp-hinge", 3) > contraction.GRADIENT_TOLERANCE
