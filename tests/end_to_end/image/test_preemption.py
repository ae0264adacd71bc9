"""A training whose node Slurm takes away, in a real image: it goes on, and its model does not show it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from mlipilot.audit.manifest import check_manifest
from mlipilot.jobs.job_files import read_result
from mlipilot.jobs.logs import job_events
from mlipilot.paths import CLAIM, JobKey
from tests.end_to_end.cluster import Site
from tests.end_to_end.conftest import mlipilot
from tests.end_to_end.image.conftest import MARKS, SMALL
from tests.end_to_end.slurm_runs import state_of, weights

pytestmark = MARKS

STEPS, TAKEN_AWAY_AT = 600, 200
TRAIN = JobKey(0, 1, "train")


def _steps(attempt: Path) -> list[int]:
    return [int(event["step"]) for event in job_events(attempt) if event["event"] == "progress"]


def test_a_requeued_training_goes_on_and_ends_with_the_weights_of_an_undisturbed_one(
    tiny_data: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "seeds": [1],
        "budget": {"iterations": 0, "optimizer_steps": STEPS},
        "jobs": SMALL,
    }
    plain, taken = (Site(tmp_path / name, data=tiny_data, **settings) for name in ("plain", "taken"))
    try:
        taken.sbatch()
        attempt = taken.run.lineage(0).attempt(TRAIN, 1)
        taken.wait_until(lambda: (_steps(attempt) or [0])[-1] >= TAKEN_AWAY_AT)
        seen = _steps(attempt)[-1]
        job = json.loads((attempt / CLAIM).read_text())["job_id"]
        subprocess.run(["scontrol", "requeue", job], check=True)
        plain.sbatch()
        for site in (taken, plain):
            site.wait_for_the_end()
    finally:
        for site in (taken, plain):
            site.end_all()
    assert [a.outcome for a in state_of(taken.run).jobs[TRAIN]] == ["ok"], taken.said()
    assert json.loads((attempt / CLAIM).read_text())["restart"] == 1
    # Its default interval is 300 s: the checkpoint is that of the signal, so no step was done twice.
    said = (attempt / "stderr.log").read_text()
    went_on = re.search(r"the training goes on after step (\d+), where its checkpoint is", said)
    assert went_on and seen <= int(went_on[1]) < STEPS, said
    assert weights(taken.run) == weights(plain.run) and len(weights(plain.run)) == 1
    undisturbed = plain.run.lineage(0).attempt(TRAIN, 1)
    assert _steps(attempt) == _steps(undisturbed)
    kept_s = json.loads((attempt / "kept.json").read_text())["kept_s"]
    result = read_result(attempt)
    assert 0 < kept_s < result.wall_s and result.isolation.filesystem == "container"
    assert json.loads((undisturbed / "kept.json").read_text())["kept_s"] == 0
    assert check_manifest(attempt) == [] and [p.name for p in (attempt / "output").iterdir()] == ["model"]
    mlipilot("verify", taken.run.root, cwd=tmp_path)
