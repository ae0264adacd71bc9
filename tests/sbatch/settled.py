"""Requests that are settled, for tests of what the submitter folds."""

from __future__ import annotations

from tests.sbatch.conftest import ATTEMPT, Run, StandinSlurm, job_name

NAME = job_name()
FOLDERS = ("requests", "intents", "receipts", "started", "cancel")


def seal(run: Run, attempt: str = ATTEMPT) -> None:
    (run.attempt(attempt) / "manifest-sha256.txt").touch()


def let_time_pass(run: Run) -> None:
    """All that the queue says is long ago."""
    head, *rows = (run.spool / "queue").read_text().splitlines()
    old = [f"{row.rpartition('|')[0]}|1000" for row in rows]
    (run.spool / "queue").write_text("\n".join([head, *old]) + "\n")


def end(run: Run, standin_slurm: StandinSlurm, name: str = NAME, state: str = "COMPLETED") -> None:
    """The job is over, and has been for a while."""
    standin_slurm.put_job(run.receipt(name)["job_id"], name, state, "None", "n1")
    run.write("started", f"{name}.0", "job_id=1\nnode=n1\ntime=1\n")
    run.once()
    let_time_pass(run)


def lines(run: Run) -> list[str]:
    path = run.spool / "settled"
    return path.read_text().splitlines() if path.exists() else []


def files_of(run: Run, name: str = NAME) -> list[str]:
    return [folder for folder in FOLDERS if list((run.spool / folder).glob(f"{name}*"))]


def fold(run: Run, standin_slurm: StandinSlurm, *names: str) -> None:
    """Requests that were submitted, ended well and were folded."""
    seal(run)
    for name in names or (NAME,):
        run.request(name)
    run.once()
    for name in names or (NAME,):
        end(run, standin_slurm, name)
    run.once()
    assert not any(files_of(run, name) for name in names or (NAME,))
