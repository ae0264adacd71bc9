# The submitter's looks at Slurm's queue, sourced by submitter.sh: one answer for all jobs, and the end of some.
# shellcheck shell=bash disable=SC2034,SC2154  # the three files share their variables

over_pattern='^(BOOT_FAIL|CANCELLED|COMPLETED|DEADLINE|FAILED|LAUNCH_FAILED|NODE_FAIL|OUT_OF_MEMORY|PREEMPTED|REVOKED|TIMEOUT)$'

# ask_queue COMMAND…: an empty answer beside a complaint is none, whatever the exit status.
ask_queue() {
  ask "$MLIPILOT_SLURM_TIMEOUT_S" "$@" && [[ -n $said || $complaint != *error:* ]]
}

# find_job NAME: what became of a submission in doubt. 0: it is job `found`; 1: proven none; 2: not known yet.
find_job() {
  local name=$1 file begun
  local -A hits=()
  for file in "spool/started/$name".*; do
    [[ ${file#"spool/started/$name."} =~ ^[0-9]+$ ]] || continue # of a longer name, or not whole yet
    read_fields "$file"
    [[ ! ${fields[job_id]:-} =~ ^$job_pattern ]] || hits[${BASH_REMATCH[0]}]=1
  done
  # Without an intent there is no sbatch of ours that may still arrive. Its age is by the file system's clock.
  begun=$(stat -c %Y "spool/intents/$name" 2>/dev/null) || begun=1
  # An empty answer that is given once proves nothing: while a controller is replaced, one may be.
  if "look_for_$MLIPILOT_ENGINE" "$name" && [[ ${#hits[@]} -eq 0 ]] && file_clock && ((now - begun > MLIPILOT_DOUBT_S)) &&
    "look_for_$MLIPILOT_ENGINE" "$name" && [[ ${#hits[@]} -eq 0 ]]; then
    return 1
  fi
  clock
  found=${!hits[*]}
  case ${#hits[@]} in
    1) return 0 ;;
    0) wait_for "$name" "in doubt: whether it was submitted is not known yet" ;;
    *) wait_for "$name" "in doubt: jobs $found bear this name: end all but one" ;;
  esac
  return 2
}

state_of() { # state_of ROW: sets `state`
  state=${1#*|*|}
  state=${state%%|*}
}

is_over() { # is_over ROW: whether Slurm has done with that job
  local state
  state_of "$1"
  [[ $state =~ $over_pattern ]]
}

# One answer of the engine's for all jobs. Publishes spool/queue, then ends what is to be cancelled. Fails where there
# is no answer: then the old rows stand.
poll() {
  local name old answered=1 changed='' state listed=()
  local -A fresh=()
  seen=()
  "list_$MLIPILOT_ENGINE" || answered=
  clock
  for name in "${!job_of[@]}"; do
    old=${row_of[$name]:-}
    # What is over stays over when Slurm forgets it. Other rows stand only where Slurm did not answer.
    if [[ -z ${fresh[$name]:-} && -n $old ]] && { [[ $queue_ok -eq 0 ]] || is_over "$old"; }; then
      fresh[$name]=$old
    fi
    [[ ${fresh[$name]:-} != "$old" ]] || continue
    changed=1 since_of["$name"]=$now
    state_of "${fresh[$name]:-}"
    if [[ $state =~ $over_pattern ]]; then over["$name"]=1; else unset "over[$name]"; fi
    log_once "$name" "job ${job_of[$name]} is ${state:-not known any more}"
  done
  row_of=()
  for name in "${!fresh[@]}"; do row_of["$name"]=${fresh[$name]}; done
  queue_time=$now polls=$((polls + 1))
  restore_spool
  restore_receipts
  restore_settled
  [[ -z $answered ]] || fold_settled
  publish_queue
  news=
  [[ -n $answered && -z $changed$more_to_fold ]] || poll_s=$MLIPILOT_POLL_S
  next_poll=$((now + poll_s))
  poll_s=$((poll_s < 3 * MLIPILOT_POLL_S ? poll_s * 2 : 6 * MLIPILOT_POLL_S))
  if [[ -z $answered ]]; then
    silent=1 # who does not answer is not asked for more
    log_once "${of_queue[$MLIPILOT_ENGINE]}" "no answer${complaint:+: $complaint}"
    return 1
  fi
  silent=
  [[ -z ${noted[${of_queue[$MLIPILOT_ENGINE]}]:-} ]] || log_once "${of_queue[$MLIPILOT_ENGINE]}" "answers again"
  [[ ${#listed[@]} -eq 0 ]] || end_cancelled "${listed[@]}"
}

# The first line, then `NAME|NUMBER|STATE|WHY|NODES|SINCE` a job. A request that waits for its submission has no
# number, and the state UNSUBMITTED. All times are of this host's clock.
publish_queue() {
  local name
  {
    printf '%s\n' "time=$queue_time accounting=${accounting:-0} ok=$queue_ok poll=$generation.$polls"
    for name in "${!row_of[@]}"; do printf '%s|%s\n' "${row_of[$name]}" "${since_of[$name]:-}"; done
    for name in "${!why_not[@]}"; do
      [[ -z ${why_not[$name]} ]] || printf '%s||UNSUBMITTED|%s||%s\n' "$name" "${why_not[$name]:0:600}" "${since_of[$name]:-}"
    done
  } | publish spool/queue && unpublished=
  [[ -L spool/news ]] || { : >spool/news; } 2>/dev/null # for the controllers, which look at this one file
}
queue_time=0 queue_ok=0 polls=0

end_cancelled() { # end_cancelled NAME…: of the jobs that squeue has just shown, those that are not wanted any more
  local name state
  for name in "$@"; do
    [[ -e spool/cancel/$name ]] || continue
    state_of "${row_of[$name]}"
    [[ $state != COMPLETING && ! $state =~ $over_pattern ]] || continue
    if end_job "$name"; then
      log "$name: cancelled job ${job_of[$name]}, which was $state"
    else
      # Another user's job is theirs to end, or an operator's.
      log_once "cancel of $name" "ending job ${job_of[$name]} failed: $complaint"
    fi
    poll_s=$MLIPILOT_POLL_S next_poll=$((now + MLIPILOT_POLL_S))
    [[ -n ${noted["ended $name"]:-} ]] || noted["ended $name"]=1 next_poll=$((now + 3)) # whoever cancels waits for it
  done
}

notice_cancels() { # a new wish to cancel does not wait for the next look at the queue
  local file name
  for file in spool/cancel/*; do
    name=${file##*/}
    [[ -n $name && -n ${job_of[$name]:-} && -z ${noted["cancel $name"]:-} ]] || continue
    noted["cancel $name"]=1 next_poll=0
  done
}
