"""What is known of a lineage that nobody carries while its jobs run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlipilot.jobs import slurm_job, successors
from mlipilot.jobs.successors import Waiting, read_waiting
from mlipilot.programs import Answer

LEFT = "job_id=50\nname=my campaign\nawaits=41 42\n"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    (tmp_path / "successors").mkdir()
    (tmp_path / "successors" / "lineage-0.17_0").write_text(LEFT)
    return tmp_path


def slurm_says(monkeypatch: pytest.MonkeyPatch, *rows: str, error: str = "") -> list[list[str]]:
    """What squeue answers from now on; each command line that asked."""
    asked: list[list[str]] = []

    def ask(argv: list[str], **_: object) -> Answer:
        asked.append(argv)
        return Answer("squeue", 1 if error else 0, "".join(f"{row}\n" for row in rows), error)

    successors._asked.cache_clear()
    monkeypatch.setattr(slurm_job, "ask", ask)
    return asked


@pytest.mark.parametrize(
    ("rows", "fate"),
    [
        (["50|PENDING|Dependency", "41|RUNNING|None", "42|PENDING|Priority"], "waits"),
        (["50|PENDING|Priority", "41|RUNNING|None"], "due"),
        (["50|RUNNING|None", "41|RUNNING|None", "42|RUNNING|None"], "due"),
        (["41|RUNNING|None", "42|RUNNING|None"], "lost"),
        ([], "lost"),
    ],
)
def test_who_goes_on_is_slurms_to_say(
    spool: Path, monkeypatch: pytest.MonkeyPatch, rows: list[str], fate: str
) -> None:
    asked = slurm_says(monkeypatch, *rows)
    found = read_waiting(spool, 0)
    assert found is not None and (found.successor, found.awaited, found.fate) == ("50", ["41", "42"], fate)
    assert read_waiting(spool, 0) == found and len(asked) == 1, "who watches does not ask each time"
    assert asked[0][-3:] == ["50,41,42,50", "-o", "%F|%T|%r"]


def test_where_slurm_cannot_be_asked_it_is_believed(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm_says(monkeypatch, error="slurm_load_jobs error: Unable to contact slurm controller")
    assert read_waiting(spool, 0) == Waiting("50", ["41", "42"])


def test_a_job_that_is_held_meanwhile_is_told_with_its_mend(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm_says(
        monkeypatch, "50|PENDING|Dependency", "41|REQUEUE_HOLD|launch failed requeued held", "42|RUNNING|None"
    )
    found = read_waiting(spool, 0)
    assert found is not None and found.held.keys() == {"41"} and "scontrol release 41" in found.held["41"]


def test_the_last_word_counts(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm_says(monkeypatch)
    newer = spool / "successors" / "lineage-0.50_0"
    newer.write_text("job_id=51\nname=x\n")
    os.utime(newer, (2**32, 2**32))
    assert read_waiting(spool, 0) is None, "that one was ended early, and job 51 follows it at once"


@pytest.mark.parametrize(
    "text", ["", "time=1\n", "job_id=50\n", "awaits=41\n", "job_id=5;x\nawaits=41\n", "\0\xff"]
)
def test_other_words_say_nothing_of_a_wait(spool: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    asked = slurm_says(monkeypatch)
    (spool / "successors" / "lineage-0.17_0").write_text(text)
    assert read_waiting(spool, 0) is None and asked == []
    assert read_waiting(spool, 1) is None and read_waiting(spool / "none", 0) is None
