#!/usr/bin/env bash
# Installs what the tests of devices need on a Debian or Ubuntu machine, and runs them; none is skipped. Extra arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
packages=(libspnav0 libhidapi-hidraw0 umockdev gir1.2-umockdev-1.0 python3-gi)
missing=()
for package in "${packages[@]}"; do dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package"); done
if [ "${#missing[@]}" != 0 ]; then
  sudo=(); [ "$(id -u)" = 0 ] || sudo=(sudo)
  "${sudo[@]}" apt-get update -qq && "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    { echo "check_devices: could not install ${missing[*]}; install them, then run again" >&2; exit 1; }
fi
set +u # colcon's own scripts read variables that are not set
# shellcheck disable=SC1091
. tools/env.sh
python -c 'import pyspacemouse' 2>/dev/null || python -m pip install -qq -r requirements/teleop.txt
CDP_REQUIRE_DEVICES=1 exec python -m pytest src/cdp_teleop_recorder/test/test_devices.py tests/devices -s "$@"
