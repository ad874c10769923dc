#!/usr/bin/env bash
# Lets robomimic's and LeRobot's own readers loose on our files, in an environment of their own: runs/peers/venv.
#   tools/check_peers.sh              on data/slide/demos.hdf5, or on three demonstrations made for it where there is none
#   tools/check_peers.sh FILE         on another file of demonstrations
#   tools/check_peers.sh --only-env   make the environment and no more
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
folder="$root/runs/peers"
venv="$folder/venv"
requirements="$root/requirements/peers/requirements.txt"
pin="$(sed -n 's/^torch==//p' "$root/requirements/torch.txt")"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() { printf 'check-peers: %s\n' "$*"; }
die() { printf 'check-peers: %s\n' "$*" >&2; exit 1; }
pip_install() { env -u PYTHONPATH "$venv/bin/python" -m pip install -qq "$@"; }

python="$root/.venv/bin/python"
[ -x "$python" ] || python="${PYTHON:-python3}"
python="$("$python" -c 'import sys; print(sys._base_executable)')"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "the pinned versions need Python 3.11 or newer, not $("$python" -V): set PYTHON"
key="$("$python" -V) torch $pin $(sha256sum <"$requirements")"
if [ "$(cat "$venv/.cdp" 2>/dev/null)" != "$key" ]; then
  say "making $venv (2 GB; some minutes)"
  rm -rf "$venv"
  mkdir -p "$folder"
  env -u PYTHONPATH "$python" -m venv "$venv"
  # The CPU build: by its local version where the index has it, else by uv, which knows where PyTorch keeps it.
  pip_install "torch==$pin+cpu" 2>/dev/null || { pip_install uv && "$venv/bin/uv" pip install -q --python "$venv/bin/python" --torch-backend=cpu "torch==$pin"; } ||
    die "the CPU build of torch $pin could not be installed"
  pip_install 'setuptools<80' wheel
  pip_install --no-deps --no-build-isolation -r "$requirements"
  printf '%s\n' "$key" >"$venv/.cdp"
fi
[ "${1:-}" != --only-env ] || exit 0

file="${1:-$root/data/slide/demos.hdf5}"
if [ ! -f "$file" ] && [ $# -eq 0 ]; then
  file="$folder/demos/demos.hdf5"
  [ -f "$file" ] || { say "no data/slide/demos.hdf5: recording three demonstrations"; rm -rf "$folder/demos"; cdp demos --episodes 3 --out "$folder/demos" >"$folder/demos.log" 2>&1 || die "see $folder/demos.log"; }
fi
[ -f "$file" ] || die "$file: no such file"
# Nothing of this workspace's environment, and nothing from a hub.
env -i HOME="$folder/home" PATH="/usr/bin:/bin" PYTHONPATH="$root/src/cdp" PYTHONWARNINGS=ignore OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}" HF_HUB_OFFLINE=1 \
  "$venv/bin/python" "$root/tools/check_peers.py" "$(realpath "$file")" "$folder/out"
