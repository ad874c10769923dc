"""The executable ``panel_node``."""

from __future__ import annotations

import sys

_WEB = ("nicegui", "fastapi", "starlette", "uvicorn")


def main() -> int:
    """Run the node; 2 in one line where the web framework is not installed."""
    try:
        from cdp_teleop_recorder.panel.node import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _WEB:
            raise
        sys.stderr.write(
            f"cdp_panel does not start: {error.name} is not installed; pip install -r requirements/panel.txt. Recording works without it.\n"
        )
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
