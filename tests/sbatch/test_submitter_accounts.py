"""The submitter's extract of Slurm's accounts: what is of the run, asked for rarely; Slurm is a stand-in."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from mlipilot.audit.accounts import extract_in
from tests.sbatch.conftest import Run, StandinSlurm, job_name
from tests.waiting import wait_until

COLUMNS = (
    "JobIDRaw|JobID|JobName|State|Submit|Eligible|Start|End|ElapsedRaw|AllocCPUS|CPUTimeRAW|TotalCPU|MaxRSS"
    "|ReqMem|AllocTRES|WorkDir"
)
NAME = job_name()


def row(number: str, name: str, directory: Path | str, task: str = "", state: str = "COMPLETED") -> str:
    times = "2026-11-29T23:30:23|2026-11-29T23:30:24|2026-11-29T23:30:34|2026-11-29T23:31:34"
    given = "billing=2,cpu=2,gres/gpu=1,mem=300M,node=1"
    return f"{number}|{task or number}|{name}|{state}|{times}|60|2|120|00:00.013||300M|{given}|{directory}"


def batch(number: str) -> str:
    return f"{number}.batch|{number}.batch|batch|COMPLETED||||||2|120|01:30.500|150M||cpu=2,mem=300M|"


@pytest.fixture
def accounts(run: Run, standin_slurm: StandinSlurm) -> Path:
    """What the stand-in for sacct prints of all jobs of this user."""
    standin_slurm.tell("sacct", "print")
    (run.path / "campaign.lock.yaml").write_text("a spec")
    return standin_slurm.root / "accounts"


def extract(run: Run) -> list[str]:
    path = run.spool / "accounts"
    return path.read_text().splitlines() if path.exists() else []


def questions(slurm: StandinSlurm) -> list[list[str]]:
    """For extracts; the submitter asks for other things, too."""
    return [call for call in slurm.calls("sacct") if "--duplicates" in call]


def test_what_is_of_the_run_is_kept_and_nothing_else(run: Run, accounts: Path) -> None:
    claim = run.path / "lineage-0" / "controller" / "000001.json"
    claim.parent.mkdir(parents=True)
    claim.write_text(json.dumps({"job": {"id": "17_0", "restarts": 0}}, indent=2))
    ours = [row("1", NAME, run.path), batch("1"), row("18", "mlipilot", "/home/me", task="17_0"), batch("18")]
    others = [
        row("2", job_name(2), "/elsewhere"),
        batch("2"),
        row("3", "mine", run.path),
        "a banner | of theirs",
    ]
    steps = [
        "1.extern|1.extern|extern|COMPLETED||||||||||||cpu=2|",
        "1.0|1.0|true|COMPLETED||||||||||||cpu=2|",
    ]
    accounts.write_text("\n".join([*others, ours[0], *steps, *ours[1:], *others]) + "\n")
    run.request()
    assert run.once().returncode == 0
    head, columns, *rows = extract(run)
    assert head.endswith("accounting=1") and columns == COLUMNS
    assert rows == ours


def test_one_question_for_all_jobs_and_no_second_one_soon(
    run: Run, accounts: Path, standin_slurm: StandinSlurm
) -> None:
    accounts.write_text(row("1", NAME, run.path) + "\n")
    run.request()
    run.once()
    assert standin_slurm.environment("sacct")["TZ"] == "UTC"
    run.once()
    run.once()
    # Cron's next passes, a minute and two later.
    for _ in range(2):
        text = (run.spool / "accounts").read_text()
        stamp = int(text.removeprefix("time=").partition(" ")[0])
        (run.spool / "accounts").write_text(text.replace(f"time={stamp}", f"time={stamp - 60}", 1))
        run.once()
    (asked,) = questions(standin_slurm)
    assert "--parsable2" in asked and not [word for word in asked if word.startswith(("--name", "--jobs"))]


def test_the_end_of_the_service_has_the_last_word(run: Run, accounts: Path) -> None:
    accounts.write_text(row("1", NAME, run.path, state="RUNNING") + "\n")
    run.request()
    service = run.serve()
    wait_until(lambda: extract(run))
    accounts.write_text(row("1", NAME, run.path) + "\n" + batch("1") + "\n")
    service.terminate()
    service.wait(timeout=60)
    assert extract(run)[2:] == [row("1", NAME, run.path), batch("1")]


def test_what_slurm_has_forgotten_or_does_not_answer_stays(
    run: Run, accounts: Path, standin_slurm: StandinSlurm
) -> None:
    accounts.write_text("\n".join([row("1", NAME, run.path), batch("1"), row("18", "mine", "/")]) + "\n")
    run.request()
    run.once()
    kept = extract(run)[2:]
    assert kept == [row("1", NAME, run.path), batch("1")]
    old = (run.spool / "accounts").read_text().replace("time=1", "time=")  # years ago: it is time again
    for answer, mode in (("", "down"), (row("4", job_name(4), run.path) + "\n", "print")):
        (run.spool / "accounts").write_text(old)
        accounts.write_text(answer)
        standin_slurm.tell("sacct", mode)
        assert run.once().returncode == 0
    assert extract(run)[2:] == [*kept, row("4", job_name(4), run.path)]


def test_a_start_that_was_requeued_stays_beside_the_new_one(run: Run, accounts: Path) -> None:
    starts = [row("1", NAME, run.path, state="REQUEUED"), batch("1"), row("1", NAME, run.path), batch("1")]
    accounts.write_text("\n".join(starts) + "\n")
    run.request()
    run.once()
    assert extract(run)[2:] == starts
    found = extract_in(run.spool)
    assert found is not None and [job.state for job in found.jobs] == ["REQUEUED", "COMPLETED"]


def test_where_slurm_keeps_no_accounts_the_extract_says_so(run: Run, standin_slurm: StandinSlurm) -> None:
    run.request()
    run.once()  # the stand-in's sacct says that they are disabled
    found = extract_in(run.spool)
    assert found is not None and not found.keeps_accounts and found.jobs == []
    before = extract(run)
    time.sleep(1)
    run.once()
    assert extract(run) == before


def test_a_run_without_jobs_asks_nothing(run: Run, accounts: Path, standin_slurm: StandinSlurm) -> None:
    run.once()
    assert extract(run) == [] and questions(standin_slurm) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_all_of_a_group_who_carry_the_run_are_asked_for(
    run: Run, accounts: Path, standin_slurm: StandinSlurm
) -> None:
    accounts.write_text("")
    claim = run.path / "lineage-0" / "controller" / "000001.json"
    claim.parent.mkdir(parents=True)
    claim.write_text("{}")
    os.chown(claim, 12345, -1)
    run.request()
    run.once()
    (asked,) = questions(standin_slurm)
    (users,) = [word.removeprefix("--uid=") for word in asked if word.startswith("--uid=")]
    assert sorted(users.split(",")) == ["0", "12345"]


def test_a_slurm_that_is_silent_is_not_asked_at_the_end(
    run: Run, accounts: Path, standin_slurm: StandinSlurm
) -> None:
    accounts.write_text(row("1", NAME, run.path) + "\n")
    run.request()
    service = run.serve()
    wait_until(lambda: extract(run))
    standin_slurm.tell("squeue", "down")
    wait_until(lambda: run.queue()[0].get("ok") == "0")
    asked = len(questions(standin_slurm))
    service.terminate()
    service.wait(timeout=60)
    assert len(questions(standin_slurm)) == asked
