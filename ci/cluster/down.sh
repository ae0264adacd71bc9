#!/usr/bin/env bash
# Stops the cluster that up.sh started: jobs left over are cancelled, then the daemons end. As root, on the
# throw-away machine where it runs for tests. Logs stay in MLIPILOT_CLUSTER_DIR; a second run changes nothing.
# A second cluster is named as for up.sh: by MLIPILOT_CLUSTER_DIR and SLURM_CONF.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export MLIPILOT_CLUSTER_DIR=${MLIPILOT_CLUSTER_DIR:-${TMPDIR:-/tmp}/mlipilot-slurm}
export SLURM_CONF=${SLURM_CONF:-/etc/slurm/slurm.conf}
state=$MLIPILOT_CLUSTER_DIR
mark="# Written by MLIPilot's ci/cluster/up.sh for the cluster in $state"

# end NAME [FILE]: the daemon of that pid file, if the pid is still its own.
end() {
  local pid file=${2:-$state/$1.pid}
  pid=$(cat "$file" 2>/dev/null) || return 0
  rm -f "$file"
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ] || return 0
  kill "$pid"
  for _ in {1..100}; do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -KILL "$pid"
}

if ! grep -sqxF "$mark" "$SLURM_CONF"; then
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
for file in "$state"/slurmd*.pid; do end slurmd "$file"; done
end slurmctld
[ "$SLURM_CONF" != /etc/slurm/slurm.conf ] || "$here/accounting.sh" stop
grep -sqx slurmctld /proc/[0-9]*/comm || end munged # another cluster may use it
# Without these, Slurm's commands say at once that there is no cluster instead of looking for it.
rm -f "$SLURM_CONF" "${SLURM_CONF%/*}/gres.conf"
echo "the cluster in $state is down"
