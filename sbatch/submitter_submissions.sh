# The submitter's work, sourced by submitter.sh: requests to receipts, and the queue's answer for all of them.
#
# No job is submitted twice: the intent is on disk before sbatch is called, the receipt after it answered. An
# intent without a receipt is a doubt, and only Slurm's own word that it has no job of that name ends it.
# shellcheck shell=bash disable=SC2034,SC2154  # the three files share their variables

job_pattern='([0-9]+|hq-[0-9]+(\.[0-9]+)?-[0-9]+)' # of Slurm's, or of HyperQueue's: engine_hq.sh
declare -A engine_name=([slurm]=Slurm [hq]=HyperQueue) of_queue=([slurm]=squeue [hq]=hq)
name_pattern='mlp-[0-9a-f]{16}-[a-z0-9][a-z0-9.-]{0,80}'

hex4='[0-9a-f][0-9a-f][0-9a-f][0-9a-f]'
is_name() { # is_name WORD: the same, many times faster
  # shellcheck disable=SC2053  # it is a pattern
  [[ ${#1} -le 102 && $1 == mlp-$hex4$hex4$hex4$hex4-[a-z0-9]* && ${1:21} != *[!a-z0-9.-]* ]]
}

declare -A settled=()    # requests with a receipt
declare -A job_of=()     # the job's number, of those submitted
declare -A row_of=()     # the job's last known line of spool/queue, and since when it is so:
declare -A since_of=()
declare -A told_of=()    # the line of Slurm's answer that it was made of
declare -A seen=()       # jobs of all names that a request may have, in the queue's last answer
declare -A known_none=() # requests of which it is certain that no job exists, though there is an intent
declare -A not_before=() # when to look at a request again
declare -A waits_for=()  # the request whose receipt another one needs
declare -A noted=()      # what has been logged or noticed once
declare -A why_not=()    # what a request without a receipt waits for, as spool/queue says it
declare -A refused=()    # the reason of those that were rejected
declare -A open=()       # requests that have no receipt yet
remade=0                 # when the spool was made anew, by the file system's clock
unpublished=             # something is said of a request that spool/queue does not say yet
news=                    # something was submitted since the last look at the queue
hold_until=0             # no submissions before: the site's limit of queued jobs is reached
silent=                  # 1 while Slurm does not answer
next_poll=0 poll_s=$MLIPILOT_POLL_S

log_once() { # log_once NAME WORDS: not again until something else is said of it
  [[ ${noted[$1]:-} == "$2" ]] || log "$1: $2"
  noted[$1]=$2
}
end_job() { # end_job NAME: whoever has the job
  if [[ ${job_of[$1]} != hq-* ]]; then end_slurm "$1"; else end_hq "$1"; fi
}
ask() { # ask SECONDS COMMAND…: one Slurm command, into `said` and `complaint`
  beat
  call "$1" "$lock/stderr" "${@:2}"
}

# What job.sh needs to know on the node. Batch scripts are copied by Slurm, so what they share lies in the run.
publish_site() {
  local image=$MLIPILOT_IMAGE digest=$MLIPILOT_IMAGE_SHA256 file
  for file in settings.sh container.sh common.sh job.sh endpoint.sh; do
    [[ ! -f $sbatch_dir/$file ]] || publish "spool/$file" <"$sbatch_dir/$file" || return
  done
  if [[ -z $image$MLIPILOT_PYTHON ]]; then
    [[ -e spool/site.env || ! -e spool/job.sh ]] ||
      usage_error "neither MLIPILOT_IMAGE nor MLIPILOT_PYTHON is set: set what the jobs of $run are to run with"
    return 0
  fi
  if [[ -n $image ]]; then
    [[ $image == /* && -f $image && -r $image ]] || usage_error "MLIPILOT_IMAGE='$image' is no absolute path of a readable image"
    [[ -n $digest ]] || { read -r digest <image.sha256; } 2>/dev/null
    [[ $digest =~ ^[0-9a-f]{64}$ ]] ||
      usage_error "MLIPILOT_IMAGE_SHA256='$digest' is no SHA-256, nor is one in $run/image.sha256: set it to the image's"
  fi
  printf '%s\n' "image=$image" "image_sha256=$digest" "modules=$MLIPILOT_MODULES" "python=$MLIPILOT_PYTHON" \
    "endpoint=$MLIPILOT_ENDPOINT" "endpoint_image=$MLIPILOT_ENDPOINT_IMAGE" \
    "endpoint_options=$MLIPILOT_ENDPOINT_OPTIONS" "endpoint_wait_s=$MLIPILOT_ENDPOINT_WAIT_S" \
    "endpoint_idle_s=$MLIPILOT_ENDPOINT_IDLE_S" "hash_always=$MLIPILOT_HASH_ALWAYS" | publish spool/site.env
}

load_state() { # what earlier submitters of this run left
  local file line lines name
  load_settled
  for file in spool/receipts/*; do
    [[ -z ${folded[${file##*/}]:-} ]] || continue
    read_fields "$file"
    # One that somebody emptied is none: Slurm is asked.
    [[ ${fields[status]:-} == submitted && ${fields[job_id]:-} =~ ^$job_pattern$ || ${fields[status]:-} == rejected ]] || continue
    settled[${file##*/}]=1
    if [[ ${fields[status]} == rejected ]]; then
      refused[${file##*/}]=${fields[reason]:-}
    else
      job_of[${file##*/}]=${fields[job_id]}
    fi
  done
  { mapfile -t -s 1 lines <spool/queue; } 2>/dev/null || return 0
  clock
  for line in "${lines[@]}"; do
    [[ $line =~ ^([^|]+)\|[^|]+\|[^|]*\|[^|]*\|[^|]*(\|([0-9]+))?$ ]] || continue
    name=${BASH_REMATCH[1]}
    is_name "$name" && [[ -z ${folded[$name]:-} ]] || continue
    since_of[$name]=$now # what another host's clock said means nothing here
    [[ $last_host != "$host" ]] || since_of[$name]=${BASH_REMATCH[3]:-}
    row_of[$name]=${line%"${BASH_REMATCH[2]}"}
    ! is_over "$line" || over["$name"]=1
  done
}

# A spool that somebody deleted comes again, and with it requests of jobs that Slurm has had for long: those that are
# older than the spool are in doubt, though they have no intent. The file system's clock says what is older.
mark_spool() { # sets `remade` to when the spool was seen to be another one than the run began with, or cut; else to 0
  local token='' size noted_size
  { IFS= read -r token <spool/.token; } 2>/dev/null
  read_fields .spool
  remade=${fields[remade]:-0} noted_size=${fields[settled]:-0}
  [[ $remade =~ ^[1-9][0-9]{0,14}$ ]] || remade=0 # arithmetic would carry out what is no number
  [[ $noted_size =~ ^[1-9][0-9]{0,14}$ ]] || noted_size=0
  settled_size
  [[ -z $token || ${fields[token]:-} != "$token" || $size -lt $noted_size ]] || return 0
  token=$(od -An -N8 -tx8 /dev/urandom) token=${token// /}
  lines_of "$token" | publish spool/.token || return
  if [[ -n ${fields[token]:-} ]]; then
    log "spool/ is not the one that the run began with, or not whole: Slurm is asked for each job before it is submitted"
    file_clock
    remade=$now
  fi
  printf '%s\n' "token=$token" "remade=$remade" "settled=$size" | publish ./.spool
}

file_clock() { # sets `now` to the time of the run's file system: hosts' clocks differ
  : >"spool/.clock.$host.$$" && now=$(stat -c %Y "spool/.clock.$host.$$") && rm -f "spool/.clock.$host.$$"
}

may_have_been_submitted() { # may_have_been_submitted NAME: though there is neither receipt nor intent
  local begun first=${wanted[attempt]:-spool}
  [[ -z ${seen[$1]:-} ]] || return 0
  [[ $remade != 0 ]] && begun=$(stat -c %Y "${first%%[+,]*}/slurm.json" 2>/dev/null) && ((begun <= remade))
}

# ---- From a request to its receipt --------------------------------------------------------------------------
accept() { # accept NAME JOB HOW
  clock
  write_receipt "$1" status=submitted "job_id=$2" "time=$now" || return
  job_of[$1]=$2 news=1 poll_s=$MLIPILOT_POLL_S
  ((next_poll <= now + poll_s)) || next_poll=$((now + poll_s))
  log "$1: $3 as job $2"
}

reject() { # reject NAME REASON
  refused[$1]=$(printf '%s' "$2" | tr -cs '!-~' ' ' | head -c 1000)
  write_receipt "$1" status=rejected "reason=${refused[$1]}" || return
  log "$1: rejected: ${refused[$1]}"
}

write_receipt() { # write_receipt NAME FIELD…
  note "spool/receipts/$1" "${@:2}" || return # an empty one is none, and Slurm is asked
  settled[$1]=1 unpublished=1
  wait_for "$1" ''
  unset "open[$1]" "known_none[$1]" "not_before[$1]" "waits_for[$1]"
}

restore_spool() { # what somebody deleted of it, and jobs or this service need
  local folder
  for folder in requests cancel intents receipts started logs; do
    [[ -d spool/$folder ]] || mkdir -p "spool/$folder"
  done
  [[ -f spool/job.sh && -f spool/common.sh ]] || publish_site
}

restore_receipts() { # those that somebody deleted
  local name
  for name in "${!settled[@]}"; do
    [[ ! -e spool/receipts/$name ]] || continue
    log "$name: its receipt is gone, and written again"
    if [[ -n ${job_of[$name]:-} ]]; then
      write_receipt "$name" status=submitted "job_id=${job_of[$name]}" "time=$queue_time"
    else
      write_receipt "$name" status=rejected "reason=${refused[$name]:-}"
    fi
  done
}

wait_for() { # wait_for NAME WORDS: what a request without a receipt waits for, for spool/queue and the log
  local words=${2//[!!-{\}~]/ }
  while [[ $words == *'  '* ]]; do words=${words//'  '/ }; done
  words=${words% }
  [[ ${why_not[$1]:-} != "$words" ]] || return 0
  clock
  why_not[$1]=$words since_of[$1]=$now unpublished=1
  [[ -z $words ]] || log_once "$1" "waits: $words"
}

note_intent() { # note_intent NAME TRIES
  clock
  note "spool/intents/$1" "time=$now" "tries=$2" # what counts is that it is there
}

submit() { # submit NAME TRIES: asks the engine once; the answer decides between receipt, waiting and doubt
  local status job verdict patience=$MLIPILOT_SLURM_TIMEOUT_S tries=$(($2 + 1)) engine=$MLIPILOT_ENGINE
  [[ ${wanted[template]} != endpoint ]] || engine=slurm # the model may outlive an allocation
  # Whatever becomes of us, our sbatch is over when the intent has reached the age that lets others try again.
  ((patience <= MLIPILOT_DOUBT_S)) || patience=$MLIPILOT_DOUBT_S
  "build_$engine" "$1"
  is_mine || return
  note_intent "$1" "$tries" || return
  unset "known_none[$1]"
  ask "$patience" "${command[@]}"
  status=$?
  "classify_$engine" "$status"
  clock
  [[ $verdict == submitted || $verdict == unsure ]] || known_none[$1]=1
  case $verdict in
    submitted)
      accept "$1" "$job" submitted
      ;;
    limit | later | away) # waiting is no failed try
      hold_until=$((now + MLIPILOT_POLL_S))
      note_intent "$1" $((tries - 1))
      wait_for "$1" "$(why_held "$verdict")"
      [[ $verdict != limit ]] || ask_for_room
      ;;
    refused)
      if [[ -n ${wanted[exclude]:-} && $complaint == *'node configuration is not available'* ]]; then
        log "$1: there are no nodes but those that have failed (${wanted[exclude]}): it is to run there"
        unset 'wanted[exclude]'
        submit "$1" "$2"
        return
      fi
      not_before[$1]=$((now + (MLIPILOT_POLL_S < 1 << tries ? MLIPILOT_POLL_S : 1 << tries)))
      wait_for "$1" "${command[0]} refused it, try $tries of 5: $complaint"
      ((tries < 5)) || reject "$1" "$complaint"
      ;;
    unsure)
      not_before[$1]=$((now + 1))
      wait_for "$1" "in doubt: ${command[0]} ended with status $status, and its words do not say whether it was submitted: $said $complaint"
      ;;
  esac
}

why_held() { # why_held VERDICT: in words
  case $1 in
    limit) echo "the site's limit of submitted jobs is reached: $complaint" ;;
    later) echo "${engine_name[$engine]} takes no job now: $complaint" ;;
    away) echo "${engine_name[$engine]} cannot be asked here: $complaint" ;;
  esac
}

# Where the limit leaves no place beside controllers and successors, nothing would ever run: see successor.sh.
ask_for_room() {
  local name
  for name in "${!job_of[@]}"; do
    is_over "${row_of[$name]:-}" || return 0
  done
  clock
  printf '%s\n' "time=$now" | publish spool/full
}

may_ask() { # whether Slurm, which answered the last time, is to be asked for anything now
  [[ -z $silent ]] && ((now >= hold_until))
}

consider() { # consider NAME: the next step on a request's way to its receipt
  local name=$1 reason='' tries=0 is_good=1
  local -A wanted=()
  ((now >= ${not_before[$name]:-0})) || return 0
  if [[ ! -e spool/cancel/$name ]]; then
    may_ask || return 0
    [[ -z ${waits_for[$name]:-} ]] || is_settled "${waits_for[$name]}" || return 0
  fi
  read_request "$name" || is_good=
  if [[ -z ${known_none[$name]:-} ]] && { [[ -e spool/intents/$name ]] || may_have_been_submitted "$name"; }; then
    may_ask || return 0
    find_job "$name"
    case $? in
      0)
        accept "$name" "$found" found
        return
        ;;
      2)
        not_before[$name]=$((now + MLIPILOT_POLL_S))
        return
        ;;
    esac
    log "$name: the submission in doubt was not received"
    known_none[$name]=1
  fi
  read_fields "spool/intents/$name"
  [[ ! ${fields[tries]:-} =~ ^[0-9]$ ]] || tries=${fields[tries]}
  if [[ -e spool/cancel/$name ]]; then
    reject "$name" cancelled
  elif [[ -z $is_good ]]; then
    reject "$name" "$reason"
  elif ((tries >= 5)); then
    reject "$name" "its submission failed 5 times${why_not[$name]:+: ${why_not[$name]}}; the submitter's log says how"
  elif [[ -n ${wanted[after]:-} ]] && ! is_settled "${wanted[after]}"; then
    waits_for[$name]=${wanted[after]}
    wait_for "$name" "${wanted[after]} is to be submitted first"
  elif [[ -n ${wanted[after]:-} ]] && ! was_submitted "${wanted[after]}"; then
    reject "$name" "after=${wanted[after]} was rejected"
  elif ! "hold_$MLIPILOT_ENGINE" "$name"; then
    submit "$name" "$tries"
  fi
}

list_requests() { # those without a receipt, into `open`
  local file name
  for file in spool/requests/*; do
    name=${file##*/}
    [[ -z ${settled[$name]:-}${folded[$name]:-} ]] || continue
    if is_name "$name"; then
      open[$name]=1
    else
      log_once "${name//[!a-zA-Z0-9._-]/?}" "ignored: this is no name of a request"
    fi
  done
}

consider_all() {
  local name names=()
  mapfile -t names < <(printf '%s\n' "${!open[@]}" | sort)
  for name in "${names[@]}"; do
    [[ -n $name ]] || continue
    clock
    consider "$name"
    [[ -z $ending ]] || return
  done
  [[ -z $unpublished ]] || publish_queue
}
