"""What a calibration is refused for."""

from __future__ import annotations


class HandEyeError(RuntimeError):
    """No calibration from these views; the message says why and what to do next. Views that were saved stay where they are."""
