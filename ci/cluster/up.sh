#!/usr/bin/env bash
# Starts a one-node Slurm without systemd, as root: partitions `controller` (the default) and `gpu`, two fake GPUs.
# For testing on a throw-away machine: it writes /etc/slurm. Run install.sh first; a second run changes nothing.
#
#   up.sh                 the cluster that every test may use
#   up.sh --accounting    with slurmdbd and MariaDB
#   up.sh --faults        for tests that harm their cluster: a second node, partitions `low` and `low-requeue` whose
#                         jobs give way to those of `gpu`, an end to jobs that take more memory than they asked for
#
# State and logs lie in MLIPILOT_CLUSTER_DIR (default: ${TMPDIR:-/tmp}/mlipilot-slurm). A second cluster beside the
# first needs one of its own, and a SLURM_CONF (default: /etc/slurm/slurm.conf) and MLIPILOT_CLUSTER_PORT (the first
# of four, default: 6817); who talks to it needs the same SLURM_CONF. Both options can be given.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export MLIPILOT_CLUSTER_DIR=${MLIPILOT_CLUSTER_DIR:-${TMPDIR:-/tmp}/mlipilot-slurm}
export SLURM_CONF=${SLURM_CONF:-/etc/slurm/slurm.conf}
state=$MLIPILOT_CLUSTER_DIR port=${MLIPILOT_CLUSTER_PORT:-6817}
mark="# Written by MLIPilot's ci/cluster/up.sh for the cluster in $state"
node=$(hostname -s)

fail() { echo "up.sh: $*" >&2; exit 2; }

storage=accounting_storage/none nodes=("$node") faults=
for option in "$@"; do
  case $option in
    --accounting) storage=accounting_storage/slurmdbd ;;
    --faults) nodes+=("$node-2") faults=1 ;;
    *) fail "argument '$option' is not known: give --accounting, --faults or nothing" ;;
  esac
done
[ "$(id -u)" = 0 ] || fail "user $(id -un) may not start it: run it as root"
command -v slurmctld slurmd munged >/dev/null || fail "Slurm is missing: run $here/install.sh"

if [ -e "$SLURM_CONF" ]; then
  # Whoever has a cluster of their own here keeps it.
  grep -qxF "$mark" "$SLURM_CONF" || fail "$SLURM_CONF is of another cluster: move it away, or use another machine"
  if timeout 10 sinfo >/dev/null 2>&1; then
    grep -qx "AccountingStorageType=$storage" "$SLURM_CONF" || fail "the cluster in $state runs with the other kind of accounting: run $here/down.sh first"
    echo "the cluster in $state is up already"
    exit 0
  fi
fi

mkdir -p "$state"/{controller,dev} "${nodes[@]/#/$state/}" "${SLURM_CONF%/*}"
for gpu in 0 1; do
  # Slurm counts a GPU only where a character device stands for it: these are further names of /dev/null.
  [ -c "$state/dev/gpu$gpu" ] || mknod -m 666 "$state/dev/gpu$gpu" c 1 3
done
printf '%s\nAutoDetect=off\nName=gpu File=%s/dev/gpu[0-1]\n' "$mark" "$state" >"${SLURM_CONF%/*}/gres.conf"

# Eight CPUs and 64 GB are claimed whatever the machine has: the tests' jobs mostly wait.
# cred_expire: a requeued job starts after 5 s, not 120.
cat >"$SLURM_CONF" <<CONF
$mark
ClusterName=mlipilot
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
GresTypes=gpu
NodeName=DEFAULT Boards=1 SocketsPerBoard=1 CoresPerSocket=8 ThreadsPerCore=1 CPUs=8 RealMemory=64000 Gres=gpu:2
PartitionName=DEFAULT Nodes=ALL MaxTime=1-0 State=UP PriorityTier=10
PartitionName=controller Default=YES
PartitionName=gpu
DefMemPerCPU=256
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
AccountingStorageType=$storage
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
KillWait=5
MinJobAge=3600
SlurmctldTimeout=30
SlurmdTimeout=30
StateSaveLocation=$state/controller
SlurmctldPidFile=$state/slurmctld.pid
SlurmctldLogFile=$state/slurmctld.log
SlurmdSpoolDir=$state/%n
SlurmdPidFile=$state/slurmd-%n.pid
SlurmdLogFile=$state/slurmd-%n.log
CONF
for name in "${nodes[@]}"; do echo "NodeName=$name NodeHostname=$node NodeAddr=127.0.0.1 Port=$((++port))"; done >>"$SLURM_CONF"
if [ -n "$faults" ]; then
  cat >>"$SLURM_CONF" <<CONF
PartitionName=low PriorityTier=1 PreemptMode=CANCEL
PartitionName=low-requeue PriorityTier=1 PreemptMode=REQUEUE
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherParams=OverMemoryKill
JobAcctGatherFrequency=task=1
CONF
fi

if ! munge --no-input >/dev/null 2>&1; then
  install -d -o munge -g munge -m 755 /run/munge
  runuser -u munge -- munged # the last cluster's down.sh ends it
fi
if [ "$storage" = accounting_storage/slurmdbd ]; then
  export MLIPILOT_ACCOUNTING_PORT=$((${MLIPILOT_CLUSTER_PORT:-6817} + 3))
  printf '%s\n' AccountingStorageHost=127.0.0.1 "AccountingStoragePort=$MLIPILOT_ACCOUNTING_PORT" AccountingStorageTRES=gres/gpu \
    AccountingStorageEnforce=associations,limits,qos >>"$SLURM_CONF"
  "$here/accounting.sh"
fi
slurmctld -c
for name in "${nodes[@]}"; do slurmd -N "$name"; done

deadline=$((SECONDS + 15))
while [ "$SECONDS" -lt "$deadline" ]; do
  if [ "$(timeout 5 sinfo --noheader --partition=gpu --format=%T 2>/dev/null)" = idle ]; then
    echo "the cluster in $state is up"
    exit 0
  fi
  sleep 0.1
done
echo "up.sh: ${nodes[*]} did not become idle within 15 s:" >&2
tail -v -n 5 "$state"/slurm*.log >&2
exit 1
