# shellcheck shell=bash
# What a campaign's sbatch file does once its site block is read: campaign.sh SCRIPT RUN CAMPAIGN.yaml [OPTION…]
#
# Checks the image, queues its own successor, starts the submitter beside it and runs the controller of this
# task's lineage inside the image. On the host it needs bash, coreutils, Slurm's commands and Apptainer or SingularityCE.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=settings.sh
source "${BASH_SOURCE[0]%/*}/settings.sh"
# shellcheck source-path=SCRIPTDIR source=common.sh
source "${BASH_SOURCE[0]%/*}/common.sh"
# shellcheck source-path=SCRIPTDIR source=slurm.sh
source "${BASH_SOURCE[0]%/*}/slurm.sh"
# shellcheck source-path=SCRIPTDIR source=owner.sh
source "${BASH_SOURCE[0]%/*}/owner.sh"
# shellcheck source-path=SCRIPTDIR source=image.sh
source "${BASH_SOURCE[0]%/*}/image.sh"
script=${1:?a campaign starts it: campaign.sh SCRIPT RUN CAMPAIGN.yaml} run=${2:?the run is missing}
shift 2
case $MLIPILOT_SUBMIT in
  here | login) ;;
  *) fail "MLIPILOT_SUBMIT='$MLIPILOT_SUBMIT' in $script: jobs are submitted from \`here\` or from a \`login\` node" ;;
esac

case $MLIPILOT_ENGINE in
  slurm | hq) ;;
  *) fail "MLIPILOT_ENGINE='$MLIPILOT_ENGINE' in $script: jobs are run by slurm, or by hq (HyperQueue)" ;;
esac

lineage=${SLURM_ARRAY_TASK_ID:-$MLIPILOT_LINEAGE} # where arrays are not to be had, each lineage is submitted by itself
warned= # set by Slurm's signal before the time limit
trap 'warned=1; end_early' USR2
root=$PWD
mkdir -p "$run" || exit 2
run=$(cd "$run" && pwd -P)
[[ $root$run != *[:,\\]* ]] || fail "a container cannot be given $root and $run: no colon, comma or backslash may be in them"

load_modules "$MLIPILOT_MODULES"
[ "$MLIPILOT_ENGINE" != hq ] || [ "$MLIPILOT_SUBMIT" != here ] || command -v hq >/dev/null ||
  fail "MLIPILOT_ENGINE=hq, but HyperQueue's program hq is not on the PATH: put it there, or its module into MLIPILOT_MODULES"
need_container
only_own_containers

# The image that is here now is the run's for good: its jobs refuse any other.
[ -n "$MLIPILOT_IMAGE" ] || MLIPILOT_IMAGE=containers/mlipilot-cpu.sif # where containers/build.sh puts it
image=$(realpath -- "$MLIPILOT_IMAGE")
[ -f "$image" ] && [ -r "$image" ] ||
  fail "there is no image at $MLIPILOT_IMAGE: containers/README.md says how to build it"
say "hashing $image"
hash_image
recorded=$run/image.sha256
if [ -e "$recorded" ]; then
  [ "$(cat "$recorded")" = "$digest" ] || fail "the run was begun with another image ($(cat "$recorded")); this one is $digest"
else
  printf '%s\n' "$digest" >"$recorded.$$" && mv "$recorded.$$" "$recorded"
fi
check_signature
export MLIPILOT_IMAGE=$image MLIPILOT_IMAGE_SHA256=$digest

if [ -n "$MLIPILOT_ENDPOINT" ]; then # the submitter queues it when the first lineage asks for it
  model=$(realpath -e -- "$MLIPILOT_ENDPOINT" 2>/dev/null) || fail "there is no model at MLIPILOT_ENDPOINT=$MLIPILOT_ENDPOINT"
  [ ! -d "$model" ] || [ -r "$MLIPILOT_ENDPOINT_IMAGE" ] ||
    fail "vLLM serves the directory $model: set MLIPILOT_ENDPOINT_IMAGE to its image (docs/pilots.md)"
  export MLIPILOT_ENDPOINT=$model
  [ -z "$MLIPILOT_ENDPOINT_IMAGE" ] || MLIPILOT_ENDPOINT_IMAGE=$(realpath -- "$MLIPILOT_ENDPOINT_IMAGE")
fi
# Which lineages were submitted together: a successor, an array of one task, has it from the environment.
export MLIPILOT_LINEAGES=${MLIPILOT_LINEAGES:-${SLURM_ARRAY_TASK_MIN:-$lineage}-${SLURM_ARRAY_TASK_MAX:-$lineage}}

# Nobody asked for a successor, or for a job that Slurm started again: they leave a cancelled lineage alone.
unattended=()
[ -z "$MLIPILOT_LEDGER_RECORDS${SLURM_RESTART_COUNT:-}" ] || unattended=(--unattended)

judge_owner # before anything is queued: another job may carry the lineage
[ -z "$early" ] || exit 143 # asked to end before there was anything to take over
# shellcheck source-path=SCRIPTDIR source=successor.sh
source "${BASH_SOURCE[0]%/*}/successor.sh"
# shellcheck source-path=SCRIPTDIR source=hand_back.sh
source "${BASH_SOURCE[0]%/*}/hand_back.sh"
mkdir -p "$run/spool"
read_own_job || say "warning: Slurm does not say with which options this job was submitted: $complaint"
# The lineage's jobs are charged as this one, unless the site's block says otherwise.
! is_given Account || (cd "$run" && printf '%s\n' "${own[Account]}" | publish spool/account)

submitter='' submitter_at=0 submitter_step_s=1 submitter_begun=0
heard='' heard_at=0
is_stuck() { # whether the heartbeat, ours or that of who serves in our place, stands still; looked at now and then
  local beat=''
  ((SECONDS % 30 == 0)) || return 1
  { IFS= read -r -d '' beat <"$run/spool/submitter"; } 2>/dev/null
  [ "$beat" = "$heard" ] || heard=$beat heard_at=$SECONDS
  ((SECONDS - (heard_at > submitter_begun ? heard_at : submitter_begun) > 600))
}

keep_submitter() { # start it, and again when it has ended
  if [ -n "$submitter" ]; then
    if kill -0 "$submitter" 2>/dev/null; then
      is_stuck || return 0
      say "warning: the submitter has not shown itself for ten minutes, and is ended"
      kill -KILL "$submitter" 2>/dev/null
    fi
    wait "$submitter"
    local ended=$?
    submitter=
    [ ! -e "$run/spool/stop" ] || return 0
    ((SECONDS - submitter_begun < 300)) || submitter_step_s=1
    say "warning: the submitter ended with status $ended; it starts again in $submitter_step_s s"
    submitter_at=$((SECONDS + submitter_step_s))
    submitter_step_s=$((submitter_step_s < 60 ? submitter_step_s * 2 : 60))
  fi
  ((SECONDS >= submitter_at)) && [ ! -e "$run/spool/stop" ] || return 0
  submitter_begun=$SECONDS
  bash sbatch/submitter.sh "$run" &
  submitter=$!
}

workers=
if [ "$MLIPILOT_SUBMIT" = here ]; then
  begin_successor
  if [ "$MLIPILOT_ENGINE" = hq ]; then # the nodes of this very job
    bash sbatch/hyperqueue.sh "$run" &
    workers=$!
  fi
else
  say "jobs are submitted where \`sbatch/submitter.sh --once $run\` runs; after the time limit, sbatch $(shown_script) again"
fi

hand_back_s=$MLIPILOT_HAND_BACK_S
# Without a successor there is nobody to take over; and HyperQueue's jobs run within this very job.
[[ $MLIPILOT_SUBMIT == here && $MLIPILOT_ENGINE == slurm ]] || hand_back_s=0
start_controller() { # start_controller OPTION…
  (
    mapfile -t of_campaign < <(own_variables "$@")
    # shellcheck disable=SC2086  # several names are several words
    pass_on MLIPILOT_IMAGE_SHA256 MLIPILOT_ENDPOINT MLIPILOT_LINEAGES "${of_endpoints[@]}" "${of_campaign[@]}" $MLIPILOT_PASS
    give_inside MLIPILOT_HAND_BACK_S "$hand_back_s"
    tell_controller
    exec "$container" --silent exec "${apart[@]}" \
      --bind "$root:$root:ro" --bind "$run:$run" --pwd "$root" --env MPLCONFIGDIR=/tmp "$image" \
      mlipilot run "$@" --set jobs.backend=slurm --set "name=${run##*/}" --run-dir "${run%/*}" \
      --lineage "$lineage" --go-on "${unattended[@]}"
  ) &
  controller=$!
  child=$controller
  [ -z "$early" ] || kill -TERM "$controller" 2>/dev/null # the signal was quicker
}

exec {never}<> <(:)
waits= # set once the successor waits for the jobs instead
while :; do
  start_controller "$@"
  while kill -0 "$controller" 2>/dev/null; do
    if [ "$MLIPILOT_SUBMIT" = here ] && [ -z "$early" ]; then
      keep_submitter
      keep_successor
    fi
    read -r -t 1 -u "$never"
  done
  await_child "$controller"
  [ "$status" -eq "$handed_back" ] && [ -z "$early" ] || break
  if hand_back; then
    waits=1
    break
  fi
  [ -z "$early" ] || break
  # This job goes on as if there were no handing back; somebody may have cancelled the lineage meanwhile.
  hand_back_s=0 unattended=(--unattended)
done

if [ -n "$submitter" ]; then
  kill -TERM "$submitter" 2>/dev/null
  for ((ticks = 0; ticks < 15; ticks++)); do
    kill -0 "$submitter" 2>/dev/null || break
    read -r -t 1 -u "$never"
  done
  if kill -KILL "$submitter" 2>/dev/null; then # it hangs: the successor's would wait for it, and for its lock
    { IFS= read -r holder <"$run/spool/submitter.lock/owner"; } 2>/dev/null
    [[ ${holder:-} != *"host=$(uname -n) pid=$submitter "* ]] || rm -rf "$run/spool/submitter.lock"
  fi
  wait "$submitter"
fi
[ -z "$workers" ] || { kill -TERM "$workers" 2>/dev/null && wait "$workers"; }
goes_on=
if [ -n "$waits" ]; then
  say "handed back: job $successor goes on with lineage $lineage when one of its jobs (${awaited[*]}) ends"
  rm -f "$scratch"
  exit 0
elif [ -n "$early" ]; then
  replace_successor
  goes_on=$successor
elif [ -n "$successor" ]; then
  # A signal that the kernel sent, such as for want of memory, is no end of the lineage.
  if [ "$status" -eq 75 ] && ended_for_a_while; then
    delay_successor
    goes_on=$successor
  elif [ "$status" -gt 128 ]; then
    goes_on=$successor
  fi
fi
[ -n "$goes_on" ] || [ "$MLIPILOT_SUBMIT" != here ] || cancel_successors
rm -f "$scratch"
say "the controller of lineage $lineage ended with status $status${early:+, before its time}${goes_on:+: job $goes_on goes on}"
exit "$status"
