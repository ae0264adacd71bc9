# The submitter's work, sourced by submitter.sh: requests to receipts, and the queue's answer for all of them.
#
# No job is submitted twice: the intent is on disk before sbatch is called, the receipt after it answered. An
# intent without a receipt is a doubt, and only Slurm's own word that it has no job of that name ends it.
# shellcheck shell=bash disable=SC2034,SC2154  # the three files share their variables

name_pattern='mlp-[0-9a-f]{16}-[a-z0-9][a-z0-9.-]{0,80}'
attempt_pattern='^lineage-[0-9]+/((iterations|sealed-check)/[0-9]{4}/seed-[0-9]+(/(train|evaluate))?|drafts/[0-9]{4}-[0-9]+/smoke)/attempt-[0-9]+$'
# With these words sbatch does not know what became of the request.
unsure_pattern='timed out|unable to contact|connect|communicat|transmit|transport|receiv|sen[dt] fail|unexpected|unspecified'

declare -A fields=()     # of the file read last
declare -A settled=()    # requests with a receipt
declare -A job_of=()     # the job's number, of those submitted
declare -A row_of=()     # the job's last known line of spool/queue
declare -A known_none=() # requests of which it is certain that no job exists, though there is an intent
declare -A not_before=() # when to look at a request again
declare -A waits_for=()  # the request whose receipt another one needs
declare -A noted=()      # what has been logged or noticed once
news=                    # something was submitted since the last look at the queue
hold_until=0             # no submissions before: the site's limit of queued jobs is reached
silent=                  # 1 while Slurm does not answer
next_poll=0 poll_s=$MLIPILOT_POLL_S

log() { printf '%(%FT%T%z)T %s\n' -1 "$*"; }
log_once() { # log_once NAME WORDS: not again until something else is said of it
  [[ ${noted[$1]:-} == "$2" ]] || log "$1: $2"
  noted[$1]=$2
}
clock() { printf -v now '%(%s)T' -1; }

# publish FILE <text: whole or not at all, and on disk before anything builds on it.
publish() {
  local temporary=${1%/*}/.${1##*/}
  if cat >"$temporary" && sync -- "$temporary" && mv -fT -- "$temporary" "$1"; then
    sync -- "${1%/*}" 2>/dev/null # some filesystems cannot do that to a directory
    return 0
  fi
  log "cannot write $run/$1: see the filesystem's space and rights"
  return 1
}

read_fields() { # the `key=value` lines of a file, into `fields`
  local line lines
  fields=()
  { mapfile -t lines <"$1"; } 2>/dev/null || return 1
  for line in "${lines[@]}"; do
    [[ ! $line =~ ^([a-z0-9_]+)=(.*)$ ]] || fields[${BASH_REMATCH[1]}]=${BASH_REMATCH[2]}
  done
}

# ask SECONDS COMMAND…: one Slurm command. Sets `said` (stdout) and `complaint` (stderr, one printable line).
ask() {
  local status
  beat
  said=$(timeout -k 2 "$1" "${@:2}" 2>"$lock/stderr" </dev/null)
  status=$?
  complaint=$(tr -cs '!-~' ' ' <"$lock/stderr" | head -c 4000)
  complaint=${complaint% }
  return $status
}

# What job.sh needs to know on the node. Batch scripts are copied by Slurm, so what they share lies in the run.
publish_site() {
  local image=$MLIPILOT_IMAGE digest=$MLIPILOT_IMAGE_SHA256 file
  for file in settings.sh common.sh job.sh endpoint.sh; do
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
    "endpoint_idle_s=$MLIPILOT_ENDPOINT_IDLE_S" | publish spool/site.env
}

load_state() { # what earlier submitters of this run left
  local file line lines
  for file in spool/receipts/*; do
    read_fields "$file"
    settled[${file##*/}]=1
    [[ ! ${fields[job_id]:-} =~ ^[0-9]+$ ]] || job_of[${file##*/}]=${fields[job_id]}
  done
  { mapfile -t -s 1 lines <spool/queue; } 2>/dev/null || return 0
  for line in "${lines[@]}"; do
    [[ ! $line =~ ^($name_pattern)\|[0-9]+\| ]] || row_of[${BASH_REMATCH[1]}]=$line
  done
}

# ---- From a request to its receipt --------------------------------------------------------------------------
accept() { # accept NAME JOB HOW
  clock
  printf '%s\n' status=submitted "job_id=$2" "time=$now" | publish "spool/receipts/$1" || return
  settled[$1]=1 job_of[$1]=$2 news=1 poll_s=$MLIPILOT_POLL_S
  ((next_poll <= now + poll_s)) || next_poll=$((now + poll_s))
  log "$1: $3 as job $2"
}

reject() { # reject NAME REASON
  local reason
  reason=$(printf '%s' "$2" | tr -cs '!-~' ' ' | head -c 200)
  printf '%s\n' status=rejected "reason=$reason" | publish "spool/receipts/$1" || return
  settled[$1]=1
  log "$1: rejected: $reason"
}

refuse() { # refuse REASON: what read_request finds wrong
  reason=$*
  return 1
}

check_attempt() { # check_attempt KEY: the path below RUN of a directory that holds an order
  local value=${wanted[$1]} real
  [[ $value =~ $attempt_pattern ]] || refuse "$1=${value:0:100} is not the path of an attempt below the run" || return
  real=$(realpath -e -- "$real_run/$value" 2>/dev/null) && [[ -d $real && $real == "$real_run"/* ]] ||
    refuse "$1=$value is not a directory below the run" || return
  [[ -f $real/job.json && ! -L $real/job.json ]] || refuse "$1=$value holds no file job.json"
}

check_number() { # check_number KEY LEAST MOST-VARIABLE
  local value=${wanted[$1]}
  [[ $value =~ ^(0|[1-9][0-9]{0,8})$ && $value -ge $2 && $value -le ${!3} ]] ||
    refuse "$1=${value:0:60} is not a whole number from $2 to ${!3} ($3 of the submitter)"
}

read_request() { # read_request NAME: fills `wanted`, or says the `reason` why not
  local file=spool/requests/$1 line lines key
  wanted=()
  [[ -f $file && ! -L $file ]] || refuse "the request is no regular file" || return
  [[ $(stat -c %s -- "$file") -le 4096 ]] || refuse "the request is longer than 4096 bytes" || return
  [[ $(tr -d '\n -~' <"$file" | wc -c) -eq 0 ]] || refuse "the request holds other than printable ASCII" || return
  mapfile -t lines <"$file"
  for line in "${lines[@]}"; do
    [[ $line =~ ^(template|attempt|then|minutes|cpus|memory_mib|gpus|after|exclude)=(.*)$ ]] ||
      refuse "the line '${line:0:60}' begins with no known key" || return
    key=${BASH_REMATCH[1]}
    [[ -z ${wanted[$key]+set} ]] || refuse "the key $key is there twice" || return
    wanted[$key]=${BASH_REMATCH[2]}
  done
  if [[ ${wanted[template]:-} == endpoint ]]; then
    plan_endpoint
    return
  fi
  for key in template attempt minutes cpus memory_mib gpus; do
    [[ -n ${wanted[$key]+set} ]] || refuse "the key $key is missing" || return
  done
  [[ ${wanted[template]} =~ ^(train|evaluate|fused)$ ]] ||
    refuse "template=${wanted[template]:0:60} is not train, evaluate, fused or endpoint" || return
  [[ -f $sbatch_dir/${wanted[template]}.sbatch ]] ||
    refuse "the submitter has no $sbatch_dir/${wanted[template]}.sbatch" || return
  if [[ ${wanted[template]} == fused ]]; then
    [[ -n ${wanted[then]+set} ]] || refuse "the key then is missing: template=fused needs it" || return
    [[ ${wanted[then]} != "${wanted[attempt]}" ]] || refuse "then=${wanted[then]} is the attempt itself" || return
    check_attempt "then" || return
  else
    [[ -z ${wanted[then]+set} ]] || refuse "the key then is for template=fused only" || return
  fi
  check_attempt attempt && check_number minutes 1 MLIPILOT_MAX_MINUTES && check_number cpus 1 MLIPILOT_MAX_CPUS &&
    check_number memory_mib 1 MLIPILOT_MAX_MEMORY_MIB && check_number gpus 0 MLIPILOT_MAX_GPUS || return
  [[ -z ${wanted[after]+set} || ${wanted[after]} =~ ^$name_pattern$ && ${wanted[after]} != "$1" ]] ||
    refuse "after=${wanted[after]:0:60} is not the name of another request" || return
  [[ -z ${wanted[exclude]+set} || ${wanted[exclude]} =~ ^[A-Za-z0-9,._-]{1,400}$ ]] ||
    refuse "exclude=${wanted[exclude]:0:60} is not a list of nodes"
}

plan_endpoint() { # the run's model: what it needs is the site's to say, and not a request's
  [[ ${#wanted[@]} -eq 1 ]] || refuse "template=endpoint takes no other key" || return
  [[ -n $MLIPILOT_ENDPOINT ]] ||
    refuse "MLIPILOT_ENDPOINT is not set where submitter.sh runs: set it there, or sbatch sbatch/endpoint.sbatch RUN" || return
  wanted+=([minutes]=$MLIPILOT_MAX_MINUTES [cpus]=4 [memory_mib]=16384 [gpus]=0)
}

build_command() { # build_command NAME: fills `command` from `wanted` and the site's settings
  local extra=MLIPILOT_SBATCH_EXTRA_${wanted[template]^^} words value requeue=--requeue
  [[ ${wanted[template]} != endpoint ]] || requeue=--no-requeue # its controllers ask for another one
  # In a file name Slurm gives % a meaning of its own.
  command=(sbatch --parsable --export=NONE "--job-name=$1" "--output=${run//'%'/%%}/spool/logs/$1.log"
    --open-mode=append "--time=${wanted[minutes]}" "--cpus-per-task=${wanted[cpus]}" "--mem=${wanted[memory_mib]}")
  if [[ ${wanted[gpus]} != 0 ]]; then
    value=$MLIPILOT_GPU_GRES
    [[ $value == --* ]] || value="--gres=$value:%N"
    command+=("${value//'%N'/${wanted[gpus]}}")
  fi
  command+=(${MLIPILOT_GPU_PARTITION:+"--partition=$MLIPILOT_GPU_PARTITION"}
    ${MLIPILOT_ACCOUNT:+"--account=$MLIPILOT_ACCOUNT"} ${MLIPILOT_QOS:+"--qos=$MLIPILOT_QOS"}
    ${MLIPILOT_CONSTRAINT:+"--constraint=$MLIPILOT_CONSTRAINT"})
  read -r -a words <<<"$MLIPILOT_SBATCH_EXTRA ${!extra}"
  command+=("${words[@]}" ${wanted[after]:+"--dependency=afterany:${job_of[${wanted[after]}]}"}
    ${wanted[exclude]:+"--exclude=${wanted[exclude]}"} --signal=B:USR2@60 "$requeue"
    "$sbatch_dir/${wanted[template]}.sbatch" "$run" ${wanted[attempt]:+"${wanted[attempt]}"} ${wanted[then]:+"${wanted[then]}"})
}

note_intent() { # note_intent NAME TRIES
  clock
  printf '%s\n' "time=$now" "tries=$2" | publish "spool/intents/$1"
}

submit() { # submit NAME TRIES: calls sbatch once; the answer decides between receipt, waiting and doubt
  local status job patience=$MLIPILOT_SLURM_TIMEOUT_S tries=$(($2 + 1))
  # Whatever becomes of us, our sbatch is over when the intent has reached the age that lets others try again.
  ((patience <= MLIPILOT_DOUBT_S)) || patience=$MLIPILOT_DOUBT_S
  build_command "$1"
  is_mine || return
  note_intent "$1" "$tries" || return
  unset "known_none[$1]"
  ask "$patience" "${command[@]}"
  status=$?
  job=$(grep -xE '[0-9]+(;[A-Za-z0-9._-]+)?' <<<"$said" | tail -n 1)
  clock
  if [[ $status -eq 0 && -n $job ]]; then
    accept "$1" "${job%%;*}" submitted
  elif [[ -n ${wanted[exclude]:-} && $complaint == *'node configuration is not available'* ]]; then
    log "$1: there are no nodes but those that have failed (${wanted[exclude]}): it is to run there"
    unset 'wanted[exclude]'
    submit "$1" "$2"
  elif [[ $complaint == *MaxSubmit* ]]; then
    known_none[$1]=1 hold_until=$((now + MLIPILOT_POLL_S))
    note_intent "$1" $((tries - 1)) # waiting for the limit is no failed try
    log_once "$1" "waits: the site's limit of submitted jobs is reached"
  elif [[ $status -ge 1 && $status -lt 124 && $complaint == *error:* && ! ${complaint,,} =~ $unsure_pattern ]]; then
    known_none[$1]=1 not_before[$1]=$((now + (MLIPILOT_POLL_S < 1 << tries ? MLIPILOT_POLL_S : 1 << tries)))
    log "$1: try $tries of 5 refused: ${complaint:0:200}"
    ((tries < 5)) || reject "$1" "$complaint"
  else
    not_before[$1]=$((now + 1))
    log "$1: in doubt: sbatch ended with status $status without a job's number: ${complaint:0:200}"
  fi
}

may_ask() { # whether Slurm, which answered the last time, is to be asked for anything now
  [[ -z $silent ]] && ((now >= hold_until))
}

consider() { # consider NAME: the next step on a request's way to its receipt
  local name=$1 reason tries=0
  local -A wanted=()
  [[ -z ${settled[$name]:-} ]] && ((now >= ${not_before[$name]:-0})) || return 0
  if [[ ! -e spool/cancel/$name ]]; then
    may_ask || return 0
    [[ -z ${waits_for[$name]:-} || -n ${settled[${waits_for[$name]}]:-} ]] || return 0
  fi
  if [[ -e spool/intents/$name ]]; then
    if [[ -z ${known_none[$name]:-} ]]; then
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
      log "$name: the submission in doubt did not reach Slurm"
      known_none[$name]=1
    fi
    read_fields "spool/intents/$name"
    [[ ! ${fields[tries]:-} =~ ^[0-9]$ ]] || tries=${fields[tries]}
  fi
  if [[ -e spool/cancel/$name ]]; then
    reject "$name" cancelled
  elif ! read_request "$name"; then
    reject "$name" "$reason"
  elif ((tries >= 5)); then
    reject "$name" "sbatch failed 5 times; the submitter's log says how"
  elif [[ -n ${wanted[after]:-} && -z ${settled[${wanted[after]}]:-} ]]; then
    waits_for[$name]=${wanted[after]}
    log "$name: held until ${wanted[after]} is submitted"
  elif [[ -n ${wanted[after]:-} && -z ${job_of[${wanted[after]}]:-} ]]; then
    reject "$name" "after=${wanted[after]} was rejected"
  else
    submit "$name" "$tries"
  fi
}

consider_all() {
  local file name
  for file in spool/requests/*; do
    name=${file##*/}
    clock
    if [[ $name =~ ^$name_pattern$ ]]; then
      consider "$name"
    else
      log_once "${name//[!a-zA-Z0-9._-]/?}" "ignored: this is no name of a request"
    fi
    [[ -z $ending ]] || return
  done
}
