"""A trained policy as a folder of data: two ONNX models, weights, configuration, statistics, report and card, each with its hash. Never a pickle.

Reading needs no torch; writing does: ``from cdp.bundle.writer import write_bundle``.
"""

from cdp.bundle.errors import BundleError
from cdp.bundle.manifest import Manifest, PolicyDescription, load_manifest
from cdp.bundle.reader import Bundle

__all__ = ["Bundle", "BundleError", "Manifest", "PolicyDescription", "load_manifest"]
