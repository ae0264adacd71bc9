# shellcheck shell=bash
# Serves the model of a run's pilot on this node: endpoint.sh RUN. Once it answers, RUN/endpoint.json (mode 0600)
# says where, with a random token; it is gone when the model is. On the host: bash, coreutils and Apptainer or SingularityCE.
#
# What is served, by what, and for how long: MLIPILOT_ENDPOINT… in settings.sh, examples in docs/pilots.md. As a job of
# a campaign it has these from RUN/spool/site.env; started by hand, from the environment.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=settings.sh
source "${BASH_SOURCE[0]%/*}/settings.sh"
# shellcheck source-path=SCRIPTDIR source=common.sh
source "${BASH_SOURCE[0]%/*}/common.sh"
run=$(cd "${1:?a run is expected: endpoint.sh RUN}" && pwd -P) || exit 2
export PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}
published=$run/endpoint.json
host=127.0.0.1 # until `find_address`
of_campaign= # set in a job that the run's submitter has queued
[[ ${SLURM_JOB_NAME:-} != mlp-* ]] || of_campaign=1

read_settings() {
  local key value
  for key in endpoint endpoint_image endpoint_options endpoint_wait_s endpoint_idle_s image modules python; do
    value=$(site "$key")
    [ -z "$value" ] || printf -v "MLIPILOT_${key^^}" %s "$value"
  done
}

find_address() { # sets `host`: this node as others reach it. A number, for not every container knows the nodes' names
  local address
  for address in $(getent ahostsv4 "$(uname -n)" | cut -d ' ' -f 1) $(hostname -I 2>/dev/null); do
    if [[ $address =~ ^[0-9.]+$ && $address != 127.* ]]; then
      host=$address
      return
    fi
  done
}

# No $(…) here: some releases of bash lose a signal that comes while they read one, and this runs for long.
ask() { # ask PORT PATH: sets `answered` to what a server there says to who has no token, such as 200
  local line
  answered=
  exec 3<>"/dev/tcp/$host/$1" || return
  printf 'GET %s HTTP/1.0\r\nHost: %s\r\n\r\n' "$2" "$host" >&3
  read -r -t 10 line <&3
  exec 3>&-
  [[ ! $line =~ ^HTTP/[0-9.]+\ ([0-9]{3}) ]] || answered=${BASH_REMATCH[1]}
} 2>/dev/null

free_port() { # a port of this node that nobody answers on now
  local port
  for _ in {1..50}; do
    port=$((20000 + RANDOM % 12000)) # below those that the kernel gives to whoever names none
    (exec 3<>"/dev/tcp/$host/$port") 2>/dev/null || { echo "$port" && return; }
  done
  fail "no free port was found on $host" >&2
}

# The token goes through the environment: command lines are for everyone on the node to read.
serve_gguf() { # it publishes itself
  local words=(endpoint --gguf "$model" --run "$run" --host "$host" --port 0 --threads "${SLURM_CPUS_PER_TASK:-2}")
  if [ -n "$image" ]; then
    (
      only_own_containers
      give_inside MLIPILOT_ENDPOINT_TOKEN "$token"
      exec "$container" --silent exec "${apart[@]}" "${gpu[@]}" \
        --bind "$model:$model:ro" --bind "$run:$run" "$image" mlipilot "${words[@]}" "${options[@]}"
    ) &
  else
    : "${MLIPILOT_PYTHON:?neither MLIPILOT_IMAGE nor MLIPILOT_PYTHON says what serves a GGUF file}"
    MLIPILOT_ENDPOINT_TOKEN=$token "$MLIPILOT_PYTHON" -m mlipilot "${words[@]}" "${options[@]}" &
  fi
}

serve_vllm() {
  local image=${MLIPILOT_ENDPOINT_IMAGE:?vLLM\'s image serves the directory of a model}
  port=$(free_port) || exit
  # Its caches are larger than a container's own home.
  (
    give_inside VLLM_API_KEY "$token"
    exec "$container" --silent exec "${apart_but_home[@]}" "${gpu[@]}" --workdir "$scratch" \
      --bind "$model:$model:ro" "$image" vllm serve "$model" --served-model-name "$(basename "$model")" \
      --host "$host" --port "$port" "${options[@]}"
  ) &
}

is_up() { # whether the model answers, and is published
  if [ ! -d "$model" ]; then
    [ -e "$published" ]
    return
  fi
  ask "$port" /health
  [ "$answered" = 200 ] || return
  # Another's server may have been quicker to take the port, or this one be open to all who reach the node.
  ask "$port" /v1/models
  [[ $answered == 40[13] ]] || fail "what answers on $host:$port asks for no token: not published"
  (
    umask 077
    printf '{"base_url": "http://%s:%s/v1", "token": "%s"}\n' "$host" "$port" "$token" >"$run/.endpoint.$$"
  ) && mv "$run/.endpoint.$$" "$published"
}

end_when_unasked() { # a run's submitter lives as long as one of its controllers: without any, nobody asks the model
  local beat last='' since=$SECONDS idle=$MLIPILOT_ENDPOINT_IDLE_S
  while sleep $((idle < 60 ? 1 : 15)) >&- 2>&-; do
    beat=$(cat "$run/spool/submitter" 2>/dev/null)
    [ "$beat" = "$last" ] || last=$beat since=$SECONDS
    ((SECONDS - since >= idle)) || continue
    say "no controller of $run has been there for $idle s: the model is not needed any more"
    kill -TERM $$
    return
  done
}

# shellcheck disable=SC2317,SC2329  # the trap calls it
withdraw() { # what is published is not this job's, where its node was lost for a while and another has followed it
  local said=
  IFS= read -r -d '' said <"$published"
  [[ $said != *"\"$token\""* ]] || rm -f "$published"
} 2>/dev/null

# shellcheck disable=SC2317,SC2329
end_all() { # however this ends, the server does not outlive its address
  [ -z "${server:-}" ] || kill -TERM "$server" 2>/dev/null
  [ -z "${watcher:-}" ] || kill -TERM "$watcher" 2>/dev/null
  withdraw
  rm -rf "${scratch:?}"
}

if [ -n "$of_campaign" ]; then
  read_settings
  name_job
fi
image=$MLIPILOT_IMAGE
model=$(realpath -e -- "${MLIPILOT_ENDPOINT:?what to serve: a GGUF file, or the directory of a model}") ||
  fail "there is no model at $MLIPILOT_ENDPOINT"
read -r -a options <<<"$MLIPILOT_ENDPOINT_OPTIONS"
load_modules "$MLIPILOT_MODULES"
[ ! -d "$model" ] && [ -z "$image" ] || need_container
gpu=()
[ -z "${CUDA_VISIBLE_DEVICES:-}" ] || gpu=(--nv --env "CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES")

token=$(head -c 32 /dev/urandom | base64 -w 0 | tr '+/' '-_')
scratch=$(mktemp -d) || exit
trap end_all EXIT
rm -f "$published" # of a node that was lost
if [ -n "$of_campaign" ]; then
  mark_started
  [ -z "$image" ] || [ -d "$model" ] || check_image
  end_when_unasked &
  watcher=$!
fi
find_address
say "loading $model on $(uname -n) ($host) for $run"
if [ -d "$model" ]; then serve_vllm; else serve_gguf; fi
server=$! child=$!
until is_up; do
  if [ -n "$early" ]; then # and again: a signal is lost on who has just been started
    kill -TERM "$server" 2>/dev/null || break
  fi
  kill -0 "$server" 2>/dev/null || fail "the server ended before it answered: see its words above"
  ((SECONDS < MLIPILOT_ENDPOINT_WAIT_S)) || fail "the model was not loaded within $SECONDS s"
  sleep 0.5
done
[ ! -e "$published" ] || say "serving $model on $host"
await_child "$server"
server=
say "the server of $model ended with status $status"
exit "$status"
