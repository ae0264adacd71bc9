#!/usr/bin/env bash
# Turns the requests that a run's controllers write into RUN/spool into Slurm jobs, and tells them how those stand.
#
#   submitter.sh RUN          serves until RUN/spool/stop exists or TERM comes; waits while another submitter serves
#   submitter.sh --once RUN   one pass, for cron on a login node where sites forbid sbatch from compute nodes or end
#                             what runs there for long; every minute or so. 0: done, or another submitter serves
#
# Exit status: 2 what was given is wrong, 75 Slurm does not answer (--once), 1 another submitter took over.
# It needs bash 4.4, coreutils and Slurm's commands; with MLIPILOT_ENGINE=hq it serves within an allocation:
# engine_hq.sh. RUN is an absolute path on a filesystem that jobs see.
#
# The site's settings are in settings.sh.
#
# No `set -e`: a full disk or a silent Slurm must not end the service, so every step checks its own outcome.
set -uo pipefail
shopt -s nullglob
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) || exit 2
# shellcheck source-path=SCRIPTDIR source=settings.sh
source "$here/settings.sh"
# shellcheck source-path=SCRIPTDIR source=slurm.sh
source "$here/slurm.sh"
# shellcheck source-path=SCRIPTDIR source=submitter_submissions.sh
source "$here/submitter_submissions.sh"
# shellcheck source-path=SCRIPTDIR source=submitter_request.sh
source "$here/submitter_request.sh"
# shellcheck source-path=SCRIPTDIR source=submitter_queue.sh
source "$here/submitter_queue.sh"
# shellcheck source-path=SCRIPTDIR source=submitter_settled.sh
source "$here/submitter_settled.sh"
# shellcheck source-path=SCRIPTDIR source=submitter_accounts.sh
source "$here/submitter_accounts.sh"
# shellcheck source-path=SCRIPTDIR source=engine_slurm.sh
source "$here/engine_slurm.sh"
# shellcheck source-path=SCRIPTDIR source=engine_hq.sh
source "$here/engine_hq.sh"

usage_error() {
  printf 'submitter.sh: %s\n' "$*" >&2
  exit 2
}

once=
if [[ ${1-} == --once ]]; then
  once=1
  shift
fi
[[ $# -eq 1 ]] || usage_error "got $# arguments instead of one: submitter.sh [--once] RUN"
run=${1%/}
[[ $run == /* && $run != *[[:cntrl:]\\]* ]] ||
  usage_error "RUN '$1' is no absolute path without backslashes and control characters: give one"
cd "$run" 2>/dev/null || usage_error "RUN '$run' is no directory that can be entered: give the directory of a run"
run=$(pwd -P) # of several paths of one run jobs name one
real_run=$run
sbatch_dir=${MLIPILOT_SBATCH_DIR:-$here}
[[ $sbatch_dir == /* && -d $sbatch_dir ]] ||
  usage_error "MLIPILOT_SBATCH_DIR='$sbatch_dir' is no absolute path of a directory: give the one of the batch scripts"
for tool in sbatch squeue scancel; do
  command -v "$tool" >/dev/null || usage_error "'$tool' is not on the PATH: load the site's Slurm"
done
case $MLIPILOT_ENGINE in
  slurm) ;;
  hq) check_hq ;;
  *) usage_error "MLIPILOT_ENGINE='$MLIPILOT_ENGINE' is no engine: set it to slurm or hq" ;;
esac
scrub_environment
mkdir -p spool/{requests,cancel,intents,receipts,started,logs} || usage_error "cannot write in '$run/spool'"

# ---- One submitter a run ------------------------------------------------------------------------------------
lock=spool/submitter.lock
host=$(uname -n)
boot=$(cat /proc/sys/kernel/random/boot_id)

start_ticks() { # sets `ticks` to when that process began (in the kernel's ticks); empty when it is gone
  local stat=
  ticks=
  { IFS= read -r -d '' stat <"/proc/$1/stat"; } 2>/dev/null
  read -r -a stat < <(lines_of "${stat##*) }") # the name in brackets may hold anything
  [[ ${#stat[@]} -lt 20 || ${stat[0]} == [ZX] ]] || ticks=${stat[19]}
}

start_ticks $$
user=$(id -un)
me="user=$user host=$host pid=$$ ticks=$ticks boot=$boot"

lock_owner() { # sets `owner`; a lock without one is nobody's
  owner=
  { IFS= read -r owner <"$lock/owner"; } 2>/dev/null
}

# The rule of mlipilot/audit/process_identity.py: a process is its number with its start, its boot and its host. What cannot be
# seen here is not taken for gone but for its silence.
is_gone() { # is_gone OWNER: dead where we can see it, or silent for ten minutes by the file system's clock
  local claimed beat
  if [[ $1 =~ host=(.*)\ pid=([0-9]+)\ ticks=([0-9]*)\ boot=(.*)$ ]] &&
    [[ ${BASH_REMATCH[1]} == "$host" && ${BASH_REMATCH[4]} == "$boot" ]]; then
    claimed=${BASH_REMATCH[3]}
    start_ticks "${BASH_REMATCH[2]}"
    [[ $ticks == "$claimed" ]] || return 0
  fi
  claimed=$(stat -c %Y "$lock" 2>/dev/null) || return 0
  beat=$(stat -c %Y spool/submitter 2>/dev/null) || beat=0
  file_clock && ((now - (beat > claimed ? beat : claimed) > 600))
}

claim() { # the lock appears with its owner's name in it, so that no kill leaves one that is nobody's
  local mine="spool/.submitter.lock.$host.$$" judged
  rm -rf "$mine"
  lock_owner
  if [[ -d $lock ]]; then
    judged=$owner
    is_gone "$judged" || return 1
    mv -T "$lock" "$mine" 2>/dev/null || return 1
    { IFS= read -r owner <"$mine/owner"; } 2>/dev/null
    if [[ $owner != "$judged" ]]; then # another was quicker: this lock is alive
      mv -T "$mine" "$lock"
      return 1
    fi
    log "taking over from a submitter that is gone: ${judged:-unknown}"
    rm -rf "$mine"
  fi
  { mkdir "$mine" && printf '%s\n' "$me" >"$mine/owner"; } || usage_error "cannot write in '$run/spool'"
  mv -T "$mine" "$lock" 2>/dev/null && return
  rm -rf "$mine"
  return 1
}

is_mine() {
  lock_owner
  [[ $owner == "$me" ]]
}

release() {
  is_mine && rm -rf "$lock"
}

ending=
trap 'ending=1' TERM INT HUP
waiting=
until claim; do
  if [[ -n $once || -n $ending || -e spool/stop ]]; then
    log "another submitter serves this run: $owner"
    exit 0
  fi
  [[ -n $waiting ]] || log "waiting: another submitter serves this run: $owner"
  waiting=1
  sleep 1
done
trap '"finish_$MLIPILOT_ENGINE"; release' EXIT

read_fields spool/submitter
last_host=${fields[host]:-}
generation=${fields[generation]:-0}
[[ $generation =~ ^[0-9]{1,9}$ ]] || generation=0
generation=$((10#$generation + 1))
beaten=0 beats=0
beat() { # the heartbeat: who serves, and that it lives
  clock
  ((now - beaten >= 15)) || return 0
  beaten=$now beats=$((beats + 1))
  printf '%s\n' "time=$now" "user=$user" "host=$host" "pid=$$" "generation=$generation" "beat=$beats" | publish spool/submitter
}

# ---- The service --------------------------------------------------------------------------------------------
beat
log "serving $run as generation $generation on $host, pid $$"
publish_site || exit 2
mark_spool
load_state
"begin_$MLIPILOT_ENGINE" || exit 75
account=$MLIPILOT_ACCOUNT # of whoever pays for the controllers, where the site's block names nobody
[[ -n $account ]] || { IFS= read -r account <spool/account; } 2>/dev/null

if [[ -n $once ]]; then
  poll || exit 75
  list_requests
  consider_all
  [[ -z $news ]] || poll || exit 75
  publish_accounts
  exit 0
fi

# A second costs next to nothing while nothing changes: no process is started, and no directory read. A file of the
# same instant as the look before is found by a second look; what a file server shows late, by one every half minute.
exec {never}<> <(:)
looked=0 again=
look() {
  clock
  if [[ spool/requests -nt spool/.looked || spool/cancel -nt spool/.looked ]]; then
    [[ -L spool/.looked ]] || : >spool/.looked
    again=1
  elif [[ -z $again ]] && ((now - looked < 30)); then
    return 0
  else
    again=
  fi
  looked=$now
  list_requests
  notice_cancels
}

while [[ -z $ending ]]; do
  is_mine || { log "ended: the lock is not ours any more but of ${owner:-nobody}"; exit 1; }
  stop=
  [[ ! -e spool/stop ]] || stop=1 # looked at first: what was asked before it is still done
  beat
  look
  clock
  ((now < next_poll)) || poll
  [[ ${#open[@]} -eq 0 && -z $unpublished ]] || consider_all
  publish_accounts
  [[ -z $stop ]] || break
  read -r -t 1 -u "$never"
done
publish_accounts now
log "ended: ${stop:+$run/spool/stop is there}${ending:+asked to by a signal}"
