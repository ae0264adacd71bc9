#!/usr/bin/env bash
# Starts a one-node Slurm without systemd, as root: partitions `controller` (the default) and `gpu`, two fake GPUs.
# For testing on a throw-away machine: it writes /etc/slurm. Run install.sh first; a second run changes nothing.
#
#   up.sh [--accounting]    with slurmdbd and MariaDB, which accounting.sh installs where they are missing
#
# State and logs lie in MLIPILOT_CLUSTER_DIR (default: ${TMPDIR:-/tmp}/mlipilot-slurm).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export MLIPILOT_CLUSTER_DIR=${MLIPILOT_CLUSTER_DIR:-${TMPDIR:-/tmp}/mlipilot-slurm}
state=$MLIPILOT_CLUSTER_DIR
mark="# Written by MLIPilot's ci/cluster/up.sh for the cluster in $state"
node=$(hostname -s)

fail() { echo "up.sh: $*" >&2; exit 2; }

case ${1-} in
  '') storage=accounting_storage/none ;;
  --accounting) storage=accounting_storage/slurmdbd ;;
  *) fail "argument '$1' is not known: give --accounting or nothing" ;;
esac
[ "$(id -u)" = 0 ] || fail "user $(id -un) may not start it: run it as root"
command -v slurmctld slurmd munged >/dev/null || fail "Slurm is missing: run $here/install.sh"

if [ -e /etc/slurm/slurm.conf ]; then
  # Whoever has a cluster of their own here keeps it.
  grep -qxF "$mark" /etc/slurm/slurm.conf || fail "/etc/slurm/slurm.conf is of another cluster: move it away, or use another machine"
  if timeout 10 sinfo >/dev/null 2>&1; then
    grep -qx "AccountingStorageType=$storage" /etc/slurm/slurm.conf || fail "the cluster in $state runs with the other kind of accounting: run $here/down.sh first"
    echo "the cluster in $state is up already"
    exit 0
  fi
fi

mkdir -p "$state"/{controller,node,dev} /etc/slurm
for gpu in 0 1; do
  # Slurm counts a GPU only where a character device stands for it: these are further names of /dev/null.
  [ -c "$state/dev/gpu$gpu" ] || mknod -m 666 "$state/dev/gpu$gpu" c 1 3
done
printf '%s\nAutoDetect=off\nName=gpu File=%s/dev/gpu[0-1]\n' "$mark" "$state" >/etc/slurm/gres.conf

# Eight CPUs and 16 GB are claimed whatever the machine has: the tests' jobs mostly wait.
# cred_expire: a requeued job starts after 5 s, not 120.
cat >/etc/slurm/slurm.conf <<CONF
$mark
ClusterName=mlipilot
SlurmctldHost=$node(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
GresTypes=gpu
NodeName=$node NodeAddr=127.0.0.1 Boards=1 SocketsPerBoard=1 CoresPerSocket=8 ThreadsPerCore=1 CPUs=8 RealMemory=16000 Gres=gpu:2
PartitionName=controller Default=YES Nodes=$node MaxTime=1-0 State=UP
PartitionName=gpu Nodes=$node MaxTime=1-0 State=UP
DefMemPerCPU=256
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
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
SlurmdSpoolDir=$state/node
SlurmdPidFile=$state/slurmd.pid
SlurmdLogFile=$state/slurmd.log
CONF

if ! munge --no-input >/dev/null 2>&1; then
  install -d -o munge -g munge -m 755 /run/munge
  runuser -u munge -- munged
  cp /run/munge/munged.pid "$state/munged.pid" # down.sh ends the daemon that was started here, no other
fi
if [ "$storage" = accounting_storage/slurmdbd ]; then
  printf '%s\n' AccountingStorageHost=127.0.0.1 AccountingStorageEnforce=associations,limits,qos >>/etc/slurm/slurm.conf
  "$here/accounting.sh" start
fi
slurmctld -c
slurmd

deadline=$((SECONDS + 15))
while [ "$SECONDS" -lt "$deadline" ]; do
  if [ "$(timeout 5 sinfo --noheader --partition=gpu --format=%T 2>/dev/null)" = idle ]; then
    echo "the cluster in $state is up"
    exit 0
  fi
  sleep 0.1
done
echo "up.sh: node $node did not become idle within 15 s:" >&2
tail -v -n 5 "$state"/slurm*.log >&2
exit 1
