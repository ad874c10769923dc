"""``beside_server.py FOLDER COMMAND...``: runs a command beside a franka-sim of its own, whose log goes to FOLDER."""

import subprocess
import sys
from pathlib import Path

from wire_stack import franka_sim

if __name__ == "__main__":
    server = franka_sim(Path(sys.argv[1]))
    server.start()
    try:
        code = subprocess.run(sys.argv[2:], check=False).returncode
    finally:
        server.stop()
    sys.exit(code)
