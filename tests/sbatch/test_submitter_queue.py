"""One answer of the queue for all jobs, and the cancelling of some; Slurm is a stand-in here."""

from __future__ import annotations

import time
from pathlib import Path

from tests.sbatch.conftest import Run, StandinSlurm, job_name
from tests.waiting import wait_until

NAME = job_name()


def test_old_rows_stand_while_squeue_is_silent(run: Run, standin_slurm: StandinSlurm) -> None:
    run.request()
    run.once()
    standin_slurm.tell("squeue", "down")
    done = run.once()
    assert done.returncode == 75
    head, rows = run.queue()
    assert (head["ok"], head["accounting"]) == ("0", "0")
    assert rows == {NAME: ["1", "PENDING", "Priority", ""]}
    assert "no answer: squeue: error: Unable to contact slurm controller" in done.stdout


def test_while_squeue_is_silent_nothing_new_is_submitted(run: Run, standin_slurm: StandinSlurm) -> None:
    standin_slurm.tell("squeue", "down")
    run.request()
    assert run.once().returncode == 75
    service = run.serve()
    time.sleep(2.5)
    assert service.poll() is None
    assert standin_slurm.calls("sbatch") == []
    standin_slurm.tell("squeue")
    wait_until(run.receipt)


def test_garbage_is_no_answer_but_a_banner_does_no_harm(run: Run, standin_slurm: StandinSlurm) -> None:
    run.request()
    run.once()
    for mode in ("garbage", "mumble"):
        standin_slurm.tell("squeue", mode)
        assert run.once().returncode == 75
    standin_slurm.tell("squeue", "banner")
    assert run.once().returncode == 0
    assert run.queue()[0]["ok"] == "1"
    assert run.state() == "PENDING"


def test_what_slurm_has_forgotten_without_an_end_is_not_in_the_answer(
    run: Run, standin_slurm: StandinSlurm
) -> None:
    run.request()
    run.once()
    standin_slurm.tell("squeue", "empty")
    run.once()
    head, rows = run.queue()
    assert head["ok"] == "1"
    assert rows == {}


def test_another_job_of_the_same_name_is_not_ours(run: Run, standin_slurm: StandinSlurm) -> None:
    run.request()
    run.once()
    standin_slurm.put_job(9, NAME, "FAILED", "NonZeroExitCode", "n1")
    run.once()
    assert run.queue()[1] == {NAME: ["1", "PENDING", "Priority", ""]}


def test_an_end_that_was_seen_stays(run: Run, standin_slurm: StandinSlurm) -> None:
    run.request()
    run.once()
    standin_slurm.put_job(1, NAME, "COMPLETED", "None", "n1")
    run.once()
    standin_slurm.tell("squeue", "empty")
    run.once()
    assert run.queue()[1] == {NAME: ["1", "COMPLETED", "None", "n1"]}


def test_the_accounts_are_asked_once_for_all_that_squeue_forgot(
    run: Run, standin_slurm: StandinSlurm
) -> None:
    standin_slurm.tell("sacct", "on")
    names = [run.request(job_name(number)) for number in (1, 2, 3)]
    run.once()
    standin_slurm.put_job(1, names[0], "CANCELLED by 1000", "0:15", "None assigned")
    standin_slurm.put_job(2, names[1], "OUT_OF_MEMORY", "0:125", "n[1-2]")
    standin_slurm.put_job(3, "another-name", "COMPLETED", "0:0", "n1")
    standin_slurm.tell("squeue", "empty")
    before = len(standin_slurm.calls("sacct"))
    run.once()
    _probe, question = standin_slurm.calls("sacct")[before:]
    assert sorted(question[question.index("-j") + 1].split(",")) == ["1", "2", "3"]
    head, rows = run.queue()
    assert (head["ok"], head["accounting"]) == ("1", "1")
    assert rows == {
        names[0]: ["1", "CANCELLED", "0:15", ""],
        names[1]: ["2", "OUT_OF_MEMORY", "0:125", "n[1-2]"],
    }
    run.once()
    question = standin_slurm.calls("sacct")[-1]
    assert question[question.index("-j") + 1] == "3"  # what is over is not asked for again


def test_when_the_accounts_do_not_answer_the_answer_is_not_whole(
    run: Run, standin_slurm: StandinSlurm
) -> None:
    run.request()
    run.once()
    standin_slurm.tell("squeue", "empty")
    standin_slurm.tell("sacct", "down")
    run.once()
    head, rows = run.queue()
    assert head["ok"] == "0"
    assert rows == {NAME: ["1", "PENDING", "Priority", ""]}


def test_a_request_cancelled_before_it_is_submitted_never_is(run: Run, standin_slurm: StandinSlurm) -> None:
    run.request()
    run.cancel(NAME)
    run.once()
    assert run.receipt() == {"status": "rejected", "reason": "cancelled"}
    assert standin_slurm.calls("sbatch") == []


def test_a_cancelled_job_ends_by_number_and_at_once(run: Run, standin_slurm: StandinSlurm) -> None:
    run.request()
    run.serve(MLIPILOT_POLL_S="60")
    wait_until(run.receipt)
    run.cancel(NAME)
    wait_until(lambda: standin_slurm.calls("scancel"))
    assert standin_slurm.calls("scancel") == [["1"]]


def test_a_number_that_slurm_has_given_to_another_job_is_not_cancelled(
    run: Run, standin_slurm: StandinSlurm
) -> None:
    run.request()
    run.once()
    standin_slurm.put_job(1, "somebody-elses", "RUNNING")
    run.cancel(NAME)
    assert run.once().returncode == 0
    assert standin_slurm.calls("scancel") == []
    assert run.queue()[1] == {}


def test_a_job_that_is_over_is_not_cancelled(run: Run, standin_slurm: StandinSlurm) -> None:
    run.request()
    run.once()
    standin_slurm.put_job(1, NAME, "COMPLETED", "None", "n1")
    run.cancel(NAME)
    run.once()
    assert standin_slurm.calls("scancel") == []


def test_a_failed_cancellation_is_tried_again(run: Run, standin_slurm: StandinSlurm) -> None:
    standin_slurm.tell("scancel", "down", "")
    run.request()
    run.once()
    run.cancel(NAME)
    run.serve()
    wait_until(lambda: run.state() == "CANCELLED")
    assert "failed: scancel: error: Unable to contact slurm controller" in run.log()


ROUNDS = """read() {
  [[ "$*" != *"-t 1 "* ]] || printf 'round\\x1f\\n' >>"$STANDIN_SLURM/calls"
  builtin read "$@"
}
"""
"""Each round of the submitter is noted as a call is; it takes a second, on a busy machine more."""


def test_the_queue_is_asked_less_often_while_nothing_changes(
    run: Run, standin_slurm: StandinSlurm, tmp_path: Path
) -> None:
    (tmp_path / "rounds").write_text(ROUNDS)
    run.request()
    run.serve(BASH_ENV=str(tmp_path / "rounds"))

    def asked(times: int) -> tuple[int, int]:
        """How often it was, once that is so often, and when the last time was by the submitter's clock."""
        wait_until(lambda: (head := run.queue()[0]) and int(head["poll"].split(".")[1]) >= times)
        head = run.queue()[0]
        return int(head["poll"].split(".")[1]), int(head["time"])

    wait_until(lambda: run.state() == "PENDING")
    times, then = asked(4)
    assert asked(times + 1)[1] - then >= 4  # after 1, 1, 2, 4 s, and then 6
    run.request(second := job_name(2))
    wait_until(lambda: run.state(second) == "PENDING")
    names = [call[0] for call in standin_slurm.all_calls()]
    after = names[names.index("sbatch", names.index("sbatch") + 1) :]
    assert after[: after.index("squeue")].count("round") <= 2


def test_since_when_is_by_the_clock_of_who_serves_now(run: Run, standin_slurm: StandinSlurm) -> None:
    run.request()
    run.once()
    row = (run.spool / "queue").read_text()
    old = run.since()
    (run.spool / "queue").write_text(row.replace(f"|{old}", "|1000"))
    run.once()
    assert run.since() == 1000, "of this host"
    beat = (run.spool / "submitter").read_text().splitlines()
    moved = ["host=elsewhere" if line.startswith("host=") else line for line in beat]
    (run.spool / "submitter").write_text("\n".join(moved) + "\n")
    run.once()
    assert run.since() >= old, "of another"
