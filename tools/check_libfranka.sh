#!/usr/bin/env bash
# Runs the libfranka driver against franka-sim, a server of libfranka's protocol that enforces the robot's limits: docs/driver.md.
#   DURATION=60 tools/check_libfranka.sh      seconds of the robot's time for the policy's motion; extra arguments go to pytest
#   tools/check_libfranka.sh --run COMMAND... runs a command with the driver's libraries, beside a server of its own
# Nothing is installed into .venv: server and libraries lie in runs/libfranka.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
folder="$root/runs/libfranka"

say() { printf 'check-libfranka: %s\n' "$*"; }
die() { printf 'check-libfranka: %s\n' "$*" >&2; exit 1; }

. "$root/tools/libfranka_environment.sh"
make_environment "$folder" "$root/requirements/franka-sim/requirements.txt"
export CDP_FRANKA_SIM="$folder/server/bin/run-franka-sim-server"
if [ "${1:-}" = --run ]; then
  shift
  exec python "$root/tests/libfranka/beside_server.py" "$folder" "$@"
fi
CDP_DURATION="${DURATION:-60}" exec python -m pytest "$root/tests/libfranka" -s --basetemp="$folder/logs" "$@"
