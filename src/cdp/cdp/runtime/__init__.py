"""A bundle at work: observation window in, action chunk out. No ROS and no torch."""

from cdp.runtime.config import RuntimeConfig
from cdp.runtime.errors import InferenceError
from cdp.runtime.policy import ActionPrediction, PolicyRuntime

__all__ = ["ActionPrediction", "InferenceError", "PolicyRuntime", "RuntimeConfig"]
