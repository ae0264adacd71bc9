#!/usr/bin/env bash
# All checks: format, lint, types, the unit suite, then short campaigns end to end with their faults.
#
#   ci/test.sh          all but the sweeps, in about 40 minutes on two idle cores
#   ci/test.sh sweep    the sweeps alone: longer tests of what shorter ones have shown
#
# As root on Debian 12 it also installs a one-node Slurm and Apptainer (ci/cluster), adds an ordinary user, has them
# build the image, and tests with it; elsewhere with what `sinfo` and MLIPILOT_TEST_IMAGE give, and says what is left out.
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 PYTHONHASHSEED=0
unset PYTHONDONTWRITEBYTECODE # hundreds of processes would compile the same files
find_python >/dev/null # on a bare machine it installs one, which the image's build wants, too

cluster='' builder='' desk='' waits=''
clean_up() {
  [ -z "$waits" ] || kill -TERM "$waits" 2>/dev/null || true
  if [ -n "$builder" ]; then
    kill -TERM -- "-$builder" 2>/dev/null || true
    wait "$builder" || true # it writes into what goes now
  fi
  [ -z "$desk" ] || rm -rf "$desk" || true
  [ -z "$cluster" ] || bash ci/cluster/down.sh
}
trap clean_up EXIT

if [ "$(id -u)" = 0 ] && grep -qs '^VERSION_ID="12"' /etc/os-release && grep -qs '^ID=debian' /etc/os-release; then
  say "Slurm and Apptainer"
  bash ci/cluster/install.sh
  if ! sinfo -h >/dev/null 2>&1; then
    bash ci/cluster/up.sh
    cluster=ours
  fi
  bash ci/cluster/user.sh mlipilot-user
  export MLIPILOT_TEST_USER=mlipilot-user # who types what the documents say
fi

if command -v apptainer >/dev/null && [ -z "${MLIPILOT_TEST_IMAGE:-}" ]; then
  log=$(mktemp)
  # Beside what needs no image, for it keeps one core busy most of the time; in a group of its own.
  user=${MLIPILOT_TEST_USER:-$(id -un)}
  desk=$(mktemp -d "$(getent passwd "$user" | cut -d: -f6)/mlipilot-image-XXXXXX")
  chown "$user" "$desk"
  setsid "$(find_python)" -m tests.documents.image "$user" "$desk" >"$log" 2>&1 &
  builder=$!
fi

install dev
if [ "${1:-}" != sweep ]; then
  say "ruff"
  "$venv/bin/ruff" format --check .
  "$venv/bin/ruff" check .
  say "mypy --strict"
  "$venv/bin/mypy"
  say "unit tests, and beside them those of batch scripts and processes"
  # The latter mostly wait for a shell or a clock: they have many workers, which need not import what the others compute with.
  near=("$venv/bin/pytest" --dist loadgroup --durations=15)
  waiting=(tests/containers tests/jobs tests/sbatch)
  waited=$(mktemp) failed=
  "${near[@]}" -n 8 -m "processes and not (slow or cluster or sweep)" "${waiting[@]}" >"$waited" 2>&1 &
  waits=$!
  "${near[@]}" -n 3 -m "not (processes or slow or cluster or sweep)" "${waiting[@]/#/--ignore=}" || failed=1
  wait "$waits" || failed=1
  waits=
  cat "$waited"
  rm -f "$waited"
  [ -z "$failed" ]
fi

if [ -n "$builder" ]; then
  say "the image"
  wait "$builder" || { cat "$log" && exit 1; }
  builder=
  MLIPILOT_TEST_IMAGE=$(tail -n 1 "$log")
  export MLIPILOT_TEST_IMAGE
  rm -f "$log"
fi

say "end-to-end tests"
# Tests wait half of their time, for Slurm and for the next look at it: five at a time keep two cores busy.
marks="(slow or cluster) and not sweep" workers=5
[ "${1:-}" != sweep ] || marks=sweep workers=3
"$venv/bin/pytest" -n "$workers" --dist loadgroup -m "$marks" --durations=15 -rs
