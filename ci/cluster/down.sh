#!/usr/bin/env bash
# Stops the cluster that up.sh started: jobs left over are cancelled, then the daemons end. As root, on the
# throw-away machine where it runs for tests. Logs stay in MLIPILOT_CLUSTER_DIR; a second run changes nothing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export MLIPILOT_CLUSTER_DIR=${MLIPILOT_CLUSTER_DIR:-${TMPDIR:-/tmp}/mlipilot-slurm}
state=$MLIPILOT_CLUSTER_DIR
mark="# Written by MLIPilot's ci/cluster/up.sh for the cluster in $state"

# end NAME: the daemon of that pid file, if the pid is still its own.
end() {
  local pid
  pid=$(cat "$state/$1.pid" 2>/dev/null) || return 0
  rm -f "$state/$1.pid"
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ] || return 0
  kill "$pid"
  for _ in {1..100}; do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -KILL "$pid"
}

if ! grep -sqxF "$mark" /etc/slurm/slurm.conf; then
  echo "no cluster in $state is up"
  exit 0
fi
mapfile -t jobs < <(timeout 10 squeue --noheader --format=%A 2>/dev/null | sort -u)
if [ ${#jobs[@]} -gt 0 ]; then
  echo "cancelling ${#jobs[@]} jobs left over"
  timeout 30 scancel "${jobs[@]}" || true
  for _ in {1..150}; do
    [ -n "$(timeout 10 squeue --noheader 2>/dev/null)" ] || break
    sleep 0.1
  done
fi
end slurmd
end slurmctld
"$here/accounting.sh" stop
end munged
# Without these, Slurm's commands say at once that there is no cluster instead of looking for it.
rm -f /etc/slurm/{slurm,gres}.conf
echo "the cluster in $state is down"
