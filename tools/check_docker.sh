#!/usr/bin/env bash
# Dockerfiles by hadolint, their scripts by shellcheck, compose files by the Compose specification's schema and by
# Docker Compose, and every apt and rosdep name by its index.
# In an environment of its own: runs/docker/venv. What needs a network and finds none is skipped, and says so.
#   tools/check_docker.sh                    everything
#   tools/check_docker.sh --rosdistro DIR    rosdep's rules from a checkout of github.com/ros/rosdistro instead of the network
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
folder="$root/runs/docker"
venv="$folder/venv"
requirements="$root/requirements/docker/requirements.txt"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() { printf 'check-docker: %s\n' "$*"; }

python="$root/.venv/bin/python"
[ -x "$python" ] || python="${PYTHON:-python3}"
key="$("$python" -V) $(sha256sum <"$requirements")"
if [ "$(cat "$venv/.cdp" 2>/dev/null)" != "$key" ]; then
  say "making $venv (80 MB)"
  rm -rf "$venv"
  mkdir -p "$folder"
  env -u PYTHONPATH "$("$python" -c 'import sys; print(sys._base_executable)')" -m venv "$venv"
  env -u PYTHONPATH "$venv/bin/python" -m pip install -qq -r "$requirements"
  printf '%s\n' "$key" >"$venv/.cdp"
fi

cd "$root"
status=0
"$venv/bin/hadolint" --no-color docker/Dockerfile.robot docker/Dockerfile.ci && say "Dockerfiles: hadolint has nothing to say" || status=1
"$venv/bin/shellcheck" --severity warning docker/*.sh tools/check_docker.sh && say "scripts: shellcheck has nothing to say" || status=1
"$venv/bin/check-jsonschema" --quiet --builtin-schema vendor.compose-spec docker/compose*.yaml && say "compose files: as the Compose specification has them" || status=1
# What Docker Compose itself makes of them; `config` needs no Docker.
docker/host_env.sh >"$folder/env"
composed=0
for files in "-f docker/compose.yaml" "-f docker/compose.yaml -f docker/compose.cuda.yaml" "-f docker/compose.ci.yaml"; do
  # shellcheck disable=SC2086  # a list of options
  "$venv/bin/docker-compose" --env-file "$folder/env" --profile tools $files config --quiet || composed=1
done
[ "$composed" = 0 ] && say "compose files: as Docker Compose has them" || status=1
env -u PYTHONPATH PATH="$venv/bin:$PATH" "$venv/bin/python" tools/check_names.py "$@" || status=1
exit "$status"
