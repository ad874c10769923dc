#!/usr/bin/env bash
# Runs bringup.launch.py with franka_ros2 itself against franka-sim, a server of libfranka's protocol that enforces the robot's limits: docs/robot.md.
#   DURATION=60 tools/check_franka_ros2.sh      seconds of the robot's time for the policy's motion; extra arguments go to pytest
# Needs ROS 2 under /opt/ros with the joint trajectory controller, and franka_ros2 in CDP_UNDERLAY. Nothing is installed into .venv: the server lies
# in runs/libfranka.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
folder="$root/runs/libfranka"

say() { printf 'check-franka-ros2: %s\n' "$*"; }
die() { printf 'check-franka-ros2: %s\n' "$*" >&2; exit 1; }

for package in franka_bringup joint_trajectory_controller ros2controlcli; do
  ros2 pkg prefix "$package" >/dev/null 2>&1 ||
    die "package '$package' is not found: install what docs/install.md names for the robot PC, and 'export CDP_UNDERLAY=<franka_ros2's workspace>/install'"
done
. "$root/tools/libfranka_environment.sh"
make_environment "$folder" "$root/requirements/franka-sim/requirements.txt"
export CDP_FRANKA_SIM="$folder/server/bin/run-franka-sim-server" CDP_CHECK_FRANKA_ROS2=1
CDP_DURATION="${DURATION:-60}" exec python -m pytest "$root/tests/franka_ros2" -s --basetemp="$folder/logs" "$@"
