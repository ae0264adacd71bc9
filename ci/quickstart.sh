#!/usr/bin/env bash
# From a bare machine to an accepted model: installs, then runs a campaign in its smoke profile, that of copper or
#   ci/quickstart.sh qm7_b3lyp      that of molecules
# Run it again to see the result again; after a kill it goes on where it stopped.
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
campaign=${1:-cu_emt}
[ -f "campaigns/$campaign.yaml" ] || { echo "there is no campaigns/$campaign.yaml; try cu_emt or qm7_b3lyp" >&2; exit 2; }
install runtime
run=runs/$campaign
if [ -f "$run/campaign.lock.yaml" ]; then
  say "going on with $run"
  "$venv/bin/mlipilot" resume "$run"
else
  say "running campaigns/$campaign.yaml, profile smoke: some ten minutes on two cores"
  "$venv/bin/mlipilot" run "campaigns/$campaign.yaml" --profile smoke
fi
say "checking every digest and verdict of the run"
"$venv/bin/mlipilot" verify "$run"
say "open $run/report.html in a browser; the model is in $run/export"
