# shellcheck shell=bash disable=SC2034,SC2154  # who sources this sets `run`, and reads `said`, `complaint`, `job`, `verdict`
# One command of Slurm, and what its answer means. Sourced by whoever calls sbatch, squeue, sacct, scancel, scontrol.

# Bash keeps what stands after <<< in a file where it is long, or bash old; and /tmp may be full.
lines_of() { printf '%s\n' "$1"; }
# Where much is done, a process each time is what costs. These two need none.
split_words() { # split_words TEXT: at blanks and line ends, into `words`
  local IFS=$' \t\n'
  set -f
  # shellcheck disable=SC2206  # to split is what is wanted
  words=($1)
  set +f
}
split_lines() { # split_lines TEXT: those that are not empty, into `lines`
  local IFS=$'\n'
  set -f
  # shellcheck disable=SC2206
  lines=($1)
  set +f
}
log() { printf '%(%FT%T%z)T %s\n' -1 "$*"; }
clock() { printf -v now '%(%s)T' -1; }

# publish FILE <text: whole or not at all, and on disk before anything builds on it. In the run's directory.
publish() {
  local temporary=${1%/*}/.${1##*/}
  rm -f -- "$temporary" # a kill may have left one, perhaps of another user's
  if cat >"$temporary" && sync -- "$temporary" && mv -fT -- "$temporary" "$1"; then
    sync -- "${1%/*}" 2>/dev/null # some filesystems cannot do that to a directory
    return 0
  fi
  log "cannot write $run/$1: see the filesystem's space and rights"
  return 1
}

# note FILE LINE…: as `publish`, by fewer processes. After a power failure the file may be there, and empty.
note() {
  local temporary=${1%/*}/.${1##*/}
  [[ ! -e $temporary && ! -L $temporary ]] || rm -f -- "$temporary"
  if printf '%s\n' "${@:2}" >"$temporary" && mv -fT -- "$temporary" "$1" &&
    { sync -- "$1" "${1%/*}" 2>/dev/null || sync -- "$1"; }; then
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
declare -A fields=() # of the file read last

# What the job around us was given must shape neither the jobs that are submitted nor the answers about them.
scrub_environment() {
  local name
  for name in $(compgen -e); do
    case $name in
      SLURM_CONF) ;;
      SLURM_* | SBATCH_* | SRUN_* | SQUEUE_* | SACCT_* | SCANCEL_* | SCONTROL_*) unset "$name" ;;
    esac
  done
}

# call SECONDS STDERR-FILE COMMAND…: sets `said` (stdout) and `complaint` (stderr, one printable line).
call() {
  local status
  said=$(timeout -k 2 "$1" "${@:3}" 2>"$2" </dev/null)
  status=$?
  complaint=
  [[ ! -s $2 ]] || complaint=$({ tr -cs '!-~' ' ' <"$2" | head -c 4000; } 2>/dev/null)
  complaint=${complaint% }
  return $status
}

# A job's number stands alone in its line, with --parsable as `12` or `12;cluster`. Around it sites' wrappers and
# plugins print what they like, and some wrappers leave --parsable out.
read_job_number() { # sets `job` from `said`; empty where there is none, or more than one
  local line lines found=''
  job=
  split_lines "$said"
  for line in "${lines[@]}"; do
    line=${line//$'\r'/}
    [[ $line =~ ^[[:space:]]*(Submitted\ batch\ job\ )?([1-9][0-9]{0,9})(\;[A-Za-z0-9._-]+|\ on\ cluster\ [A-Za-z0-9._-]+)?[[:space:]]*$ ]] ||
      continue
    [[ -z $found || $found == "${BASH_REMATCH[2]}" ]] || return 0
    found=${BASH_REMATCH[2]}
  done
  job=$found
}

# The words are those of slurm_strerror, which sbatch puts after `Batch job submission failed:`; before them may stand
# the names of limits (job_state_reason). What is said before slurmctld is asked begins with `fatal:`, or is getopt's.
limit_pattern='(Max|Grp)Submit'
# slurmctld takes no job now, and will take this one later.
later_pattern='Slurm temporarily unable to accept job|Resource temporarily unavailable|I/O error writing script/environment|presently disabled|in standby mode|Required partition not available|Maximum job count'
# The request may have arrived all the same.
unsure_pattern='timed out|Unable to contact slurm controller|Communication (connection|shutdown) failure|Message (send|receive) failure|Zero Bytes were transmitted|Unexpected message received|Insane message length|Header lengths are longer|Incomplete packet|authentication (error|credential)|Connection (reset|refused)|No route to host|Broken pipe|Unspecified error|slurm_(send|receive|recv)'
away_pattern='configuration source|configuration file|slurm\.conf|resolve_ctls'

# classify_answer STATUS: of an sbatch, into `verdict` and `job`.
#   submitted  its number is `job`           limit    so many jobs may not wait at a time
#   later      slurmctld takes none now      away     there is no slurmctld here to be asked
#   refused    it will not run like this     unsure   it may have arrived
classify_answer() {
  read_job_number
  if [[ $1 -eq 0 ]]; then
    if [[ -n $job ]]; then verdict=submitted; else verdict=unsure; fi
  elif [[ -n $job ]]; then # of a wrapper, which failed after sbatch had not
    verdict=unsure
  elif [[ $1 -ge 124 && $1 -lt 255 ]]; then # of `timeout`, or ended by a signal; 255 is sbatch's own -1
    verdict=unsure
  elif [[ $complaint =~ $limit_pattern ]]; then
    verdict=limit
  elif [[ $complaint =~ $later_pattern ]]; then
    verdict=later
  elif [[ $complaint =~ fatal:.*($away_pattern) ]]; then
    verdict=away
  elif [[ $complaint =~ $unsure_pattern ]]; then
    verdict=unsure
  elif [[ $complaint =~ (error|fatal|usage): || $complaint =~ (unrecognized|invalid|ambiguous)\ option || $complaint == *'requires an argument'* ]]; then
    verdict=refused
  else
    verdict=unsure
  fi
}
