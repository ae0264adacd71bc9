"""Which start of a Slurm job runs an attempt, and which may say how it ended."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.files import write_atomic, write_json
from mlipilot.audit.manifest import check_manifest, is_finished, write_manifest
from mlipilot.audit.process_identity import this_process
from mlipilot.jobs import attempt_claims
from mlipilot.jobs.attempt_claims import Claimant, JobStart, Withdrawn, claim_here, claimant, withdraw
from mlipilot.jobs.job_files import Isolation, JobOrder
from mlipilot.jobs.notes import Begun
from mlipilot.jobs.sealing import Ending, NotSealedError, seal
from mlipilot.jobs.slurm_note import give_up
from mlipilot.jobs.spool import Spool
from mlipilot.paths import CLAIM

FIRST = JobStart("42", 0, "n1")
AGAIN = JobStart("42", 1, "n2")
NAME = "mlp-0123456789abcdef-x"


@pytest.fixture
def attempt(run: Path, make_order: Callable[..., JobOrder]) -> Path:
    directory = run / "attempt"
    (directory / "output").mkdir(parents=True)
    write_json(directory / "job.json", make_order("pass").model_dump())
    write_json(directory / "slurm.json", {"name": NAME})
    return directory


def test_slurm_says_which_start_it_is() -> None:
    told = {"SLURM_JOB_ID": "42", "SLURM_RESTART_COUNT": "1", "SLURMD_NODENAME": "n2"}
    assert JobStart.of_environment(told) == AGAIN
    assert JobStart.of_environment({"SLURM_JOB_ID": "42", "SLURMD_NODENAME": "n1"}) == FIRST
    assert JobStart.of_environment({}) is None


def test_one_job_takes_an_attempt_once(attempt: Path, make_order: Callable[..., JobOrder]) -> None:
    assert FIRST.claim(attempt)
    assert FIRST.claim(attempt)  # it failed before its command ran
    Begun.here(make_order("pass"), Isolation(), **FIRST.noted).note(attempt)
    assert not FIRST.claim(attempt)
    assert not JobStart("43", 1, "n1").claim(attempt)
    assert sorted(path.name for path in attempt.glob(f"*{CLAIM}*")) == [CLAIM]


def test_a_requeued_job_begins_afresh_and_its_older_start_has_no_say(
    attempt: Path, make_order: Callable[..., JobOrder]
) -> None:
    assert FIRST.claim(attempt)
    (attempt / "output" / "half").write_text("x")
    (attempt / "stdout.log").write_text("x")
    Begun.here(make_order("pass"), Isolation(), **FIRST.noted).note(attempt)
    assert AGAIN.claim(attempt)
    assert sorted(path.name for path in attempt.iterdir()) == ["job.json", "slurm.json", CLAIM]
    assert "not of this start" in (FIRST.why_not_to_seal(attempt, cancelled=False) or "")
    assert AGAIN.why_not_to_seal(attempt, cancelled=False) is None
    assert not FIRST.claim(attempt)


def test_what_is_sealed_is_left_to_the_last_byte(attempt: Path) -> None:
    assert FIRST.claim(attempt)
    write_manifest(attempt)
    assert not AGAIN.claim(attempt)
    assert check_manifest(attempt) == []


def test_only_the_runs_own_wish_makes_an_end_from_outside_the_attempts_end(attempt: Path, run: Path) -> None:
    assert FIRST.claim(attempt)
    assert "ended from outside" in (FIRST.why_not_to_seal(attempt, cancelled=True) or "")
    Spool(run / "spool").ask_to_cancel(NAME)
    assert FIRST.why_not_to_seal(attempt, cancelled=True) is None


def test_an_attempt_that_is_asked_of_another_job_meanwhile_is_left_to_that(attempt: Path) -> None:
    """The evaluation that was fused with a training that was lost, say."""
    here, other = (dataclasses.replace(FIRST, name=name) for name in (NAME, f"{NAME}.2"))
    assert not other.claim(attempt) and here.claim(attempt)
    assert here.why_not_to_seal(attempt, cancelled=False) is None
    write_json(attempt / "slurm.json", {"name": f"{NAME}.2"})
    assert "not of this start" in (here.why_not_to_seal(attempt, cancelled=False) or "")


def test_a_seal_that_comes_while_a_new_start_claims_stands(
    attempt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert FIRST.claim(attempt)

    def seal_first(*arguments: Any, **options: Any) -> None:
        monkeypatch.undo()
        write_manifest(attempt)
        write_atomic(*arguments, **options)

    monkeypatch.setattr(attempt_claims, "write_atomic", seal_first)
    assert not AGAIN.claim(attempt)
    assert check_manifest(attempt) == []


def test_whose_attempt_it_is_is_asked_again_just_before_the_manifest(
    attempt: Path, make_order: Callable[..., JobOrder]
) -> None:
    said = iter([None, "not of this start any more"])
    order = make_order("pass")
    with pytest.raises(NotSealedError, match="not of this start any more"):
        seal(attempt, order, Ending("ok", 0), Begun.here(order, Isolation()), why_not=lambda: next(said))
    assert not is_finished(attempt)


@pytest.mark.parametrize("text", ["{", "", "{}", "[]", "1", '{"pid": 1}', '{"job_id": "42"}', '{"more": 1}'])
def test_a_claim_that_says_nothing_is_somebody_elses(attempt: Path, text: str) -> None:
    (attempt / CLAIM).write_text(text)
    assert claimant(attempt) is None
    assert not dataclasses.replace(AGAIN, restart=9).claim(attempt)
    assert not claim_here(attempt) and not withdraw(attempt)
    assert (attempt / CLAIM).read_text() == text


def _by_a_start(attempt: Path) -> bool:
    return FIRST.claim(attempt)


CLAIMS: list[tuple[Callable[[Path], bool], Claimant, set[str]]] = [
    (_by_a_start, FIRST, {"job_id", "restart", "node", "name"}),
    (claim_here, this_process(), {"pid", "start_ticks", "boot_id", "host"}),
    (withdraw, Withdrawn(withdrawn=True), {"withdrawn"}),
]


@pytest.mark.parametrize("first", range(3))
def test_of_all_kinds_of_claimants_the_first_has_the_attempt(attempt: Path, first: int) -> None:
    take, who, fields = CLAIMS[first]
    assert claimant(attempt) is None and take(attempt)
    assert claimant(attempt) == who
    assert set(json.loads((attempt / CLAIM).read_text())) == fields
    before = (attempt / CLAIM).read_bytes()
    for number, (other, _, _) in enumerate(CLAIMS):
        assert other(attempt) is (first == number == 0)  # a start that failed before its command may again
    assert not JobStart("43", 5, "n1").claim(attempt)
    assert (attempt / CLAIM).read_bytes() == before
    assert sorted(path.name for path in attempt.parent.glob(f"*{CLAIM}*")) == []


def test_only_a_later_start_of_the_very_job_is_one() -> None:
    assert AGAIN.is_later_start_of(FIRST)
    for other in (AGAIN, JobStart("43", 0, "n1"), JobStart("42", 2, "n1"), this_process(), None):
        assert not AGAIN.is_later_start_of(other)


def test_a_claim_that_may_not_be_read_is_one_all_the_same(
    attempt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError

    assert claim_here(attempt)
    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(PermissionError):
        claimant(attempt)


def test_an_attempt_whose_end_is_on_record_is_nobodys(attempt: Path) -> None:
    """Somebody requeues its job, or starts it by hand."""
    mine = JobStart("42", 0, "n1", NAME)
    assert mine.claim(attempt)
    give_up(attempt)
    before = {path.name: path.stat().st_mtime_ns for path in attempt.iterdir()}
    for start in (mine, JobStart("42", 1, "n2", NAME), JobStart("42", 1, "n2")):
        assert not start.claim(attempt)
        assert "not of this start" in (start.why_not_to_seal(attempt, cancelled=False) or "")
    assert {path.name: path.stat().st_mtime_ns for path in attempt.iterdir()} == before
