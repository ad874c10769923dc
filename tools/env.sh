# Source me: `. tools/env.sh` puts ROS 2, the virtual environment and the built workspace on the paths.
# Works in bash and zsh, from any directory, and does not change shell options.
_cdp_root="$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")/.." && pwd)"
for _cdp_distro in jazzy kilted rolling humble; do
  if [ -f "/opt/ros/$_cdp_distro/setup.bash" ]; then . "/opt/ros/$_cdp_distro/setup.bash"; break; fi
done
if [ -z "${ROS_DISTRO:-}" ]; then
  # ROS 2 from wheels: the virtual environment is the underlay.
  export ROS_DISTRO=jazzy ROS_VERSION=2 ROS_PYTHON_VERSION=3
  export AMENT_PREFIX_PATH="$_cdp_root/.venv" CMAKE_PREFIX_PATH="$_cdp_root/.venv"
fi
[ -f "$_cdp_root/.venv/bin/activate" ] && . "$_cdp_root/.venv/bin/activate"
[ -f "$_cdp_root/install/local_setup.bash" ] && . "$_cdp_root/install/local_setup.bash"
# Two 640x480 cameras lose half their frames on the default shared-memory segment; the profile enlarges it.
export FASTRTPS_DEFAULT_PROFILES_FILE="${FASTRTPS_DEFAULT_PROFILES_FILE:-$_cdp_root/config/fastdds.xml}"
export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
unset _cdp_root _cdp_distro
