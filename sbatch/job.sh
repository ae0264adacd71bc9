# shellcheck shell=bash
# What every job does: job.sh RUN ATTEMPT [ATTEMPT]. On the host it needs bash, coreutils and Apptainer.
#
# For each attempt: the toolkit claims it and writes a command line (phases begin), that command runs the
# candidate's code apart from everything (containers are built by mlipilot/jobs/apptainer.py), the toolkit
# seals the outcome (phases end). RUN/spool/site.env, written by the submitter, says with which image.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "${BASH_SOURCE[0]%/*}/common.sh"
run=${1:?the submitter starts it: job.sh RUN ATTEMPT}
shift
export PATH=${PATH:-/usr/local/bin:/usr/bin:/bin} SLURM_EXPORT_ENV=ALL
name_job

probe_network() { # `none` where a container can be cut off here, else `host`
  if apptainer --silent exec --containall --net --network none "$image" true 2>/dev/null; then
    echo none
  else
    echo host
  fi
}

trusted() { # the toolkit inside the image, with the run writable
  apptainer --silent exec --containall --cleanenv --no-home --no-eval --no-mount home,cwd,bind-paths \
    --bind "$run:$run" --pwd "$run" --env "SLURM_JOB_NAME=$SLURM_JOB_NAME" "$image" \
    /opt/mlipilot/bin/python -m mlipilot.jobs.phases "$@"
}

cpu_ms() { # sets `spent_ms`: user and system time of all that has ended below this shell
  local clock=${TMPDIR:-/tmp}/mlipilot-times.$$ user system minutes seconds text
  times >"$clock" # in a subshell it would speak of that
  { read -r _ && read -r user system; } <"$clock"
  rm -f "$clock"
  spent_ms=0
  for text in "$user" "$system"; do # such as 1m2.345s
    minutes=${text%%m*} seconds=${text#*m}
    seconds=${seconds%s}
    spent_ms=$((spent_ms + 10#$minutes * 60000 + 10#${seconds/[.,]/}))
  done
}

seconds() { # seconds MILLISECONDS, with a decimal point
  printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000))
}

run_attempt() {
  local attempt=$run/$1 argv begun_us before_ms wall_ms
  if [ -z "$image" ]; then # a site without Apptainer: the worker of local jobs, and nothing kept apart
    "$(site python)" -m mlipilot.jobs.worker "$attempt" &
    await_child $!
    return "$status"
  fi
  trusted begin "$attempt" --job-id "$job_id" --restart "$restart" --node "$node" \
    --image "$image" --network "$network" --gpus "${CUDA_VISIBLE_DEVICES:-}"
  case $? in
    0) ;;
    3)
      say "$1: nothing to run"
      return 0
      ;;
    *) return 1 ;;
  esac
  mapfile -t argv <"$attempt/exec.argv"
  cpu_ms
  before_ms=$spent_ms
  begun_us=${EPOCHREALTIME/[.,]/}
  (
    ulimit -c 0 -f $((4 * 1024 * 1024))
    exec "${argv[@]}" </dev/null >"$attempt/stdout.log" 2>"$attempt/stderr.log"
  ) &
  await_child $!
  wall_ms=$(((${EPOCHREALTIME/[.,]/} - begun_us) / 1000))
  cpu_ms
  trusted end "$attempt" --job-id "$job_id" --restart "$restart" --node "$node" --network "$network" --status "$status" \
    --wall-s "$(seconds $wall_ms)" --cpu-s "$(seconds $((spent_ms - before_ms)))" ${early:+--cancelled} || return
  say "$1: ended with status $status after $(seconds $wall_ms) s"
}

ring() { # something of this job can be looked at: the controllers look at this one file
  { : >"$run/spool/news"; } 2>/dev/null
}

trap ring EXIT
mark_started
image=$(site image)
load_modules "$(site modules)"
network=host
if [ -n "$image" ]; then
  check_image
  network=$(probe_network)
fi
say "job $job_id (start $restart) on $node, network: $network"
for attempt in "$@"; do
  [ -z "$early" ] || break
  run_attempt "$attempt" || exit
  ring
done
