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

# shellcheck source-path=SCRIPTDIR source=daemons.sh
source "$here/daemons.sh"
all=(slurmd slurmctld slurmdbd mariadbd)

is_up() { grep -sqxF "$mark" "$SLURM_CONF"; }

if ! is_up && [ -z "$(for name in "${all[@]}"; do daemons "$name" "$state"; done)" ]; then
  echo "no cluster in $state is up"
  exit 0
fi
jobs=()
! is_up || mapfile -t jobs < <(timeout 10 squeue --noheader --format=%A 2>/dev/null | sort -u)
if [ ${#jobs[@]} -gt 0 ]; then
  echo "cancelling ${#jobs[@]} jobs left over"
  timeout 30 scancel "${jobs[@]}" || true
  for _ in {1..150}; do
    [ -n "$(timeout 10 squeue --noheader 2>/dev/null)" ] || break
    sleep 0.1
  done
fi
for name in "${all[@]}"; do
  mapfile -t pids < <(daemons "$name" "$state")
  end "${pids[@]}"
done
if ! grep -sqx slurmctld /proc/[0-9]*/comm; then # another cluster may use it, whichever has started it
  mapfile -t pids < <(daemons munged)
  end "${pids[@]}"
fi
# Without these, Slurm's commands say at once that there is no cluster instead of looking for it.
if is_up || [ ! -e "$SLURM_CONF" ]; then
  rm -f "$SLURM_CONF" "${SLURM_CONF%/*}"/{gres,slurmdbd}.conf
fi
echo "the cluster in $state is down"
