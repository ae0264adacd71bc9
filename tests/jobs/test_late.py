"""Attempts whose command has ended and whose own start did not seal them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.audit.files import write_json
from mlipilot.audit.manifest import check_manifest, is_finished
from mlipilot.jobs import attempt_claims, late, sealing
from mlipilot.jobs.attempt_claims import JobStart, claimant
from mlipilot.jobs.job_files import Isolation, JobOrder, read_result
from mlipilot.jobs.late import seal_found
from mlipilot.jobs.machine import Machine
from mlipilot.jobs.notes import ENDED, Begun, Ended, read_notes
from mlipilot.jobs.sealing import NotSealedError
from mlipilot.jobs.spool import Spool
from mlipilot.paths import CLAIM

FIRST, AGAIN = JobStart("42", 0, "n1", "mlp-x"), JobStart("42", 1, "n2", "mlp-x")
ELSEWHERE = Machine(processor="another one")


@pytest.fixture
def attempt(run: Path, make_order: Callable[..., JobOrder]) -> Path:
    """One that FIRST has begun on another machine."""
    directory = run / "attempt"
    (directory / "output").mkdir(parents=True)
    (directory / "output" / "weights").write_text("learnt")
    order = make_order("pass")
    write_json(directory / "job.json", order.model_dump())
    write_json(directory / "slurm.json", {"name": "mlp-x"})
    assert FIRST.claim(directory)
    contained = Isolation(backend="slurm", filesystem="container", network="none")
    begun = Begun.here(order, contained, **FIRST.noted)
    begun.model_copy(update={"host": "n1.cluster", "machine": ELSEWHERE}).note(directory)
    return directory


def _end(attempt: Path, start: JobStart = FIRST, **how: object) -> None:
    told = {"exit_status": 0, "cancelled": False, "wall_s": 12.5, "cpu_s": None} | start.noted | how
    assert Ended.model_validate(told).note(attempt)


def test_whoever_finds_an_end_seals_it_with_what_its_start_noted(attempt: Path) -> None:
    _end(attempt)
    assert seal_found(attempt, "the controller on login1")
    assert check_manifest(attempt) == []
    result = read_result(attempt)
    assert (result.outcome, result.exit_status, result.wall_s, result.cpu_s) == ("ok", 0, 12.5, None)
    assert (result.host, result.machine, result.job_id) == ("n1.cluster", ELSEWHERE, "42")
    assert (result.isolation.network, result.sealed_by) == ("none", "the controller on login1")
    assert not seal_found(attempt, "another")


def test_a_failure_is_an_end_like_any_other(attempt: Path) -> None:
    _end(attempt, exit_status=3)
    assert seal_found(attempt, "x") and read_result(attempt).reason == "exit status 3"


def test_what_nobody_knows_to_have_ended_is_left(attempt: Path) -> None:
    assert not seal_found(attempt, "x")
    (attempt / ENDED).write_text('{"job_id": "42"')
    assert not seal_found(attempt, "x")
    assert not is_finished(attempt) and claimant(attempt) == FIRST


def test_what_was_ended_from_outside_is_left_unless_the_run_wished_it(attempt: Path, run: Path) -> None:
    _end(attempt, exit_status=-15, cancelled=True)
    assert not seal_found(attempt, "x")
    Spool(run / "spool").ask_to_cancel("mlp-x")
    assert seal_found(attempt, "x") and read_result(attempt).outcome == "cancelled"


def test_an_end_on_a_node_that_was_given_up_is_not_that_of_the_start_after_it(
    attempt: Path, make_order: Callable[..., JobOrder]
) -> None:
    assert AGAIN.claim(attempt)
    Begun.here(make_order("pass"), Isolation(), **AGAIN.noted).note(attempt)
    _end(attempt, FIRST)
    assert read_notes(attempt) is None and not seal_found(attempt, "x")


def test_an_end_is_handed_on_from_start_to_start(attempt: Path) -> None:
    _end(attempt)
    assert AGAIN.claim(attempt)  # and died before it sealed
    assert (attempt / "output" / "weights").exists()
    assert JobStart("42", 2, "n3", "mlp-x").claim(attempt)
    assert seal_found(attempt, "x") and read_result(attempt).host == "n1.cluster"


@pytest.mark.parametrize("removed", range(len(attempt_claims._LEFTOVERS) + 2))
def test_what_is_half_removed_is_never_taken_for_whole(
    attempt: Path, monkeypatch: pytest.MonkeyPatch, removed: int
) -> None:
    """The next start is killed while it removes; the older one's note of an end arrives after all."""
    _end(attempt, exit_status=-15, cancelled=True)
    is_whole = removed > len(attempt_claims._LEFTOVERS)
    monkeypatch.setattr(attempt_claims, "_LEFTOVERS", attempt_claims._LEFTOVERS[:removed])
    if not is_whole:
        monkeypatch.setattr(attempt_claims, "clear_output", lambda _: None)
    assert AGAIN.claim(attempt)
    _end(attempt)
    assert (attempt / "output" / "weights").exists() is not is_whole
    assert seal_found(attempt, "x") == (removed == 0)


def test_who_seals_late_takes_the_claim_from_a_start_that_may_still_be_at_it(attempt: Path) -> None:
    _end(attempt)
    asked: list[str | None] = []

    def ask_first(*arguments: object, **options: object) -> None:
        asked.append(FIRST.why_not_to_seal(attempt, cancelled=False))
        monkeypatch.undo()
        sealing.seal(*arguments, **options)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(late, "seal", ask_first)
        assert seal_found(attempt, "the controller")
    assert "not of this start" in str(asked[0])
    assert json.loads((attempt / CLAIM).read_text())["node"] == "the controller"


def test_a_start_that_comes_meanwhile_has_the_last_word(
    attempt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _end(attempt)
    hashed = sealing.changed_files

    def come_between(order: JobOrder) -> list[str]:
        assert AGAIN.claim(attempt)
        return list(hashed(order))

    monkeypatch.setattr(sealing, "changed_files", come_between)
    with pytest.raises(NotSealedError, match="not of this start"):
        seal_found(attempt, "the controller")
    assert not is_finished(attempt) and claimant(attempt) == AGAIN


def test_an_attempt_that_is_asked_of_another_job_is_left(attempt: Path) -> None:
    _end(attempt)
    write_json(attempt / "slurm.json", {"name": "mlp-y"})
    assert not seal_found(attempt, "x")
    assert claimant(attempt) == FIRST


def test_protected_files_are_looked_at_however_late(attempt: Path, run: Path) -> None:
    _end(attempt)
    (run / "data" / "train.xyz").write_text("other")
    assert seal_found(attempt, "x") and read_result(attempt).outcome == "protected_changed"
