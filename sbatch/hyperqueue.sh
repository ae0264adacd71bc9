# shellcheck shell=bash disable=SC2154  # common.sh and allocation.sh set what is read
# Has the nodes of this Slurm job run a run's jobs by HyperQueue, whose server engine_hq.sh keeps:
#
#   hyperqueue.sh RUN            beside a submitter, such as a campaign's (MLIPILOT_ENGINE=hq)
#   hyperqueue.sh --serve RUN    with a submitter of its own, until nothing is to do for a while: hyperqueue.sbatch
#   hyperqueue.sh --join RUN SERVER SECONDS MEMORY_MIB [IDLE_S]    on each node
#
# On the host it needs bash, coreutils, Slurm's commands and hq.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=settings.sh
source "${BASH_SOURCE[0]%/*}/settings.sh"
# shellcheck source-path=SCRIPTDIR source=common.sh
source "${BASH_SOURCE[0]%/*}/common.sh"
# shellcheck source-path=SCRIPTDIR source=slurm.sh
source "${BASH_SOURCE[0]%/*}/slurm.sh"
# shellcheck source-path=SCRIPTDIR source=allocation.sh
source "${BASH_SOURCE[0]%/*}/allocation.sh"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) || exit 2
mode=
case ${1-} in --serve | --join) mode=$1 && shift ;; esac
run=$(cd "${1:?a run is expected: hyperqueue.sh RUN}" && pwd -P) || exit 2

# A job finds what a login shell has, and its GPUs: what the campaign's file exports is not for the jobs' eyes.
join_server() { # join_server SERVER SECONDS MEMORY_MIB IDLE_S: this node's worker, in place of this shell
  local name clean=() words=(--detect-resources=none "--cpus=$SLURM_CPUS_ON_NODE" --manager=none --on-server-lost=stop)
  [ -z "$2" ] || words+=("--time-limit=${2}s")
  [ "$3" = 0 ] || words+=("--resource=mem=sum($3)")
  [ -z "${4:-}" ] || words+=("--idle-timeout=${4}s")
  [ -z "${CUDA_VISIBLE_DEVICES:-}" ] || words+=("--resource=gpus/nvidia=[$CUDA_VISIBLE_DEVICES]")
  for name in HOME USER LOGNAME SHELL PATH LANG LC_ALL TMPDIR XDG_RUNTIME_DIR SLURMD_NODENAME \
    BASH_ENV MODULESHOME MODULEPATH LMOD_PKG LMOD_CMD; do
    [ -z "${!name:-}" ] || clean+=("$name=${!name}")
  done
  cd / && exec env -i "${clean[@]}" hq --server-dir="$run/spool/hq-$1" worker start "${words[@]}"
}

leave_another_server() { # leave_another_server SERVER PID: end the workers when it is not the run's any more: it may hang
  trap - TERM USR2 INT
  while sleep 2; do
    read_fields "$run/spool/hq" || continue
    [ "${fields[server]:-}" = "$1" ] || break
  done
  kill -TERM "$2" 2>/dev/null
}

keep_joined() { # until asked to end: the nodes join whichever server serves the run
  local server joined='' left_s step=() began worker watch
  read_allocation "$SLURM_JOB_ID" /dev/stderr || fail "Slurm does not say what job $SLURM_JOB_ID is: $complaint"
  if [ "$memory_mib" != 0 ]; then
    memory_mib=$((memory_mib - controller_mib))
    [ "$memory_mib" -gt 0 ] ||
      fail "this allocation has no memory for jobs, beside $controller_mib MiB a node for who serves: ask for more"
  fi
  [ "$nodes" = 1 ] || step=(srun "--nodes=$nodes" --ntasks-per-node=1 "--cpus-per-task=$SLURM_CPUS_ON_NODE" --mem=0
    --overlap --kill-on-bad-exit=0)
  until [ -n "$early" ]; do
    read_fields "$run/spool/hq"
    server=${fields[server]:-}
    left_s=${end_s:+$((end_s - $(date +%s) - 240))} # the campaign is told to end 180 s before the limit
    if [[ $server =~ ^[0-9]+(\.[0-9]+)?$ && -r $run/spool/hq-$server/hq-current/access.json && ${left_s:-1} -gt 0 ]]; then
      [ "$server" = "$joined" ] || say "$nodes node(s) join HyperQueue's server $server${left_s:+ for $left_s s}"
      joined=$server began=$SECONDS
      "${step[@]}" bash "$here/hyperqueue.sh" --join "$run" "$server" "$left_s" "$memory_mib" "${idle_s:-}" &
      worker=$!
      leave_another_server "$server" "$worker" &
      watch=$!
      await_child "$worker"
      kill "$watch" 2>/dev/null && wait "$watch"
      say "HyperQueue's workers have ended with status $status"
      [ -z "${idle_s:-}" ] || [ "$status" != 0 ] || ((SECONDS - began < idle_s)) || return 0 # nothing was to do
    fi
    [ -n "$early" ] || sleep 1
  done
}

if [ "$mode" = --join ]; then
  join_server "${@:2}"
  exit
fi
: "${SLURM_JOB_ID:?this script runs as a Slurm job}"
if [ "$mode" = --serve ]; then
  load_modules "$MLIPILOT_MODULES"
  export MLIPILOT_ENGINE=hq
  idle_s=$MLIPILOT_HQ_IDLE_S
  (
    trap 'asked=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM
    asked='' child=''
    until [ -n "$asked" ]; do
      bash "$here/submitter.sh" "$run" &
      child=$!
      wait "$child"
      case $? in 0 | 2) break ;; esac # it was to end, or what it was given is wrong
      [ -n "$asked" ] || sleep 5
    done
    wait
    kill -TERM $$ 2>/dev/null # without a submitter there is nothing to join
  ) &
  submitter=$!
fi
keep_joined
if [ "$mode" = --serve ]; then
  kill -TERM "$submitter" 2>/dev/null
  wait "$submitter"
fi
exit 0
