"""A process that has opened and closed policies by OpenVINO still takes a signal."""

import subprocess
import sys

PROGRAM = """
import gc, signal, sys
from cdp.bundle import Bundle
from cdp.runtime import PolicyRuntime, RuntimeConfig

bundle = Bundle.open(sys.argv[1])
first = PolicyRuntime(bundle, RuntimeConfig())
second = PolicyRuntime(bundle, RuntimeConfig())
# The first one goes first, as where a policy is replaced.
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGINT, lambda *_: print("heard"))
signal.raise_signal(signal.SIGINT)
"""


def test_a_signal_after_policies_that_were_replaced_is_heard_and_no_segmentation_fault(tiny_bundle):
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tiny_bundle)], capture_output=True, text=True, timeout=120)
    assert done.stdout == "heard\n" and done.returncode == 0, (done.returncode, done.stderr)
