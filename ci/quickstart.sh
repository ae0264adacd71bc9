#!/usr/bin/env bash
# From a bare machine to an accepted model: installs, then runs the Cu EMT campaign in its smoke profile.
# Run it again to see the result again; after a kill it goes on where it stopped.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install runtime
run=runs/cu_emt
if [ -f "$run/campaign.lock.yaml" ]; then
  say "going on with $run"
  "$venv/bin/mlipilot" resume "$run"
else
  say "running campaigns/cu_emt.yaml, profile smoke: about nine minutes on two cores"
  "$venv/bin/mlipilot" run campaigns/cu_emt.yaml --profile smoke
fi
say "checking every digest and verdict of the run"
"$venv/bin/mlipilot" verify "$run"
say "open $run/report.html in a browser; the model is in $run/export"
