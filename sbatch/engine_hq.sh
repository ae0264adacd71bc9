# HyperQueue in Slurm's place, sourced by submitter.sh: the jobs are tasks of a server in this very allocation, whose
# nodes hyperqueue.sh has join it. MLIPILOT_ENGINE=hq chooses it. Its words are those of hq 0.27.
#
# A server dies with its allocation, and a job that was not over then is given to the next one. It stays the same job:
# its number is the first server's, hq-ALLOCATION-NUMBER, its starts count on, and its name is what it is known by.
# shellcheck shell=bash disable=SC2034,SC2154  # the submitter's files share their variables
# shellcheck source-path=SCRIPTDIR source=allocation.sh
source "${BASH_SOURCE[0]%/*}/allocation.sh"

allocation=${SLURM_JOB_ID:-} node_cpus=${SLURM_CPUS_ON_NODE:-} # before the environment is scrubbed
count_gpus
server=''                # whose jobs' ids begin with hq-SERVER-, and whose keys lie in spool/hq-SERVER
declare -A hq_number=()  # what the server calls a job of that name
declare -A hq_state=()   # and Slurm's word for how it stands
declare -A behind=()     # requests that wait for the end of another's job
hq_silent=0              # since when the server does not answer

check_hq() { # before anything is done
  [[ -z $once ]] || usage_error "MLIPILOT_ENGINE=hq serves from within its allocation: sbatch sbatch/hyperqueue.sbatch $run"
  [[ $allocation =~ ^[0-9]+$ ]] ||
    usage_error "MLIPILOT_ENGINE=hq, but this is no Slurm job: sbatch sbatch/hyperqueue.sbatch $run, or the campaign's own file"
  command -v hq >/dev/null || usage_error "'hq' is not on the PATH: put HyperQueue's program there, or its module into MLIPILOT_MODULES"
  [[ $MLIPILOT_POLL_S -lt 2 ]] || MLIPILOT_POLL_S=2 # nobody else is kept from work by these questions
  poll_s=$MLIPILOT_POLL_S
}

# ---- The server ---------------------------------------------------------------------------------------------------
ask_hq() { # ask_hq MODE WORD…
  ask "$MLIPILOT_SLURM_TIMEOUT_S" hq --server-dir="$run/spool/hq-$server" "--output-mode=$1" "${@:2}"
}

begin_hq() {
  read_allocation "$allocation" "$lock/stderr" || {
    log "Slurm does not say what allocation $allocation is: $complaint"
    return 1
  }
  ((memory_mib == 0)) || memory_mib=$((memory_mib > controller_mib ? memory_mib - controller_mib : 1))
  find_server && ask_hq quiet server info || server_is_alive || start_server
}

find_server() { # that of who served before us, which may be alive
  read_fields spool/hq
  [[ ${fields[server]:-} =~ ^[0-9]+(\.[0-9]+)?$ && -r spool/hq-${fields[server]}/hq-current/access.json ]] || return
  server=${fields[server]} server_host=${fields[host]:-} server_pid=${fields[pid]:-}
}

# Whether one that does not answer may come to it: not where it is dead, cannot be reached, or is silent for a minute.
server_is_alive() {
  [[ -n $server && -r spool/hq-$server/hq-current/access.json ]] || return
  [[ $server_host != "$host" ]] || server_runs_here || return
  clock
  ((hq_silent > 0)) || hq_silent=$now
  ((now - hq_silent < 60))
}

server_runs_here() { # by what the process itself says: others can write in the spool
  local words=()
  [[ ${server_host:-} == "$host" && $server_pid =~ ^[0-9]+$ ]] || return
  { mapfile -d '' -t words <"/proc/$server_pid/cmdline"; } 2>/dev/null
  [[ " ${words[*]} " == *" --server-dir=$run/spool/hq-$server server start "* ]]
}

start_server() { # only its owner may read the keys that it leaves in its directory
  local number=1 old tries
  ! server_runs_here || kill -KILL "$server_pid" # it may hang; its workers end with it, and join the new one
  [[ -f spool/hq || ! -e spool/hq ]] || rm -rf spool/hq
  server=$allocation
  until mkdir -m 700 "spool/hq-$server" 2>/dev/null; do
    number=$((number + 1)) server=$allocation.$number
    ((number < 1000)) || return
  done
  for old in spool/hq-*/; do # keys of the dead
    [[ $old == "spool/hq-$server/" ]] || rm -rf "$old"hq-current "$old"[0-9]* 2>/dev/null
  done
  hq --server-dir="$run/spool/hq-$server" server start >"spool/hq-$server/log" 2>&1 </dev/null &
  server_pid=$! server_host=$host
  hq_silent=0
  for ((tries = 0; tries < 100; tries++)); do
    kill -0 "$server_pid" 2>/dev/null || break
    if ask_hq quiet server info; then
      printf '%s\n' "server=$server" "host=$host" "pid=$server_pid" | publish spool/hq || return
      log "HyperQueue serves as $server"
      return 0
    fi
    sleep 0.2
  done
  kill "$server_pid" 2>/dev/null
  log "HyperQueue does not begin: $complaint $(tail -n 3 "spool/hq-$server/log" | tr -cs '!-~' ' ')"
  return 1
}

finish_hq() { # an orderly end: the jobs that run are put back
  [[ -n $server && ${server%%.*} == "$allocation" ]] && is_mine || return 0
  ask_hq quiet server stop
  rm -rf spool/hq "spool/hq-$server/hq-current" "spool/hq-$server"/[0-9]*
}

# ---- From a request to a job --------------------------------------------------------------------------------------
why_unfit() { # sets `reason` to why no node of the allocation can ever run what is `wanted`; fails where one can
  local key most
  for key in cpus memory_mib gpus minutes; do
    case $key in
      cpus) most=$node_cpus ;;
      memory_mib) most=${memory_mib#0} ;;
      gpus) most=$gpus ;;
      minutes) most=${minutes:+$((minutes - 4))} ;; # hyperqueue.sh ends before Slurm does
    esac
    [[ -n $most && ${wanted[$key]} -gt $most ]] || continue
    reason="$key=${wanted[$key]} is more than the $most that a node of allocation $allocation has for a job: ask for less (jobs.resources, jobs.train_wall_limit_s), or for a larger allocation"
    return 0
  done
  return 1
}

hold_hq() { # hold_hq NAME: whether a request is not to be submitted now, or never
  [[ ${wanted[template]} != endpoint ]] || return
  if [[ -n ${wanted[after]:-} && -z ${folded[${wanted[after]}]:-} ]] && ! is_over "${row_of[${wanted[after]}]:-}"; then
    behind[$1]=${wanted[after]} not_before[$1]=$((now + 600))
    wait_for "$1" "for the end of ${wanted[after]}"
  elif why_unfit; then
    reject "$1" "$reason"
  else
    return 1
  fi
}

build_hq() { # build_hq NAME: fills `command` from `wanted`
  local file start base=0
  for file in "spool/started/$1".*; do # a server counts its own starts from 0
    start=${file#"spool/started/$1."}
    [[ ! $start =~ ^[0-9]{1,6}$ ]] || ((10#$start < base)) || base=$((10#$start + 1))
  done
  command=(hq "--server-dir=$run/spool/hq-$server" --output-mode=quiet submit "--name=$1" "--cpus=${wanted[cpus]}")
  [[ -z ${memory_mib#0} ]] || command+=("--resource=mem=${wanted[memory_mib]}")
  [[ ${wanted[gpus]} == 0 ]] || command+=("--resource=gpus/nvidia=${wanted[gpus]}")
  command+=("--time-request=${wanted[minutes]}min" "--time-limit=${wanted[minutes]}min" --stdout=none --stderr=none
    --directives=off -- bash "$here/hq_job.sh" "$run" "$1" "${job_of[$1]:-hq-$server-}" "$base"
    "$sbatch_dir/${wanted[template]}.sbatch")
  add_stages
}

classify_hq() { # classify_hq STATUS: as classify_answer does
  read_job_number
  if [[ $1 -eq 0 && -n $job ]]; then
    job=hq-$server-$job verdict=submitted
  elif [[ $complaint == *'No running instance of HQ'* || $complaint == *'HQ server'*'unreachable'* ]]; then
    verdict=away
  elif [[ $1 -eq 2 && $complaint == *error:* ]]; then # of the parser of its options
    verdict=refused
  else
    verdict=unsure
  fi
}

put_back() { # put_back NAME: a job that the server does not know goes on there; sets `why`
  local -A wanted=()
  local reason='' command=() job verdict status
  why='for a place in allocation '$allocation
  if ! read_request "$1" || why_unfit; then
    why="HyperQueue:NeverFits: $reason"
    return
  fi
  build_hq "$1"
  is_mine && ask "$MLIPILOT_SLURM_TIMEOUT_S" "${command[@]}"
  status=$?
  classify_hq "$status"
  [[ $verdict == submitted ]] || why="HyperQueue does not take it: $complaint" # the next look shows what became of it
  log "$1: job ${job_of[$1]} goes to HyperQueue's server $server: $verdict"
}

# ---- How the jobs stand -------------------------------------------------------------------------------------------
read_hq() { # the list of `said`, into `hq_number` and `hq_state`; fails where it is none
  local line id='' name='' state='' lines
  hq_number=() hq_state=()
  mapfile -t lines < <(lines_of "$said")
  [[ ${lines[*]} == '[]' || ${lines[0]} == '[' && ${lines[-1]} == ']' ]] || return
  for line in "${lines[@]}"; do
    if [[ $line =~ ^\ {4}\"(id|name)\":\ \"?([A-Za-z0-9.-]*)\"?,?$ ]]; then
      printf -v "${BASH_REMATCH[1]}" %s "${BASH_REMATCH[2]}"
    elif [[ $line =~ ^\ {6}\"(running|finished|failed|canceled|waiting)\":\ [1-9] ]]; then
      case ${BASH_REMATCH[1]} in
        running) state=RUNNING ;;
        finished) state=COMPLETED ;;
        failed) state=FAILED ;;
        canceled) state=CANCELLED ;;
        waiting) state=PENDING ;;
      esac
    elif [[ $line =~ ^\ {2}\},?$ ]]; then
      if [[ $id =~ ^[0-9]+$ && -n $state ]] && is_name "$name"; then
        hq_number["$name"]=$id hq_state["$name"]=$state seen["$name"]="hq-$server-$id"
      fi
      id='' name='' state=''
    fi
  done
}

list_hq() { # into poll's `fresh` and `listed`; fails where no server answers
  local name of_slurm='' why nodes done=()
  for name in "${!job_of[@]}"; do
    [[ ${job_of[$name]} == hq-* ]] || is_over "${row_of[$name]:-}" || of_slurm=1
  done
  queue_ok=1
  [[ -z $of_slurm ]] || list_slurm || return
  if ! ask_hq json job list --all || ! read_hq; then
    complaint=${complaint:-$said} queue_ok=0
    [[ -n $ending ]] || server_is_alive || ! is_mine || start_server
    return 1
  fi
  hq_silent=0
  for name in "${!job_of[@]}"; do
    [[ ${job_of[$name]} == hq-* ]] || continue
    ! is_over "${row_of[$name]:-}" || continue
    why='' nodes=''
    if [[ -n ${hq_number[$name]:-} ]]; then
      listed+=("$name")
      describe "$name"
    elif [[ -e spool/cancel/$name ]]; then
      hq_state[$name]=CANCELLED
    else
      hq_state[$name]=PENDING
      put_back "$name"
    fi
    why=$(lines_of "$why" | tr -cs '!-{}~' ' ') why=${why% }
    fresh["$name"]="$name|${job_of[$name]}|${hq_state[$name]}|${why:0:600}|$nodes"
  done
  for name in "${!behind[@]}"; do
    [[ -n ${folded[${behind[$name]}]:-} ]] || is_over "${fresh[${behind[$name]}]:-${row_of[${behind[$name]}]:-}}" || continue
    unset "behind[$name]" "not_before[$name]"
  done
  for name in "${!hq_number[@]}"; do # what is over makes its answers longer
    [[ -z ${folded[$name]:-} ]] && ! is_over "${row_of[$name]:-}" || done+=("${hq_number[$name]}")
  done
  [[ ${#done[@]} -lt 100 ]] || ask_hq quiet job forget "$(IFS=, && echo "${done[*]}")"
  return 0
}

describe() { # describe NAME: sets `why` and `nodes` of a job that the server knows
  local old=${row_of[$1]:-} state starts
  state_of "$old"
  case ${hq_state[$1]} in
    PENDING)
      why="for a place in allocation $allocation"
      return
      ;;
    "$state") # as before
      nodes=${old##*|} why=${old#*|*|*|} why=${why%|*}
      [[ -z $nodes ]] || return
      ;;
    FAILED)
      ask_hq json job info "${hq_number[$1]}"
      [[ ! $said =~ \"error\":\ \"([^\"]*)\" ]] || why=${BASH_REMATCH[1]}
      ;;
  esac
  starts=("spool/started/$1".*)
  [[ ${#starts[@]} -gt 0 ]] && read_fields "${starts[-1]}" || return 0
  [[ ! ${fields[node]:-} =~ ^[A-Za-z0-9._-]{1,100}$ ]] || nodes=${fields[node]}
}

look_for_hq() { # look_for_hq NAME: the jobs of that name, into find_job's `hits`
  look_for_slurm "$1" && ask_hq json job list --all && read_hq || return
  [[ ${#hits[@]} -gt 0 || -z ${hq_number[$1]:-} ]] || hits["hq-$server-${hq_number[$1]}"]=1
}

end_hq() { # end_hq NAME
  ask_hq quiet job cancel "${hq_number[$1]:-0}"
}
