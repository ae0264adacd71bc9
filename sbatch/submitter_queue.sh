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
  read_fields "spool/intents/$name"
  begun=${fields[time]:-}
  [[ $begun =~ ^[1-9][0-9]{0,11}$ ]] || return 2
  # An empty answer that is given once proves nothing: while a controller is replaced, one may be.
  if look_for "$name" && [[ ${#hits[@]} -eq 0 ]] && ((now - begun > MLIPILOT_DOUBT_S)) &&
    look_for "$name" && [[ ${#hits[@]} -eq 0 ]]; then
    return 1
  fi
  found=${!hits[*]}
  case ${#hits[@]} in
    1) return 0 ;;
    0) log_once "$name" "in doubt: whether it was submitted is not known yet" ;;
    *) log_once "$name" "in doubt: jobs $found bear this name: end all but one, write spool/receipts/$name yourself" ;;
  esac
  return 2
}

look_for() { # look_for NAME: the jobs of that name, into find_job's `hits`; fails where Slurm does not answer
  local answered=1
  ask_queue squeue -h -t all -r --me "--name=$1" -o '%A|%j' && collect_hits || answered=
  if keeps_accounts; then
    ask_queue sacct -n -P -X "--name=$1" -S "$(date -d "@$((begun - 86400))" +%FT%T)" -o JobIDRaw,JobName &&
      collect_hits || answered=
  fi
  clock
  [[ -n $answered ]]
}

collect_hits() { # the `JOB|NAME` lines of `said`, into find_job's `hits`; anything else is no answer
  local line
  while IFS= read -r line; do
    [[ -n $line ]] || continue
    [[ $line =~ ^([0-9]+)\|(.*)$ && ${BASH_REMATCH[2]} == "$name" ]] || return 1
    hits[${BASH_REMATCH[1]}]=1
  done <<<"$said"
}

# read_rows: the lines `NUMBER|NAME|STATE|WHY|NODES` of `said` that are about jobs of ours, into poll's `fresh`.
# Slurm uses numbers again one day, so a line counts only where number and name agree.
read_rows() {
  local line nodes understood='' strange=''
  local row='^([0-9]+)\|(.*)\|([A-Z_]+)( by [0-9]+)?\|([^|]*)\|([^|]*)$'
  while IFS= read -r line; do
    if [[ $line =~ $row ]]; then
      understood=1
      set -- "${BASH_REMATCH[@]:1}"
      nodes=${6#None assigned}
      [[ ! $2 =~ ^$name_pattern$ || ${job_of[$2]:-} != "$1" ]] || fresh[$2]="$2|$1|$3|$5|$nodes"
    elif [[ -n $line ]]; then
      strange=1
    fi
  done <<<"$said"
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

# One squeue for all jobs, one sacct for those that it does not know (any more). Publishes spool/queue, then ends
# what is to be cancelled. Fails when squeue does not answer: then the old rows stand.
poll() {
  local name old ok answered=1 changed='' state unknown=() listed=()
  local -A fresh=()
  ask_queue squeue -h -t all -r --me -o '%A|%j|%T|%r|%N' && read_rows || answered=
  ok=${answered:-0} listed=("${!fresh[@]}")
  for name in "${!job_of[@]}"; do
    [[ -n ${fresh[$name]:-} ]] || is_over "${row_of[$name]:-}" || unknown+=("${job_of[$name]}")
  done
  if [[ -n $answered ]] && keeps_accounts && [[ ${#unknown[@]} -gt 0 ]]; then
    ask_queue sacct -n -P -X -j "$(IFS=, && echo "${unknown[*]}")" -o JobIDRaw,JobName,State,ExitCode,NodeList &&
      read_rows || ok=0
  fi
  for name in "${!job_of[@]}"; do
    old=${row_of[$name]:-}
    # What is over stays over when Slurm forgets it. Other rows stand only where Slurm did not answer.
    if [[ -z ${fresh[$name]:-} && -n $old ]] && { [[ $ok -eq 0 ]] || is_over "$old"; }; then
      fresh[$name]=$old
    fi
    [[ ${fresh[$name]:-} != "$old" ]] || continue
    changed=1
    state_of "${fresh[$name]:-}"
    log_once "$name" "job ${job_of[$name]} is ${state:-unknown to Slurm}"
  done
  row_of=()
  for name in "${!fresh[@]}"; do row_of["$name"]=${fresh[$name]}; done
  clock
  printf '%s\n' "time=$now accounting=${accounting:-0} ok=$ok" "${row_of[@]}" | publish spool/queue
  news=
  [[ -n $answered && -z $changed ]] || poll_s=$MLIPILOT_POLL_S
  next_poll=$((now + poll_s))
  poll_s=$((poll_s < 3 * MLIPILOT_POLL_S ? poll_s * 2 : 6 * MLIPILOT_POLL_S))
  if [[ -z $answered ]]; then
    silent=1 # who does not answer is not asked for more
    log_once squeue "no answer${complaint:+: ${complaint:0:200}}"
    return 1
  fi
  silent=
  [[ -z ${noted[squeue]:-} ]] || log_once squeue "answers again"
  [[ ${#listed[@]} -eq 0 ]] || end_cancelled "${listed[@]}"
}

end_cancelled() { # end_cancelled NAME…: of the jobs that squeue has just shown, those that are not wanted any more
  local name state
  for name in "$@"; do
    [[ -e spool/cancel/$name ]] || continue
    state_of "${row_of[$name]}"
    [[ $state != COMPLETING && ! $state =~ $over_pattern ]] || continue
    if ask "$MLIPILOT_SLURM_TIMEOUT_S" scancel "${job_of[$name]}"; then
      log "$name: cancelled job ${job_of[$name]}, which was $state"
    else
      log "$name: scancel ${job_of[$name]} failed: ${complaint:0:200}"
    fi
    poll_s=$MLIPILOT_POLL_S next_poll=$((now + MLIPILOT_POLL_S))
  done
}

notice_cancels() { # a new wish to cancel does not wait for the next look at the queue
  local file name
  for file in spool/cancel/*; do
    name=${file##*/}
    [[ $name =~ ^$name_pattern$ && -n ${job_of[$name]:-} && -z ${noted["cancel $name"]:-} ]] || continue
    noted["cancel $name"]=1 next_poll=0
  done
}
