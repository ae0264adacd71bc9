# shellcheck shell=bash
# Serves the model of a run's pilot on this node: endpoint.sh RUN. Once it answers, RUN/endpoint.json (mode 0600)
# says where, with a random token; it is gone when the model is. On the host: bash, coreutils and Apptainer.
#
#   MLIPILOT_ENDPOINT          what to serve: a GGUF file, by llama.cpp in MLIPilot's own image, or the directory of
#                              a model in Hugging Face's layout, by vLLM
#   MLIPILOT_ENDPOINT_IMAGE    vLLM's image, for such a directory: apptainer pull vllm.sif docker://vllm/vllm-openai
#   MLIPILOT_ENDPOINT_OPTIONS  further words for the server, separated by blanks: `--context-tokens 32768 --threads 16`
#                              for a GGUF, `--max-model-len 32768 --enable-auto-tool-choice --tool-call-parser hermes`
#   MLIPILOT_ENDPOINT_WAIT_S   patience until the model is loaded  (1800)
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "${BASH_SOURCE[0]%/*}/common.sh"
run=$(cd "${1:?a run is expected: endpoint.sh RUN}" && pwd -P) || exit 2
model=$(realpath -- "${MLIPILOT_ENDPOINT:?what to serve: a GGUF file, or the directory of a model}") || exit 2
read -r -a options <<<"${MLIPILOT_ENDPOINT_OPTIONS:-}"
host=$(uname -n)

contained=(apptainer --silent exec --containall --cleanenv --no-home --no-eval --no-mount "home,cwd,bind-paths")
[ -z "${CUDA_VISIBLE_DEVICES:-}" ] || contained+=(--nv --env "CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES")

free_port() { # a port of this node that nobody answers on now
  local port
  for _ in $(seq 50); do
    port=$((20000 + RANDOM % 20000))
    (exec 3<>"/dev/tcp/$host/$port") 2>/dev/null || { echo "$port" && return; }
  done
  fail "no free port was found on $host"
}

answers() { # answers PORT: whether the server says that it is healthy
  local line
  exec 3<>"/dev/tcp/$host/$1" || return
  printf 'GET /health HTTP/1.0\r\nHost: %s\r\n\r\n' "$host" >&3
  read -r -t 10 line <&3
  exec 3>&-
  [[ $line == HTTP/*' 200 '* ]]
} 2>/dev/null

serve_gguf() {
  local image=${MLIPILOT_IMAGE:?MLIPilot\'s image serves the GGUF file}
  "${contained[@]}" --bind "$model:$model:ro" --bind "$run:$run" "$image" \
    mlipilot endpoint --gguf "$model" --run "$run" --host "$host" --port 0 "${options[@]}" &
  child=$!
}

serve_vllm() {
  local image=${MLIPILOT_ENDPOINT_IMAGE:?vLLM\'s image serves the directory of a model} port token waited=0
  port=$(free_port) || exit
  token=$(head -c 32 /dev/urandom | base64 -w 0 | tr '+/' '-_')
  # The token goes through the environment: command lines are for everyone on the node to read.
  VLLM_API_KEY=$token APPTAINERENV_VLLM_API_KEY=$token "${contained[@]}" --bind "$model:$model:ro" "$image" \
    vllm serve "$model" --served-model-name "$(basename "$model")" --host "$host" --port "$port" "${options[@]}" &
  child=$!
  until answers "$port"; do
    kill -0 "$child" 2>/dev/null || fail "the server ended before it answered: see its words above"
    ((waited += 2))
    [ "$waited" -le "${MLIPILOT_ENDPOINT_WAIT_S:-1800}" ] || fail "the model was not loaded within $waited s"
    sleep 2
  done
  (
    umask 077
    printf '{"base_url": "http://%s:%s/v1", "token": "%s"}\n' "$host" "$port" "$token" >"$run/.endpoint.$$"
  ) && mv "$run/.endpoint.$$" "$run/endpoint.json"
}

if [ -d "$model" ]; then
  serve_vllm
else
  serve_gguf
fi
say "serving $model on $host for $run"
await_child "$child"
[ ! -d "$model" ] || rm -f "$run/endpoint.json"
say "the server of $model ended with status $status"
exit "$status"
