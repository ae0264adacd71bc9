# shellcheck shell=bash disable=SC2154  # campaign.sh, which sources this, sets `run`, `root`, `lineage`, `script`, `this`
# What takes over when this job ends before its lineage does: the user's own job once more, whatever that was. Its
# options are read from this job, its script is the one that Slurm runs here, and it waits for this job's end.
#
# It is submitted as jobs are (submitter_submissions.sh): an intent, sbatch, a receipt, in one file a controller's job.

successor=             # the number of the job that waits
gave_way=              # set where the limit of submitted jobs has no place for it beside the lineage's jobs
successor_at=0         # when to try again, in SECONDS
successor_wait_s=5     # and how long until the time after that
declare -A own=()      # what Slurm says of this job
successor_options=()   # and the same as sbatch's words
successor_arguments=() # of the script
submitted_as=          # its path, where that is known
scratch=$run/spool/.stderr.$this

read_own_job() { # into `own`, by Slurm's names. In the lines of some fields a value may hold blanks: they go to the end
  local line word words
  call 60 "$scratch" scontrol show job "$this" || return
  while IFS= read -r line; do
    line=${line#"${line%%[! ]*}"}
    line=${line%"${line##*[! ]}"}
    case $line in
      JobId=*) own[JobName]=${line#*JobName=} ;;
      Command=* | WorkDir=* | Comment=* | StdErr=* | StdOut=*) own[${line%%=*}]=${line#*=} ;;
      *)
        read -r -a words < <(lines_of "$line")
        for word in "${words[@]}"; do [[ $word != *=* ]] || own[${word%%=*}]=${word#*=}; done
        ;;
    esac
  done < <(lines_of "$said")
  [[ -n ${own[JobName]:-} ]]
}

is_given() { [[ ! ${own[$1]:-} =~ ^(|0|N/A|NONE|None|Unknown|Partition_Limit|\(null\))$ ]]; }

plan_successor() { # from `own`
  local pair key
  local of_name=${own[JobName]:-${SLURM_JOB_NAME:-}}
  own[WCKey]=${own[WCKey]:-}
  own[WCKey]=${own[WCKey]#\*} # so Slurm marks that it is the default one
  successor_options=(${of_name:+"--job-name=$of_name"} --open-mode=append)
  for pair in account=Account qos=QOS partition=Partition reservation=Reservation wckey=WCKey time=TimeLimit \
    constraint=Features licenses=Licenses nodelist=ReqNodeList exclude=ExcNodeList nice=Nice comment=Comment \
    mail-user=MailUser mail-type=MailType chdir=WorkDir cpus-per-task=CPUs/Task mem=MinMemoryNode \
    mem-per-cpu=MinMemoryCPU tmp=MinTmpDiskNode switches=Switches; do
    key=${pair#*=}
    ! is_given "$key" || successor_options+=("--${pair%%=*}=${own[$key]}")
  done
  for key in TresPerNode=gres TresPerJob=gpus TresPerTask=gpus-per-task TresPerSocket=gpus-per-socket \
    MemPerTres=mem-per-gpu; do
    pair=$(generic_resources "${own[${key%%=*}]:-}")
    [[ ${key#*=} == gres ]] || pair=${pair//gpu[:=]/}
    [[ -z $pair ]] || successor_options+=("--${key#*=}=$pair")
  done
  [[ ${own[MinMemoryNode]:-} != 0 ]] || successor_options+=(--mem=0) # all of a node's
  for key in ntasks=NumTasks nodes=NumNodes; do
    [[ ! ${own[${key#*=}]:-} =~ ^([2-9]|[1-9][0-9]+)$ ]] || successor_options+=("--${key%%=*}=${own[${key#*=}]}")
  done
  case ${own[OverSubscribe]:-} in
    NO) successor_options+=(--exclusive) ;;
    USER | MCS) successor_options+=("--exclusive=${own[OverSubscribe],,}") ;;
    YES) successor_options+=(--oversubscribe) ;;
  esac
  case ${own[Requeue]:-} in
    0) successor_options+=(--no-requeue) ;;
    1) successor_options+=(--requeue) ;;
  esac
  add_log output StdOut
  [[ ${own[StdErr]:-} == "${own[StdOut]:-}" ]] || add_log error StdErr
  [[ -z ${SLURM_ARRAY_TASK_ID:-} ]] || successor_options+=("--array=$lineage")
  read_arguments
}

generic_resources() { # generic_resources TRES: of gres:gpu:1, of later releases gres/gpu=1, cpu=2, what is no cpu
  local entry entries found=()
  read -r -a entries < <(lines_of "${1//,/ }")
  for entry in "${entries[@]}"; do
    [[ ! $entry =~ ^gres[:/](.+)$ && ! $entry =~ ^(gpu[:=/].+)$ ]] || found+=("${BASH_REMATCH[1]/=/:}")
  done
  (IFS=, && printf '%s' "${found[*]}")
}

add_log() { # add_log OPTION KEY: the pattern of a log's name, in whose end this job's numbers stand
  local name=${own[$2]:-} end
  is_given "$2" || return 0
  if [[ ! $name =~ %[0-9]*[AaJjNnstuUx] ]]; then # of later releases, that do not fill the pattern in
    end=${name##*/} name=${name%"${name##*/}"}
    name=${name//'%'/%%} end=${end//'%'/%%}
    if [[ -n ${SLURM_ARRAY_JOB_ID:-} ]]; then
      end=$(put_last "$end" "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" %A_%a)
    else
      end=$(put_last "$end" "$SLURM_JOB_ID" %j)
    fi
    name+=$end
  fi
  successor_options+=("--$1=$name")
}

put_last() { # put_last TEXT OLD NEW: NEW for the last OLD
  if [[ $1 == *"$2"* ]]; then printf '%s' "${1%"$2"*}$3${1##*"$2"}"; else printf '%s' "$1"; fi
}

read_arguments() { # sets `submitted_as` to the path in Slurm's Command=, whatever blanks are in it, and what follows it
  local command=${own[Command]:-}
  submitted_as=$command
  while [[ -n $submitted_as && ! -f $submitted_as ]]; do
    [[ $submitted_as == *' '* ]] || submitted_as=' '
    submitted_as=${submitted_as% *}
  done
  [[ -z $submitted_as ]] || read -r -a successor_arguments < <(lines_of "${command#"$submitted_as"}")
}

shown_script() { # the user's name of it, for messages
  local path=${submitted_as:-$script}
  [ -z "$MLIPILOT_CAMPAIGN_FILE" ] || path=$MLIPILOT_CAMPAIGN_FILE
  printf '%s' "${path#"$root"/}"
}

# A record is a line of canonical JSON, and its kind stands in the end of that. No text in its body can hold such an end:
# there every quote is escaped.
record_of() { # record_of KINDS: the expression that the ends of their records match
  local sha256='"[0-9a-f]{64}"'
  printf '%s' ",\"hash\":$sha256,\"kind\":\"($1)\",\"prev\":$sha256,\"seq\":[0-9]+,\"time\":\"[^\"]*\"\}\$"
}

count_progress() { # how many records of the ledger say that the lineage got on
  LC_ALL=C grep -aE "$(record_of '[a-z_]+')" "$run/lineage-$lineage/ledger.jsonl" 2>/dev/null |
    LC_ALL=C grep -acvE "$(record_of 'resumed|paused|ledger_repaired|cancelled|heard|endpoint_probed')"
}

ended_for_a_while() { # whether the lineage's last word is a pause that time or another start can mend
  local pause
  pause="^\{\"body\":\{\"mends_by_itself\":true[,}].*$(record_of paused)"
  [[ $(tail -n 1 "$run/lineage-$lineage/ledger.jsonl" 2>/dev/null) =~ $pause ]]
}

check_generations() { # a lineage that does not get on is not carried on for ever
  local most=3
  progress=$(count_progress) idle=0
  [[ $MLIPILOT_LEDGER_RECORDS != "$progress" ]] || idle=$((MLIPILOT_IDLE_GENERATIONS + 1))
  ! ended_for_a_while || most=24
  [ "$idle" -le "$most" ] ||
    fail "$most controllers in a row got no further with $run/lineage-$lineage: \`mlipilot status $run\` says why; then sbatch $(shown_script) again"
}

record=spool/successors/lineage-$lineage.$this

begin_successor() { # before any work
  local file
  mkdir -p "$run/spool/successors"
  for file in "$run/spool/successors/lineage-$lineage".*; do # this job waits no more
    ! is_this_job "$file" || rm -f "$file"
  done
  check_generations
  plan_successor
  queue_successor
}

queue_successor() { # one try
  local job='' verdict='' status name file=$script
  # By the user's own name, unless it stands for something else by now.
  [[ -z $submitted_as ]] || ! cmp -s "$submitted_as" "$script" || file=$submitted_as
  if [[ -e $run/$record ]]; then # an intent, or the receipt of this job before it was requeued
    find_successor || {
      try_later "in doubt: Slurm does not say whether it was queued"
      return
    }
    [[ -z $successor ]] || {
      note_successor
      return
    }
  fi
  (cd "$run" && printf 'time=%(%s)T\n' -1 | publish "$record") || return
  local scrubbed=(env)
  for name in $(compgen -e); do
    case $name in SLURM_CONF) ;; SLURM_* | SBATCH_* | SRUN_*) scrubbed+=(-u "$name") ;; esac
  done
  scrubbed+=("MLIPILOT_LEDGER_RECORDS=$progress" "MLIPILOT_IDLE_GENERATIONS=$idle"
    "MLIPILOT_CAMPAIGN_FILE=$(shown_script)")
  call 60 "$scratch" "${scrubbed[@]}" sbatch --parsable "${successor_options[@]}" "--dependency=afterany:$this" \
    "$file" "${successor_arguments[@]}"
  status=$?
  classify_answer "$status"
  case $verdict in
    submitted)
      successor=$job
      note_successor
      ;;
    unsure) try_later "in doubt: $said $complaint" ;;
    *)
      rm -f "$run/$record"
      try_later "$complaint"
      ;;
  esac
}

find_successor() { # sets `successor`, empty where there is none; fails where Slurm does not say
  local line recorded others=
  read_fields "$run/$record"
  recorded=${fields[job_id]:-}
  call 60 "$scratch" env -u SQUEUE_FORMAT -u SQUEUE_STATES squeue -h --me -r -o '%A|%T|%E' || return
  [[ -n $said ]] || return # this job itself has to be listed
  successor=
  while IFS= read -r line; do
    [[ ! $line =~ ^([0-9]+)\|[A-Z_]+\|(.*,)?afterany:"$this"(\(|,|$) ]] || successor=${BASH_REMATCH[1]}
    [[ $line != "$recorded|PENDING|"* ]] || others=$recorded
  done < <(lines_of "$said")
  if [[ -z $successor && -n $others ]]; then # it was told to wait for jobs, and then Slurm started this one again
    successor=$others
    wait_for_this_job
  fi
}

wait_for_this_job() { # of the successor
  call 60 "$scratch" scontrol update "jobid=$successor" "dependency=afterany:$this" ||
    say "warning: job $successor does not wait for this one: $complaint"
}

note_successor() {
  (cd "$run" && printf '%s\n' "job_id=$successor" "name=${own[JobName]:-}" | publish "$record")
  say "job $successor takes over if this one ends early"
}

try_later() { # try_later WHY
  say "warning: no successor could be queued (next try in $successor_wait_s s): $1"
  successor_at=$((SECONDS + successor_wait_s))
  successor_wait_s=$((successor_wait_s < 300 ? successor_wait_s * 4 : 900))
}

keep_successor() { # now and then, while the controller works
  if [[ -e $run/spool/full && -n $successor ]]; then
    rm -f "$run/spool/full"
    gave_way=1
    say "the site's limit of submitted jobs leaves the lineage's jobs no place beside job $successor, which gives way;" \
      "another one is queued when this job's time is nearly over"
    cancel_successors
  elif [[ -z $successor && -z $gave_way ]] && ((SECONDS >= successor_at)); then
    queue_successor
  fi
}

# The last chance, on Slurm's signal before the time limit: where the limit still has no place, this job itself is
# put back into the queue, which adds none.
replace_successor() {
  [[ -n $gave_way && -n $warned ]] || return 0
  gave_way='' successor_wait_s=5
  queue_successor
  [[ -n $successor ]] || {
    say "this job itself goes back into the queue"
    call 60 "$scratch" scontrol requeue "$this" || say "warning: it could not: $complaint"
  }
}

is_this_job() { # is_this_job RECEIPT: the array that this task belongs to was such a job once
  read_fields "$1" && [[ ${fields[job_id]:-} == "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}" ]]
}

cancel_successors() { # all that the lineage's controllers have queued and that wait still
  local file job
  for file in "$run/spool/successors/lineage-$lineage".*; do
    read_fields "$file" || continue
    job=${fields[job_id]:-}
    if [[ -n $job ]] && ! is_this_job "$file"; then
      call 60 "$scratch" scancel --state=PENDING ${fields[name]:+"--name=${fields[name]}"} "$job" ||
        say "warning: job $job, a successor, could not be cancelled: $complaint"
    fi
    rm -f "$file"
  done
  successor=
}

delay_successor() { # what was paused is tried again after a while that grows
  local wait_min=$((idle < 6 ? 1 << idle : 60))
  call 60 "$scratch" scontrol update "jobid=$successor" "starttime=now+${wait_min}minutes" ||
    say "warning: job $successor begins at once: $complaint"
  say "paused: job $successor goes on in $wait_min min, as time may have mended what stood in the way"
}
