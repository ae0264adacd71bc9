# shellcheck shell=bash
# Sourced by the scripts here: a virtual environment with MLIPilot in it, made once and again when pyproject.toml or
# a lock file changes. Everything else that a machine needs is a Python of the lock files, with venv, on Linux x86-64.
#
#   MLIPILOT_VENV    where it lies (default: .venv in the repository)
#   MLIPILOT_PYTHON  the interpreter to make it with
#
# pip resolves nothing here: it takes what containers/requirements-*.lock name, as the images do, and no file of
# another SHA-256. torch: without a GPU the CPU build is enough, and far smaller. It is taken where pip's configuration
# (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL, pip.conf) offers it and its lock file is for this Python.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv=${MLIPILOT_VENV:-$PWD/.venv}
locks=containers
# shellcheck source-path=SCRIPTDIR source=../containers/pinned.sh
source "$locks/pinned.sh"
say() { printf '\n== %s\n' "$*"; }
stop() { # stop STATUS WORD…
  printf '%s\n' "${*:2}" >&2
  exit "$1"
}

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }
pythons_of() { sed -n '1s/.* for Python \(.*\) on .*/\1/p' "$locks/requirements-$1.lock"; } # pythons_of VARIANT
is_locked() { [[ ", $(pythons_of "$1"), " == *", $2, "* ]]; }                               # is_locked VARIANT VERSION

unlocked() { # unlocked WHAT: what is left then is no choice for a script
  stop 2 "$1: the lock files are for Python $(pythons_of cuda) on Linux x86_64. Install one of these with venv (Debian: apt-get" \
    "install python3-venv), or set MLIPILOT_PYTHON. Without the lock files, by hand: python3 -m venv .venv &&" \
    ".venv/bin/pip install --editable . takes what the index has today"
}

find_python() {
  local candidate
  for candidate in ${MLIPILOT_PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import venv, ensurepip' 2>/dev/null && is_locked cuda "$(version_of "$candidate")"; then
      echo "$candidate"
      return
    fi
  done
  [ -z "${MLIPILOT_PYTHON:-}" ] || unlocked "MLIPILOT_PYTHON=$MLIPILOT_PYTHON"
  # A bare Debian 12 has Python 3.11 without venv, or no Python: as root we may add it.
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends python3 python3-venv >&2
    if is_locked cuda "$(version_of python3)"; then
      echo python3
      return
    fi
  fi
  unlocked "no Python that will do"
}

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

choose_torch() { # choose_torch VERSION: `cpu`, or `cuda` and why it is not the small one
  local cpu
  cpu=$(sed -n 's/^torch==\([^ ]*\) .*/\1/p' "$locks/requirements-cpu.lock")
  if ! is_locked cpu "$1"; then
    echo "torch $cpu is locked for Python $(pythons_of cpu) alone: taking the default build, with CUDA, of some 3 GB" >&2
  elif [[ " $(pip index versions torch 2>/dev/null)," != *" $cpu,"* ]]; then
    echo "pip is offered no torch $cpu: taking the default build, with CUDA, of some 3 GB" >&2
  else
    echo cpu
    return
  fi
  echo cuda
}

install() { # install EXTRA: `runtime` or `dev`
  local stamp="$venv/.mlipilot-$1" wanted python version names said
  wanted=$(cat pyproject.toml ci/environment.sh "$locks"/{pinned.sh,requirements-*.lock} | sha256sum | cut -d' ' -f1)
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then return; fi
  [ "$(uname -sm)" = "Linux x86_64" ] || unlocked "this is $(uname -sm)"
  if [ ! -x "$venv/bin/python" ]; then
    python=$(find_python)
    "$python" -m venv "$venv"
  fi
  version=$(version_of "$venv/bin/python") || stop 2 "$venv has a Python that does not start: remove it"
  is_locked cuda "$version" || unlocked "$venv has Python $version"
  say "installing into $venv with Python $version"
  install_builders "$venv" "$locks" || stop 1 "pip did not install what $locks/requirements-build.lock names: see its words above"
  names=("$locks/requirements-$(choose_torch "$version").lock")
  [ "$1" != dev ] || names+=("$locks/requirements-dev.lock")
  pip install --quiet --no-deps --no-build-isolation --require-hashes "${names[@]/#/-r}" ||
    stop 1 "pip did not install what ${names[*]} name: see its words above"
  pip install -qq --no-deps --no-build-isolation --editable . # -q would show how setuptools warns of editable installations
  said=$(pip check) || stop 1 "$said" "$venv has packages that do not fit together: remove it and begin again"
  echo "$wanted" >"$stamp"
}
