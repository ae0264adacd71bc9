# shellcheck shell=bash
# What every job does: job.sh RUN STAGE [STAGE…]. On the host it needs bash, coreutils and Apptainer or SingularityCE.
# A stage is an attempt, or several that run side by side: A+B+C. The next stage begins when all of them are over.
#
# For each attempt: the toolkit claims it and writes the command line of a container (phases begin), such a container
# is measured from inside, the toolkit says whether it keeps enough apart (phases judge), the candidate's code runs
# in one (they are built by mlipilot/jobs/container_commands.py), the toolkit seals the outcome (phases end). RUN/spool/site.env,
# written by the submitter, says with which image.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "${BASH_SOURCE[0]%/*}/common.sh"
run=${1:?the submitter starts it: job.sh RUN STAGE}
shift
export PATH=${PATH:-/usr/local/bin:/usr/bin:/bin} SLURM_EXPORT_ENV=ALL
name_job

measure() { # measure DIRECTORY: what such a container shows, before any code of the candidate; sets `inside`
  local network own binds sources index there key value by=
  own=$(stat -Lc %i /proc/self/ns/net)
  mapfile -t binds <"$1/exec.binds"
  mapfile -t sources <"$1/exec.sources"
  for index in "${!binds[@]}"; do # in the place inside is what the host has in the source
    there=$(stat -c '%d:%i' -- "${sources[index]}") && printf 'bind %s %s\n' "$there" "${binds[index]}"
  done >"$1/measured.host"
  for network in none seccomp host; do # the first that is cut off from the network will do
    mapfile -t inside <"$1/container.$network"
    timeout 120 "${inside[@]}" /bin/bash -p -s "$own" "${binds[@]}" \
      <"$1/measure.sh" >"$1/measured" 2>"$1/measured.log" && break
  done
  while read -r key value; do
    [ "$key" != network ] || by=$value
  done <"$1/measured"
  case $by in
    host) say "warning: nothing here keeps the job's code from the network" ;;
    ?*) say "network: cut off by $by" ;;
  esac
}

# shellcheck disable=SC2329  # `patiently` calls it
trusted() { # the toolkit inside the image, with the run writable
  "$container" --silent exec "${apart[@]}" \
    --bind "$run:$run" --pwd "$run" --env "SLURM_JOB_NAME=$SLURM_JOB_NAME" "$image" \
    /opt/mlipilot/bin/python -m mlipilot.jobs.phases "$@"
}

# Counting and writing things down must not cost what a command has done: what cannot be read is unknown, and
# what cannot be written is tried again.
uptime_ms() { # sets `now_ms`, by a clock that nobody sets
  local up rest
  now_ms=$((SECONDS * 1000))
  read -r up rest 2>/dev/null </proc/uptime && [[ $up =~ ^[0-9]+\.[0-9][0-9]$ ]] && now_ms=$((10#${up/./} * 10))
}

page_bytes=$(getconf PAGE_SIZE 2>/dev/null)
[[ $page_bytes =~ ^[1-9][0-9]*$ ]] || page_bytes=4096
ticks_s=$(getconf CLK_TCK 2>/dev/null) # how many of what the kernel counts in make a second
[[ $ticks_s =~ ^[1-9][0-9]*$ ]] || ticks_s=100

cpu_ms() { # sets `spent_ms`: user and system time of all that has ended below this shell; empty: unknown
  local stat
  spent_ms=
  read -r stat 2>/dev/null </proc/$BASHPID/stat || return 0
  # shellcheck disable=SC2206  # after the command's name there are but numbers
  stat=(${stat##*) })
  [[ ${stat[13]:-} =~ ^[0-9]+$ && ${stat[14]:-} =~ ^[0-9]+$ ]] || return 0
  spent_ms=$(((stat[13] + stat[14]) * 1000 / ticks_s))
}

# What a job in a container may take besides its time: as mlipilot/jobs/bounds.py has it.
most_processes=512 most_files=200000 most_output_mib=32768 processes_of_a_user=8192

look_below() { # look_below PID: sets `below` and `seen_ms`, of all below it, as jobs/processes.py does; keeps `own`
  local root=$1 file pid up stat ticks=0 seen=0
  local -A parent=() waited=() started=() used=()
  below=()
  for file in /proc/[0-9]*/stat; do
    pid=${file//[!0-9]/}
    stat= # of one that has ended meanwhile
    IFS= read -rd '' stat 2>/dev/null <"$file" # a command's name may hold a line break
    # shellcheck disable=SC2206  # after the command's name there are but numbers
    stat=(${stat##*) })
    [ ${#stat[@]} -gt 19 ] || continue
    parent[$pid]=${stat[1]} started[$pid]=${stat[19]}
    used[$pid]=$((stat[11] + stat[12])) waited[$pid]=$((stat[13] + stat[14]))
  done
  for pid in "${!parent[@]}"; do
    up=$pid
    while [ "$up" != "$root" ] && [ -n "${parent[$up]:-}" ]; do
      up=${parent[$up]}
    done
    [ "$up" = "$root" ] || continue
    ticks=$((ticks + used[$pid] + waited[$pid]))
    own[$pid:${started[$pid]}]=${used[$pid]}
    [ "$pid" = "$root" ] || below+=("$pid")
  done
  for pid in "${!own[@]}"; do
    seen=$((seen + own[$pid]))
  done
  seen_ms=$(((ticks > seen ? ticks : seen) * 1000 / ticks_s))
}

memory_below() { # memory_below MIB: sets `mib` as jobs/processes.py does; each process's share where it seems to be beyond that
  local pid pages shared rest kib=0 shares_kib=0 key value share_kib
  for pid in "${below[@]}"; do
    read -r rest pages shared rest <"/proc/$pid/statm" && kib=$((kib + (pages - shared) * page_bytes / 1024))
  done
  if [ $((kib / 1024)) -gt "$1" ]; then
    for pid in "${below[@]}"; do
      share_kib=
      while read -r key value rest; do
        [ "$key" != Pss_Anon: ] || share_kib=$value
      done <"/proc/$pid/smaps_rollup"
      if [ -z "$share_kib" ] && read -r rest pages shared rest <"/proc/$pid/statm"; then
        share_kib=$(((pages - shared) * page_bytes / 1024))
      fi
      shares_kib=$((shares_kib + ${share_kib:-0}))
    done
    kib=$shares_kib
  fi
  mib=$((kib / 1024))
}

find_excess() { # find_excess ATTEMPT: sets `excess`: which of the bounds the job has gone beyond, if any
  local files mib rest most_mib=''
  excess=
  if [ ${#below[@]} -gt $most_processes ]; then
    excess="it had ${#below[@]} processes and may have $most_processes"
    return
  fi
  read -r most_mib <"$1/exec.memory_limit"
  if [ -n "$most_mib" ] && memory_below "$most_mib" && [ "$mib" -gt "$most_mib" ]; then
    excess="it took $mib MiB of memory and may take $most_mib: see jobs.resources.memory_mib"
    return
  fi
  read -r files rest < <(timeout 60 du -sx --inodes -- "$1/output")
  read -r mib rest < <(timeout 60 du -sx --block-size=1M -- "$1/output")
  if [ "${files:-0}" -gt $most_files ]; then
    excess="it left $files files and may leave $most_files"
  elif [ "${mib:-0}" -gt $most_output_mib ]; then
    excess="it left $mib MiB and may leave $most_output_mib"
  fi
}

watch() { # watch ATTEMPT PID SECONDS: notes what runs below PID has taken; ends it at that limit of CPU time, or for excess
  local seen_ms excess below
  local -A own=()
  while sleep 5 >/dev/null 2>&1 && kill -0 "$2" 2>/dev/null; do
    look_below "$2"
    printf '%s\n' "$seen_ms" >"$1/exec.cpu_spent"
    find_excess "$1"
    if [ -n "$excess" ]; then
      printf '%s\n' "$excess" >"$1/exec.excess"
      kill -KILL "${below[@]}" # at once, for it may take more while it is waited for
    elif [ -n "$3" ] && [ "$seen_ms" -ge $(($3 * 1000)) ]; then
      kill -TERM "$2" # `timeout` hands it on, and kills what stays
    fi
  done
} 2>/dev/null

seconds() { # seconds NAME MILLISECONDS: sets NAME, with a decimal point
  printf -v "$1" '%d.%03d' $(($2 / 1000)) $(($2 % 1000))
}

patiently() { # patiently TRIES COMMAND…: again after growing pauses, unless its status is one that stands
  local tries=$1 pause_s=1 result
  shift
  while :; do
    "$@"
    result=$?
    case $result in 0 | 2 | 3 | 4) return $result ;; esac # see mlipilot/jobs/phases.py
    tries=$((tries - 1))
    [ $tries -gt 0 ] || return $result
    if [ -n "$early" ]; then # this job has half a minute left
      tries=1
    else
      sleep $pause_s
      pause_s=$((pause_s < 30 ? pause_s * 2 : 60))
    fi
  done
}

# shellcheck disable=SC2329  # `patiently` calls it
publish_end() { # publish_end ATTEMPT: who finds `ended` there can seal the attempt, whatever becomes of this job
  local holder file=$1/ended.json
  holder=$(<"$1/worker.json") || return 1
  [ "$holder" = "$claim" ] || return 4 # a later start runs it again: mlipilot/jobs/attempt_claims.py
  printf '%s\n' "$ended" >"$file.$$" && sync "$file.$$" && mv -f "$file.$$" "$file"
} 2>/dev/null

note_end() { # note_end ATTEMPT MILLISECONDS [OF CPU]: sets `ended`, as mlipilot/jobs/notes.py reads it; publishes it
  local cancelled=false wall_s cpu_s=null excess=
  [ "$status" = 0 ] || [ -n "$early" ] || sleep 2 # what ends a job may reach its command before it reaches this shell
  [ -z "$early" ] || cancelled=true
  seconds wall_s "$2"
  [ -z "$3" ] || seconds cpu_s "$3"
  read -r excess 2>/dev/null <"$1/exec.excess"
  printf -v ended '{"job_id":"%s","restart":%d,"node":"%s","exit_status":%d,"cancelled":%s,"wall_s":%s,"cpu_s":%s%s}' \
    "$job_id" "$restart" "$node" $((status > 128 ? 128 - status : status)) $cancelled "$wall_s" "$cpu_s" \
    "${excess:+,\"excess\":\"$excess\"}"
  patiently 10 publish_end "$1"
  say "${1#"$run/"}: ended with status $status after $wall_s s"
}

run_attempt() {
  local attempt=$run/$1 argv inside begun_ms before_ms now_ms spent_ms seen_ms=0 claim ended command cpu_limit_s='' watcher tasks
  if [ -z "$image" ]; then # a site without Apptainer: the worker of local jobs, and nothing kept apart
    "$(site python)" -m mlipilot.jobs.worker "$attempt" &
    await_child $!
    return "$status"
  fi
  patiently 6 trusted begin "$attempt" --job-id "$job_id" --restart "$restart" --node "$node" \
    --image "$image" "${called[@]}" --gpus "${CUDA_VISIBLE_DEVICES:-}" && measure "$attempt" &&
    patiently 6 trusted judge "$attempt" --job-id "$job_id" --restart "$restart" --node "$node"
  case $? in
    0) ;;
    3)
      say "$1: nothing to run"
      return 0
      ;;
    *) return 1 ;;
  esac
  if ! { claim=$(<"$attempt/worker.json") && mapfile -t argv <"$attempt/exec.argv" && [ ${#argv[@]} -gt 0 ] &&
    : >"$attempt/stdout.log" && : >"$attempt/stderr.log"; }; then
    say "not storable: $attempt cannot be read, or its logs cannot be written"
    return 1
  fi
  cpu_ms
  before_ms=$spent_ms
  uptime_ms
  begun_ms=$now_ms
  tasks=(/proc/[0-9]*/task/[0-9]*)
  (
    ulimit -c 0 -f $((4 * 1024 * 1024))
    most_tasks=$((${#tasks[@]} + processes_of_a_user)) has_tasks=$(ulimit -S -u)
    [[ $has_tasks =~ ^[0-9]+$ && $has_tasks -le $most_tasks ]] || ulimit -S -u $most_tasks
    exec "${inside[@]}" "${argv[@]}" </dev/null >"$attempt/stdout.log" 2>"$attempt/stderr.log"
  ) &
  command=$!
  read -r cpu_limit_s 2>/dev/null <"$attempt/exec.cpu_limit"
  watch "$attempt" $command "$cpu_limit_s" &
  watcher=$!
  await_child $command
  uptime_ms
  cpu_ms
  { kill $watcher && wait $watcher; } 2>/dev/null
  [ -z "$before_ms" ] || [ -z "$spent_ms" ] || spent_ms=$((spent_ms - before_ms))
  # What nobody waited for is in the watcher's sum alone.
  read -r seen_ms 2>/dev/null <"$attempt/exec.cpu_spent"
  [ -z "$spent_ms" ] || [ "${seen_ms:-0}" -le "$spent_ms" ] || spent_ms=$seen_ms
  note_end "$attempt" $((now_ms - begun_ms)) "${before_ms:+$spent_ms}"
  patiently 10 trusted end "$attempt" --ended "$ended" && return
  [ $? != 4 ] || return 1
  say "$1: could not be sealed; whoever finds it next does that"
  left=1
}

ring() { # something of this job can be looked at: the controllers look at this one file
  [ -L "$run/spool/news" ] || { : >"$run/spool/news"; } 2>/dev/null
}

run_stage() { # run_stage ATTEMPT…: fails where none of them could be run
  local attempt pid pids=() failed=0
  if [ $# -eq 1 ]; then
    run_attempt "$1"
    return
  fi
  for attempt in "$@"; do
    (
      child=
      trap end_early TERM USR2 INT # a shell within a shell forgets it
      run_attempt "$attempt" || left=2
      ring
      exit "${left:-0}"
    ) &
    pids+=($!)
  done
  await_child "${pids[@]}"
  for pid in "${pids[@]}"; do
    wait "$pid" # again: for its own status
    case $? in
      0) ;;
      2) failed=$((failed + 1)) ;;
      *) left=1 ;;
    esac
  done
  [ $failed -eq 0 ] || left=1
  [ $failed -lt $# ]
}

trap ring EXIT
left= # set where an attempt ended and is not sealed
mark_started
image=$(site image)
load_modules "$(site modules)"
called=() # an image that was built before there was a choice need not know the option
if [ -n "$image" ]; then
  need_container
  [ "$container" = apptainer ] || called=(--container "$container")
  check_image
  only_own_containers
  no_proxies
fi
say "job $job_id (start $restart) on $node"
for stage in "$@"; do
  [ -z "$early" ] || break
  read -r -a attempts < <(printf '%s\n' "${stage//+/ }")
  run_stage "${attempts[@]}" || exit
  ring
done
exit "${left:-0}"
