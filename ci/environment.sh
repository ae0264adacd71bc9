# shellcheck shell=bash
# Sourced by the scripts here: a virtual environment with MLIPilot in it, made once and again when
# pyproject.toml changes. Everything else that a machine needs is Python >= 3.11 with venv.
#
#   MLIPILOT_VENV    where it lies (default: .venv in the repository)
#   MLIPILOT_PYTHON  the interpreter to make it with
#
# torch: without a GPU the CPU build is enough, and far smaller. pip takes it wherever its configuration
# (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL, pip.conf) offers torch 2.13.0+cpu.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv=${MLIPILOT_VENV:-$PWD/.venv}
say() { printf '\n== %s\n' "$*"; }

find_python() {
  local candidate
  for candidate in ${MLIPILOT_PYTHON:-} python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  # A bare Debian 12 has Python 3.11 without venv, or no Python: as root we may add it.
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends python3 python3-venv >&2
    echo python3
    return
  fi
  echo "no Python >= 3.11 with venv: install one (Debian: apt-get install python3-venv) or set MLIPILOT_PYTHON" >&2
  exit 2
}

install() { # install EXTRA: `runtime` or `dev`
  local stamp="$venv/.mlipilot-$1" wanted python
  wanted=$(cat pyproject.toml ci/environment.sh | sha256sum | cut -d' ' -f1)
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then return; fi
  python=$(find_python)
  say "installing into $venv with $("$python" --version)"
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0
  case $1 in
    dev) "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]' ;;
    *) "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable . ;;
  esac
  echo "$wanted" >"$stamp"
}
