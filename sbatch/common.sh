# shellcheck shell=bash disable=SC2034,SC2154  # who sources this reads `early` and `status`, and sets `run` and `image`
# What campaign.sh, endpoint.sh and job.sh all do on the host. The submitter puts it into the run, beside job.sh.

# shellcheck source-path=SCRIPTDIR source=container.sh
source "${BASH_SOURCE[0]%/*}/container.sh"

say() { printf '%(%FT%T%z)T %s\n' -1 "$*"; }
fail() { # the input is wrong
  say "$*"
  exit 2
}

load_modules() { # load_modules NAMES: the site's modules, separated by blanks
  local file module words
  [ -n "$1" ] || return 0
  set +u # the sites' own scripts are not written for it
  for file in /etc/profile.d/*modules*.sh /etc/profile.d/*lmod*.sh "${LMOD_PKG:-}/init/bash" "${MODULESHOME:-}/init/bash"; do
    ! command -v module >/dev/null || break
    # shellcheck disable=SC1090  # which of them is there is the site's
    [ ! -r "$file" ] || source "$file"
  done
  for module in $1; do
    # First where it changes nothing, for its words; some releases end well although they failed.
    words=$(module load "$module" 2>&1 >/dev/null) && [[ $words != *ERROR:* ]] ||
      fail "the module $module of MLIPILOT_MODULES was not loaded on $(uname -n): $(printf %s "$words" | tr -cs '[:print:]' ' ' | head -c 500)"
    module load "$module"
  done
  set -u
}

only_own_containers() { # whatever a site or a user has set for containers of all kinds; mlipilot/jobs/container_commands.py does so too
  local name dropped=
  for name in $(compgen -e); do
    case ${name^^} in
      APPTAINER_CACHEDIR | APPTAINER_TMPDIR | APPTAINER_CONFIGDIR) ;; # of no consequence inside
      SINGULARITY_CACHEDIR | SINGULARITY_TMPDIR | SINGULARITY_CONFIGDIR) ;;
      APPTAINER* | SINGULARITY*)
        unset "$name"
        dropped+=" $name"
        ;;
    esac
  done
  [ -z "$dropped" ] || say "left out of the environment of containers:$dropped"
}

no_proxies() { # nor what Apptainer hands on whatever it is told
  local name
  for name in $(compgen -e); do
    case ${name^^} in TERM | *_PROXY) unset "$name" ;; esac
  done
}

# Slurm signals before a time limit and at scancel: the work in hand is asked to end, what follows it still happens.
early= # set once such a signal came
child= # the work in hand: a process, or several
end_early() {
  early=1
  # shellcheck disable=SC2086  # each is a word
  [ -z "$child" ] || kill -TERM $child 2>/dev/null
}
trap end_early TERM USR2 INT

await_child() { # await_child PID…: to their ends, though signals interrupt the wait; sets `status`, the last one's
  local pid
  child=$*
  [ -z "$early" ] || end_early # the signal was quicker than the child
  for pid in "$@"; do
    wait "$pid"
    while kill -0 "$pid" 2>/dev/null; do
      wait "$pid"
    done
    wait "$pid" # bash keeps the child's status; an interrupted wait gave the signal's
    status=$?
  done
  child=
}

# ---- Of a job that the submitter queued -----------------------------------------------------------------------
site() { # site KEY: its value in site.env
  local key value
  while IFS='=' read -r key value; do
    [ "$key" != "$1" ] || printf '%s' "$value"
  done <"$run/spool/site.env"
}

name_job() { # sets `job_id`, `restart` and `node`
  job_id=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}}
  job_id=${job_id:-${SLURM_JOB_ID:?this script runs as a Slurm job}}
  : "${SLURM_JOB_NAME:?a job of the submitter has a name}"
  restart=${SLURM_RESTART_COUNT:-0}
  node=${SLURMD_NODENAME:-$(uname -n)}
}

mark_started() { # the submitter's proof that a submission in doubt did arrive
  local file=$run/spool/started/$SLURM_JOB_NAME.$restart
  printf 'job_id=%s\nnode=%s\ntime=%s\n' "$job_id" "$node" "$(date +%s)" >"$file.$$" && mv "$file.$$" "$file"
}

need_container() { # what runs the image
  find_container ||
    fail "neither apptainer nor singularity is on the PATH of $(uname -n): set MLIPILOT_MODULES in the campaign's sbatch file"
}

check_image() {
  local wanted digest=
  wanted=$(site image_sha256)
  sha256_of_image "$image" "$(site hash_always)" && [ "$digest" = "$wanted" ] && return
  say "the image is not the run's: $image has SHA-256 ${digest:-(it cannot be read)}, wanted $wanted"
  exit 1
}
