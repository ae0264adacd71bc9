"""Two small runs of one campaign, as two clusters leave them: the baseline measured, one lesson a lineage."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from mlipilot.audit.lessons import lessons_of
from mlipilot.audit.places import Place
from mlipilot.controller.findings import add_finding
from mlipilot.controller.transcript import Transcript
from mlipilot.controller.verification import verify_run
from mlipilot.merge.merging import merge_runs
from mlipilot.paths import RunPaths
from tests.controller.desk import PILOT
from tests.events import event
from tests.pilots.roles.conftest import Speaker, calling
from tests.report.synthetic import SyntheticRun, make_spec


class Clusters(NamedTuple):
    """The runs of both, and where a merged one may lie."""

    alpha: RunPaths
    beta: RunPaths
    into: RunPaths


def make_lineage(root: Path, number: int, place: Place, *, over: bool = True) -> SyntheticRun:
    """A lineage with a verdict and a lesson, `over` or paused."""
    spec = make_spec(seeds=[1], pilot=PILOT | {"reviewer": False}, jobs={"backend": "slurm"})
    made = SyntheticRun(root, spec, number, place)
    made.propose(0, None, {})
    made.candidate(0, 0.1 * number)
    made.lineage.incumbent.symlink_to("iterations/0000")
    made.propose(1, None, {"learning_rate: 0.01": "learning_rate: 0.02"})
    made.candidate(1, 0.0)
    reply = Speaker(calling("write_lesson", lesson=f"lineage {number} has learnt it")).complete([], [])
    Transcript(made.lineage, made.ledger, made.spec.pilot).record(1, "analyst", reply)
    made.ledger.append(event("lesson", iteration=1, text=f"lineage {number} has learnt it"))
    for lesson in lessons_of(number, made.ledger.records):
        add_finding(made.run, lesson)
    if over:
        made.end("a test")
    return made


@pytest.fixture(scope="session")
def pristine_clusters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both runs. Not to be changed: see `clusters`."""
    folder = tmp_path_factory.mktemp("clusters")
    for cluster, numbers in (("alpha", (0, 1)), ("beta", (4, 5))):
        root = folder / cluster / "cu_emt"
        for number in numbers:
            made = make_lineage(root, number, Place(cluster, f"/home/u/{cluster}/cu_emt"))
        assert verify_run(made.run).problems == []
    return folder


@pytest.fixture
def clusters(pristine_clusters: Path, tmp_path: Path, no_programs: None) -> Clusters:
    """A copy of both that a test may spoil, where there is no Slurm to be asked."""
    shutil.copytree(pristine_clusters, tmp_path / "clusters", symlinks=True)
    alpha, beta = (RunPaths(tmp_path / "clusters" / name / "cu_emt") for name in ("alpha", "beta"))
    return Clusters(alpha, beta, RunPaths(tmp_path / "together"))


def merge(into: RunPaths, *sources: RunPaths) -> list[str]:
    said: list[str] = []
    merge_runs(into, sources, said.append)
    return said
