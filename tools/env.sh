# Source me: `. tools/env.sh` puts ROS 2, the virtual environment and the built workspace on the paths.
# Works in bash and zsh, from any directory, more than once, and does not change shell options.
_cdp_root="$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")/.." && pwd -P)"
if [ -n "${ZSH_VERSION:-}" ]; then _cdp_shell=zsh; else _cdp_shell=bash; fi
_cdp_underlay=
for _cdp_distro in jazzy kilted rolling; do
  if [ -f "/opt/ros/$_cdp_distro/setup.$_cdp_shell" ]; then
    _cdp_underlay="/opt/ros/$_cdp_distro"
    . "$_cdp_underlay/setup.$_cdp_shell"
    break
  fi
done
case ":${PYTHONPATH:-}" in
  *:/opt/ros/humble/*) printf 'env.sh: ROS 2 Humble is sourced in this shell and would be imported; it is not supported: begin in a shell without it (~/.bashrc)\n' >&2 ;;
esac
# A workspace of yours to lay this one over, for example franka_ros2: CDP_UNDERLAY=<workspace>/install.
if [ -n "${CDP_UNDERLAY:-}" ] && [ -n "$_cdp_underlay" ]; then . "$CDP_UNDERLAY/local_setup.$_cdp_shell"; fi
if [ -z "$_cdp_underlay" ]; then
  # ROS 2 from wheels: the virtual environment is the underlay.
  export ROS_DISTRO=jazzy ROS_VERSION=2 ROS_PYTHON_VERSION=3
  export AMENT_PREFIX_PATH="$_cdp_root/.venv" CMAKE_PREFIX_PATH="$_cdp_root/.venv"
fi
if [ -f "$_cdp_root/.venv/bin/activate" ]; then . "$_cdp_root/.venv/bin/activate"; fi
if [ -f "$_cdp_root/install/local_setup.$_cdp_shell" ]; then
  . "$_cdp_root/install/local_setup.$_cdp_shell"
else
  printf 'env.sh: the workspace is not built yet: run `make build`, then source this file again\n' >&2
fi
# Two 640x480 cameras lose half their frames on the default shared-memory segment; the profiles enlarge it. Nodes find those of this machine only,
# or, with `export CDP_NETWORK_ADDRESS=<this machine's address on the lab's network>` before, those of the machines on that network too.
case "${FASTRTPS_DEFAULT_PROFILES_FILE:-}" in
  "" | "$_cdp_root/config/fastdds.xml" | "$_cdp_root/config/fastdds_network.xml")
    if [ -n "${CDP_NETWORK_ADDRESS:-}" ]; then
      export FASTRTPS_DEFAULT_PROFILES_FILE="$_cdp_root/config/fastdds_network.xml" ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET
    else
      export FASTRTPS_DEFAULT_PROFILES_FILE="$_cdp_root/config/fastdds.xml"
    fi
    ;;
esac
export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
unset _cdp_root _cdp_distro _cdp_shell _cdp_underlay
