# The submitter's looks at Slurm's queue, sourced by submitter.sh: one answer for all jobs, and the end of some.
# shellcheck shell=bash disable=SC2034,SC2154  # the three files share their variables

over_pattern='^(BOOT_FAIL|CANCELLED|COMPLETED|DEADLINE|FAILED|LAUNCH_FAILED|NODE_FAIL|OUT_OF_MEMORY|PREEMPTED|REVOKED|TIMEOUT)$'
accounting= # 1 or 0 once Slurm said whether it keeps accounts

# ask_queue COMMAND…: an empty answer beside a complaint is none, whatever the exit status.
ask_queue() {
  ask "$MLIPILOT_SLURM_TIMEOUT_S" "$@" && [[ -n $said || $complaint != *error:* ]]
}

# Whether sacct is to be asked: unless Slurm has said that it keeps no accounts. Silence is no such word.
keeps_accounts() {
  if [[ -z $accounting ]]; then
    if ! command -v sacct >/dev/null; then
      accounting=0
    elif ask_queue sacct -n -P -X -S now -o JobIDRaw; then
      accounting=1
    elif [[ $complaint == *'accounting storage is disabled'* ]]; then
      accounting=0
    fi
  fi
  [[ $accounting != 0 ]]
}

# find_job NAME: what became of a submission in doubt. 0: it is job `found`; 1: proven none; 2: not known yet.
find_job() {
  local name=$1 file begun
  local -A hits=()
  for file in "spool/started/$name".*; do
    [[ ${file#"spool/started/$name."} =~ ^[0-9]+$ ]] || continue # of a longer name, or not whole yet
    read_fields "$file"
    [[ ! ${fields[job_id]:-} =~ ^[0-9]+ ]] || hits[${BASH_REMATCH[0]}]=1
  done
  # Without an intent there is no sbatch of ours that may still arrive. Its age is by the file system's clock.
  begun=$(stat -c %Y "spool/intents/$name" 2>/dev/null) || begun=1
  # An empty answer that is given once proves nothing: while a controller is replaced, one may be.
  if look_for "$name" && [[ ${#hits[@]} -eq 0 ]] && file_clock && ((now - begun > MLIPILOT_DOUBT_S)) &&
    look_for "$name" && [[ ${#hits[@]} -eq 0 ]]; then
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

look_for() { # look_for NAME: the jobs of that name, into find_job's `hits`; fails where Slurm does not answer
  local answered=1
  # Of all users: another one of the group may have served the run before.
  ask_queue squeue -h -a -t all -r "--name=$1" -o '%A|%j|%o' && collect_hits || answered=
  if keeps_accounts; then
    ask_queue sacct -n -P -X "--name=$1" -S "$(date -d "@$((begun > 86400 ? begun - 86400 : 0))" +%FT%T)" -o JobIDRaw,JobName &&
      collect_hits || answered=
  fi
  clock
  [[ -n $answered ]]
}

# The `JOB|NAME` or, of squeue, `JOB|NAME|COMMAND` lines of `said`, into find_job's `hits`; anything else is no answer.
# A copy of a run that goes on makes the same names: whose job it is stands in the command.
collect_hits() {
  local line
  while IFS= read -r line; do
    [[ -n $line ]] || continue
    [[ $line =~ ^([0-9]+)\|([^|]*)(\|(.*))?$ && ${BASH_REMATCH[2]} == "$name" ]] || return 1
    [[ -n ${BASH_REMATCH[3]} && " ${BASH_REMATCH[4]} " != *" $run "* ]] || hits[${BASH_REMATCH[1]}]=1
  done < <(lines_of "$said")
}

# read_rows: the lines `NUMBER|NAME|STATE|WHY|NODES`, of squeue with `|COMMAND`, of `said` that are about jobs of ours, into poll's `fresh`.
# Slurm uses numbers again one day, so a line counts only where number and name agree.
read_rows() {
  local line name nodes lines understood='' strange=''
  local row='^([0-9]+)\|([^|]*)\|([A-Z_]+)( by [0-9]+)?\|([^|]*)\|([^|]*)(\|.*)?$'
  split_lines "$said"
  for line in "${lines[@]}"; do
    name=${line#*|} name=${name%%|*}
    if [[ -n $name && ${told_of[$name]:-} == "$line" && -n ${row_of[$name]:-} ]]; then # as most of them
      understood=1 fresh[$name]=${row_of[$name]}
    elif [[ $line =~ $row ]]; then
      understood=1
      set -- "${BASH_REMATCH[@]:1}"
      nodes=${6#None assigned}
      is_name "$2" || continue
      [[ " ${7#|} " != *" $run "* ]] || seen[$2]=$1
      [[ ${job_of[$2]:-} != "$1" ]] || fresh[$2]="$2|$1|$3|$5|$nodes" told_of[$2]=$line
    else
      strange=1
    fi
  done
  [[ -n $understood || -z $strange ]] # a text in which no line is about a job is no answer
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

row_format='%A|%j|%T|%r|%N|%o'
# One squeue for all jobs, one sacct for those that it does not know (any more). Publishes spool/queue, then ends
# what is to be cancelled. Fails when squeue does not answer: then the old rows stand.
poll() {
  local name old answered=1 changed='' state unknown=() listed=()
  local -A fresh=()
  seen=()
  ask_queue squeue -h -t all -r --me -o "$row_format" && read_rows || answered=
  queue_ok=${answered:-0} listed=("${!fresh[@]}")
  for name in "${!job_of[@]}"; do
    [[ -n ${fresh[$name]:-} ]] || is_over "${row_of[$name]:-}" || unknown+=("${job_of[$name]}")
  done
  if [[ -n $answered && ${#unknown[@]} -gt 0 ]]; then # another user of the group may have submitted them
    # Of a single number that it does not know squeue makes an error; of two it lists those that it knows.
    ask_queue squeue -h -a -t all -r -j "$(IFS=, && echo "${unknown[*]},${unknown[0]}")" -o "$row_format" && read_rows || queue_ok=0
    listed=("${!fresh[@]}")
  fi
  if [[ -n $answered ]] && keeps_accounts && [[ ${#unknown[@]} -gt 0 ]]; then
    ask_queue sacct -n -P -X -j "$(IFS=, && echo "${unknown[*]}")" -o JobIDRaw,JobName,State,ExitCode,NodeList &&
      read_rows || queue_ok=0
  fi
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
    log_once "$name" "job ${job_of[$name]} is ${state:-unknown to Slurm}"
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
    log_once squeue "no answer${complaint:+: $complaint}"
    return 1
  fi
  silent=
  [[ -z ${noted[squeue]:-} ]] || log_once squeue "answers again"
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
    if ask "$MLIPILOT_SLURM_TIMEOUT_S" scancel "${job_of[$name]}"; then
      log "$name: cancelled job ${job_of[$name]}, which was $state"
    else
      # Another user's job is theirs to end, or an operator's.
      log_once "cancel of $name" "scancel ${job_of[$name]} failed: $complaint"
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
