"""A bundle at work: observation window in, action chunk out. No ROS, and no torch unless the backend is torch."""

from cdp.runtime.config import JoinConfig, RuntimeConfig
from cdp.runtime.errors import InferenceError
from cdp.runtime.policy import ActionPrediction, PolicyRuntime

__all__ = ["ActionPrediction", "InferenceError", "JoinConfig", "PolicyRuntime", "RuntimeConfig"]
