#!/usr/bin/env bash
# Runs the libfranka driver, the hand and the slide policy against franky-sim, a server of libfranka's protocol with contacts: docs/driver.md.
#   EPISODES=5 tools/check_franky.sh      episodes of slide; extra arguments go to pytest
# Nothing is installed into .venv: server and libraries lie in runs/franky, pictures of the episodes too.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
folder="$root/runs/franky"

say() { printf 'check-franky: %s\n' "$*"; }
die() { printf 'check-franky: %s\n' "$*" >&2; exit 1; }

. "$root/tools/libfranka_environment.sh"
make_environment "$folder" "$root/requirements/franky-sim/requirements.txt" shared
export CDP_FRANKY_SIM="$folder/server/bin/python"
CDP_EPISODES="${EPISODES:-5}" exec python -m pytest "$root/tests/franky" -s --basetemp="$folder/logs" "$@"
