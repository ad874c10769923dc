#!/usr/bin/env bash
# Prints what docker/compose.yaml has to know of this machine, and makes the folders that it mounts: docker/host_env.sh >docker/.env
# Again after a reboot: the kernel numbers the device class hidraw anew.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
# Docker would make them as root.
mkdir -p "$root/data" "$root/runs"
printf 'USER_UID=%s\nUSER_GID=%s\n' "$(id -u)" "$(id -g)"
for group in video input plugdev; do
  # A group that this machine lacks gives no rights to be passed on: the user's own stands in its place.
  printf '%s_GID=%s\n' "${group^^}" "$(getent group "$group" | cut -d: -f3 | grep . || id -g)"
done
major="$(awk '$2 == "hidraw" { print $1; exit }' /proc/devices)"
printf 'HIDRAW_MAJOR=%s\n' "${major:-13}" # 13: the input devices, allowed anyhow
printf 'ROBOT_IP=%s\n' "${ROBOT_IP:-172.16.0.2}"
