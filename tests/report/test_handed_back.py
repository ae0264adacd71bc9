"""What is shown of a lineage that nobody carries while its jobs run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlipilot.audit.lock import controller_lock
from mlipilot.jobs import slurm_job, successors
from mlipilot.paths import JobKey
from mlipilot.programs import Answer
from mlipilot.report.lineage_reading import load_lineage
from mlipilot.report.status_json import status_dict, status_line
from tests.events import event
from tests.report.synthetic import SyntheticRun, make_spec


@pytest.fixture
def made(tmp_path: Path) -> SyntheticRun:
    """Its controller was job 17, and job 50 goes on when job 41 ends."""
    made = SyntheticRun(tmp_path / "run", make_spec(seeds=[1]))
    made.propose(0, None, {})
    made.start(JobKey(0, 1, "train"))
    (left := made.run.spool / "successors").mkdir(parents=True)
    (left / "lineage-0.17_0").write_text("job_id=50\nname=x\nawaits=41\n")
    made.run.image_digest.write_text("a" * 64 + "\n")
    return made


def say(monkeypatch: pytest.MonkeyPatch, *rows: str, status: int | None = 0) -> None:
    successors._asked.cache_clear()
    monkeypatch.setattr(slurm_job, "ask", lambda *_, **__: Answer("squeue", status, "\n".join(rows), ""))


@pytest.mark.parametrize(
    ("status", "rows", "phase", "words"),
    [
        (None, [], "waiting", "no core is held: job 50 goes on when one of its jobs (41) ends"),
        (0, ["50|PENDING|Dependency", "41|RUNNING|None"], "waiting", "job 50 goes on when one of its jobs"),
        (
            0,
            ["50|PENDING|Dependency", "41|PENDING|JobHeldUser"],
            "waiting",
            "`scontrol release 41` lets it run",
        ),
        (0, ["50|PENDING|Resources"], "waiting", "has ended: job 50 goes on when Slurm starts it"),
        (
            0,
            ["41|RUNNING|None"],
            "interrupted",
            "job 50, which was to go on when one of its jobs (41) ends, is not",
        ),
        (0, ["41|RUNNING|None"], "interrupted", "mend: `sbatch` of its campaign's sbatch file goes on"),
    ],
)
def test_status_says_who_goes_on_and_when(
    made: SyntheticRun,
    monkeypatch: pytest.MonkeyPatch,
    status: int | None,
    rows: list[str],
    phase: str,
    words: str,
) -> None:
    say(monkeypatch, *rows, status=status)
    found = json.loads(json.dumps(status_dict(load_lineage(made.run, made.lineage))))
    assert (found["phase"], found["controller"]) == (phase, None)
    assert found["handed_back"]["successor"] == "50" and found["handed_back"]["awaited"] == ["41"]
    assert words in status_line(found)


def test_of_a_lineage_that_somebody_carries_or_that_is_over_nothing_is_said(
    made: SyntheticRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(monkeypatch)
    with controller_lock(made.lineage.root):
        found = status_dict(load_lineage(made.run, made.lineage))
        assert (found["phase"], found["handed_back"]) == ("running", None)
    made.ledger.append(event("cancelled"))
    found = status_dict(load_lineage(made.run, made.lineage))
    assert (found["phase"], found["handed_back"]) == ("cancelled", None)
