"""What is settled is folded into one file and reads as before; Slurm is a stand-in."""

from __future__ import annotations

import json
import time

import pytest

from mlipilot.jobs import slurm_backend
from mlipilot.jobs.ending import open_requests
from mlipilot.jobs.job_settings import JobSettings
from mlipilot.jobs.slurm_backend import SlurmBackend
from mlipilot.jobs.spool import Spool
from tests.sbatch.conftest import ATTEMPT, Run, StandinSlurm, job_name
from tests.sbatch.settled import NAME, end, files_of, let_time_pass, lines, seal
from tests.waiting import wait_until


def test_what_is_settled_is_one_line_and_reads_as_before(run: Run, standin_slurm: StandinSlurm) -> None:
    seal(run)
    run.request()
    run.once()
    end(run, standin_slurm)
    spool = Spool(run.spool)

    def read() -> tuple[object, ...]:
        facts = (spool.is_requested(NAME), spool.has_started(NAME), spool.is_cancelled(NAME))
        return (*facts, spool.may_be_submitted(NAME), spool.requests_of(0), spool.receipt(NAME))

    before, row = read(), spool.queue().rows[NAME]
    assert files_of(run) == ["requests", "intents", "receipts", "started"]
    done = run.once()
    assert "folded 1 of the requests" in done.stdout
    assert files_of(run) == [] and run.queue()[1] == {}
    (line,) = lines(run)
    assert line.isascii() and line.startswith(f"{NAME}\tstatus=submitted\tjob_id=1\t")
    assert f"\tasked=template=train attempt={ATTEMPT} minutes=30 cpus=2 memory_mib=500 gpus=0\tend" in line
    assert read() == before == (True, True, False, True, [NAME], before[-1])
    assert spool.queue().rows[NAME] == row and list(spool.queue().rows) == [NAME]
    assert open_requests(spool, 0) == []
    run.request()
    assert run.once().returncode == 0, "and once more, by the same name"
    assert lines(run) == [line] and len(standin_slurm.calls("sbatch")) == 1
    assert run.receipt() == {} and files_of(run) == []


@pytest.mark.parametrize("lacks", ["its seal", "the other's seal", "time", "an end", "a wish to cancel"])
def test_what_is_not_settled_keeps_its_files(run: Run, standin_slurm: StandinSlurm, lacks: str) -> None:
    other = ATTEMPT.replace("train", "evaluate")
    run.attempt(other)
    if lacks != "its seal":
        seal(run)
    if lacks != "the other's seal":
        seal(run, other)
    minutes = "0" if lacks == "a wish to cancel" else "1"
    run.request(template="fused", attempt=f"{ATTEMPT},{other}", minutes=minutes)
    if lacks == "a wish to cancel":
        (run.path / ATTEMPT / "manifest-sha256.txt").unlink()
        run.once()
    else:
        run.once()
        end(run, standin_slurm, state="RUNNING" if lacks == "an end" else "COMPLETED")
    if lacks == "time":
        text = (run.spool / "queue").read_text()
        (run.spool / "queue").write_text(text.replace("|1000", f"|{int(time.time()) - 400}"))
    before = files_of(run)
    run.once()
    assert lines(run) == [] and files_of(run) == before != []


def test_a_request_that_is_to_run_after_it_is_submitted_first(run: Run, standin_slurm: StandinSlurm) -> None:
    seal(run)
    run.request()
    run.once()
    end(run, standin_slurm)
    standin_slurm.tell("sbatch", "max_submit")
    run.request(after := job_name(2), after=NAME)
    run.serve(MLIPILOT_POLL_S="1")
    wait_until(lambda: not files_of(run))
    standin_slurm.tell("sbatch", "")
    wait_until(lambda: run.receipt(after))
    (*_, call) = standin_slurm.calls("sbatch")
    assert not [word for word in call if word.startswith("--dependency")], "Slurm may have forgotten it"


def test_after_a_rejected_one_nothing_runs_even_when_that_is_folded(
    run: Run, standin_slurm: StandinSlurm
) -> None:
    run.request(minutes="0")
    run.cancel(NAME)
    run.once()
    run.once()
    assert files_of(run) == [] and "\tstatus=rejected\t" in lines(run)[0]
    run.request(after := job_name(2), after=NAME)
    run.once()
    assert run.receipt(after)["reason"] == f"after={NAME} was rejected"


@pytest.mark.parametrize(
    ("state", "text", "kept"),
    [("COMPLETED", "job 1 on n1\n", False), ("FAILED", "no room\n", True), ("FAILED", "", False)],
)
def test_logs_of_jobs_that_did_not_end_well_stay(
    run: Run, standin_slurm: StandinSlurm, state: str, text: str, kept: bool
) -> None:
    seal(run)
    run.request()
    run.once()
    end(run, standin_slurm, state=state)
    run.write("logs", f"{NAME}.log", text)
    run.once()
    assert files_of(run) == [] and (run.spool / "logs" / f"{NAME}.log").exists() is kept


def test_what_an_iteration_gave_up_is_folded_with_it(run: Run, standin_slurm: StandinSlurm) -> None:
    run.request()
    run.once()
    end(run, standin_slurm, state="NODE_FAIL")
    run.once()
    assert lines(run) == []
    (run.path / "lineage-0/iterations/0001/manifest-sha256.txt").touch()
    run.once()
    assert len(lines(run)) == 1 and files_of(run) == []


@pytest.mark.parametrize(
    ("how", "ended"),
    [
        ("sealed", "COMPLETED"),
        ("cancelled", "CANCELLED"),
        ("cancelled, with a log", "FAILED"),
        ("given up", "TIMEOUT"),
        ("given up", "OUT_OF_MEMORY"),
        ("refused", ""),
    ],
)
def test_a_controller_is_never_surprised(
    run: Run, standin_slurm: StandinSlurm, monkeypatch: pytest.MonkeyPatch, how: str, ended: str
) -> None:
    monkeypatch.setattr(slurm_backend, "_SETTLE_S", -1.0)
    monkeypatch.setattr(slurm_backend, "_CANCEL_SETTLE_S", -1.0)
    attempt = run.attempt()
    (attempt / "slurm.json").write_text(json.dumps({"name": NAME, "needs": None}))
    run.request(minutes="0" if how == "refused" else "1")
    run.once()
    if how == "sealed":
        seal(run)
    if how == "given up":
        (run.path / "lineage-0/iterations/0001/manifest-sha256.txt").touch()
    if how.startswith(("cancelled", "refused")):
        run.cancel(NAME)
    if ended:
        standin_slurm.put_job(1, NAME, ended, "NonZeroExitCode", "n1")
        run.once()
        let_time_pass(run)
    if how != "sealed":
        run.write("logs", f"{NAME}.log", "job 1 (start 0) on n1\nno such module\n")
    settings = JobSettings(backend="slurm")
    backend = SlurmBackend(run.path, run.spool, settings)
    before = backend.standing(attempt)
    assert before.phase in ("sealed", "ended")
    run.once()
    assert files_of(run) == [] and len(lines(run)) == 1
    assert backend.standing(attempt) == before
    assert SlurmBackend(run.path, run.spool, settings).standing(attempt) == before
    again = SlurmBackend(run.path, run.spool, settings)
    assert again.spool.is_requested(NAME), "so that no controller asks for it again"
