# What the submitter asks of Slurm, sourced by submitter.sh. An engine builds a submission (`build_…`) and reads its answer
# (`classify_…`), looks up all jobs (`list_…`) or those of one name (`look_for_…`), ends one (`end_…`), and says what is
# to wait (`hold_…`); `begin_…` and `finish_…` frame its service. Jobs that Slurm was given stay Slurm's under any engine.
# shellcheck shell=bash disable=SC2034,SC2154  # the submitter's files share their variables

accounting= # 1 or 0 once Slurm said whether it keeps accounts

begin_slurm() { :; }
finish_slurm() { :; }
hold_slurm() { return 1; } # Slurm knows of dependencies, and of what fits nowhere
build_slurm() { build_command "$1"; }
classify_slurm() { classify_answer "$1"; }
end_slurm() { ask "$MLIPILOT_SLURM_TIMEOUT_S" scancel "${job_of[$1]}"; }

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

look_for_slurm() { # look_for_slurm NAME: the jobs of that name, into find_job's `hits`; fails where Slurm does not answer
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
    [[ -n ${BASH_REMATCH[3]} && " ${BASH_REMATCH[4]} " != *" $run "* ]] || hits["${BASH_REMATCH[1]}"]=1
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
      understood=1 fresh["$name"]=${row_of[$name]}
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

row_format='%A|%j|%T|%r|%N|%o'
# One squeue for all jobs, one sacct for those that it does not know (any more).
list_slurm() { # into poll's `fresh` and `listed`; fails when squeue does not answer
  local name unknown=() answered=1
  ask_queue squeue -h -t all -r --me -o "$row_format" && read_rows || answered=
  queue_ok=${answered:-0} listed=("${!fresh[@]}")
  for name in "${!job_of[@]}"; do
    if [[ -n ${fresh[$name]:-} ]] || is_over "${row_of[$name]:-}"; then
      continue
    elif [[ ${job_of[$name]} != hq-* ]]; then
      unknown+=("${job_of[$name]}")
    elif [[ $MLIPILOT_ENGINE == slurm ]]; then # the run has left HyperQueue
      fresh["$name"]="$name|${job_of[$name]}|REVOKED|its allocation is not served any more|"
    fi
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
  [[ -n $answered ]]
}
