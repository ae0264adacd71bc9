# What a request may ask for, and the sbatch command that it becomes. Sourced by submitter.sh.
#
# Requests come from a container: each is checked against the templates here and against the bounds of settings.sh.
# shellcheck shell=bash disable=SC2034,SC2154  # the submitter's files share their variables

attempt_pattern='^lineage-[0-9]+/((iterations|confirmation|sealed-check)/[0-9]{4}(\.[a-z]+-[a-z0-9]+)?/seed-[0-9]+(/(train|evaluate))?|drafts/[0-9]{4}-[0-9]+/smoke)/attempt-[0-9]+$'

refuse() { # refuse REASON: what read_request finds wrong
  reason=$*
  return 1
}

find_place() { # find_place PATH: where a directory below the run really is, into `real`
  local left=$1 place=$real_run
  while [[ -n $left ]]; do
    place+=/${left%%/*}
    [[ ! -L $place ]] || break
    if [[ $left == */* ]]; then left=${left#*/}; else left=''; fi
  done
  real=$place
  # A process only where a link leads away.
  [[ -z $left && $place == "$real_run/$1" ]] || real=$(realpath -e -- "$real_run/$1" 2>/dev/null)
  [[ -d $real && $real == "$real_run"/* ]]
}

not_text=$'*[!\n -~]*'
check_text() { # check_text FILE: that it is short, and printable ASCII
  local text stopped=''
  ! IFS= read -r -d '' -n 16385 text <"$1" || stopped=1 # at a NUL, or where it is too long
  [[ ${#text} -le 16384 ]] || refuse "the request is longer than 16384 bytes" || return
  # shellcheck disable=SC2053  # it is a pattern
  [[ -z $stopped && $text != $not_text ]] || refuse "the request holds other than printable ASCII"
}

check_attempts() { # stages that a job runs one after the other, A+B,C: paths below RUN of directories that hold orders
  local value=${wanted[attempt]} path words real
  local -A named=()
  [[ $value =~ ^[^+,\ ]+([+,][^+,\ ]+)*$ ]] || refuse "attempt=${value:0:100} is no list of attempts" || return
  split_words "${value//[+,]/ }"
  for path in "${words[@]}"; do
    [[ $path =~ $attempt_pattern ]] || refuse "attempt=${path:0:100} is not the path of an attempt below the run" || return
    [[ -z ${named[$path]:-} ]] || refuse "attempt=$path is there twice" || return
    named[$path]=1
    find_place "$path" || refuse "attempt=$path is not a directory below the run" || return
    [[ -f $real/job.json && ! -L $real/job.json ]] || refuse "attempt=$path holds no file job.json" || return
  done
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
  check_text "$file" || return
  mapfile -t lines <"$file"
  for line in "${lines[@]}"; do
    [[ $line =~ ^(template|attempt|minutes|cpus|memory_mib|gpus|after|exclude)=(.*)$ ]] ||
      refuse "the line '${line:0:60}' begins with no known key" || return
    key=${BASH_REMATCH[1]}
    [[ -z ${wanted[$key]+set} ]] || refuse "the key $key is there twice" || return
    wanted["$key"]=${BASH_REMATCH[2]}
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
  check_attempts && check_number minutes 1 MLIPILOT_MAX_MINUTES && check_number cpus 1 MLIPILOT_MAX_CPUS &&
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

merge_exclude() { # of two lists of nodes to leave out sbatch takes the last alone: the site's joins the request's
  local index word next='' kept=()
  [[ -n ${wanted[exclude]:-} ]] || return 0
  for index in "${!words[@]}"; do
    word=${words[index]}
    if [[ -n $next ]]; then
      wanted[exclude]+=,$word next=
    elif [[ $word == --exclude=* || $word == -x?* ]]; then
      word=${word#-x} word=${word#--exclude=}
      wanted[exclude]+=,${word#=}
    elif [[ $word == --exclude || $word == -x ]]; then
      next=1
    else
      kept+=("$word")
    fi
  done
  words=("${kept[@]}")
}

build_command() { # build_command NAME: fills `command` from `wanted` and the site's settings
  local extra=MLIPILOT_SBATCH_EXTRA_${wanted[template]^^} words value after='' requeue=--requeue
  # Of a job that is over Slurm may have forgotten the number.
  [[ -z ${wanted[after]:-} || -n ${folded[${wanted[after]}]:-} ]] || is_over "${row_of[${wanted[after]}]:-}" || after=${job_of[${wanted[after]}]}
  [[ ${wanted[template]} != endpoint ]] || requeue=--no-requeue # its controllers ask for another one
  split_words "$MLIPILOT_SBATCH_EXTRA ${!extra}"
  merge_exclude
  # In a file name Slurm gives % a meaning of its own.
  command=(sbatch --parsable --export=NONE "--job-name=$1" "--output=${run//'%'/%%}/spool/logs/$1.log"
    --open-mode=append "--time=${wanted[minutes]}" "--cpus-per-task=${wanted[cpus]}")
  # Slurm takes one way of asking for memory, and the site's goes first.
  [[ " ${words[*]}" == *' --mem-per-'* ]] || command+=("--mem=${wanted[memory_mib]}")
  if [[ ${wanted[gpus]} != 0 ]]; then
    value=$MLIPILOT_GPU_GRES
    [[ $value == --* ]] || value="--gres=$value:%N"
    command+=("${value//'%N'/${wanted[gpus]}}")
  fi
  command+=(${MLIPILOT_GPU_PARTITION:+"--partition=$MLIPILOT_GPU_PARTITION"}
    ${account:+"--account=$account"} ${MLIPILOT_QOS:+"--qos=$MLIPILOT_QOS"}
    ${MLIPILOT_CONSTRAINT:+"--constraint=$MLIPILOT_CONSTRAINT"})
  command+=("${words[@]}" ${after:+"--dependency=afterany:$after"}
    ${wanted[exclude]:+"--exclude=${wanted[exclude]}"} --signal=B:USR2@60 "$requeue"
    "$sbatch_dir/${wanted[template]}.sbatch" "$run")
  add_stages
}

add_stages() { # of `wanted`, as the batch script's words, to `command`
  local words
  split_words "${wanted[attempt]:+${wanted[attempt]//,/ }}"
  command+=("${words[@]}")
}
