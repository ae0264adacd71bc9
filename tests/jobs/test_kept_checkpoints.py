"""Checkpoints in trusted hands: who finds which, what it counts for, and what a hostile one can do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.audit.files import write_json
from mlipilot.audit.manifest import check_manifest, write_manifest
from mlipilot.jobs import kept_checkpoints
from mlipilot.jobs.attempt_claims import JobStart
from mlipilot.jobs.job_files import Isolation, JobOrder, read_result
from mlipilot.jobs.kept_checkpoints import (
    checkpoint_of,
    clear_output,
    drop_lost_work,
    read_kept,
    rest_s,
    take_up,
)
from mlipilot.jobs.machine import Machine
from mlipilot.jobs.notes import Begun
from mlipilot.jobs.sealing import Ending, seal


@pytest.fixture
def train(tmp_path: Path) -> Path:
    (tmp_path / "seed-1/train").mkdir(parents=True)
    return tmp_path / "seed-1/train"


def _attempt(train: Path, number: int = 1) -> Path:
    path = train / f"attempt-{number}"
    path.mkdir(exist_ok=True)
    return path


def _pass(seconds: float) -> None:
    time.sleep(seconds + 0.02)  # the kernel gives files times in steps of some milliseconds


def _keep(attempt: Path, after_s: float = 0.3, name: str = "state") -> None:
    """What a candidate does `after_s` seconds after it began."""
    _pass(after_s)
    checkpoint_of(attempt).mkdir(exist_ok=True)
    (checkpoint_of(attempt) / name).write_text("x")


def test_a_first_start_has_all_its_time(train: Path) -> None:
    attempt = _attempt(train)
    assert take_up(attempt) == read_kept(attempt).kept_s == 0
    assert (attempt / "output").is_dir() and not checkpoint_of(attempt).exists()


def test_what_a_checkpoint_took_is_counted_and_what_was_lost_after_it_is_not(train: Path) -> None:
    attempt = _attempt(train)
    begun = time.monotonic()
    take_up(attempt)
    _keep(attempt, 0.3)
    most = time.monotonic() - begun + 0.02
    time.sleep(0.5)
    first = take_up(attempt)
    assert 0.3 <= first < most and read_kept(attempt).kept_s == pytest.approx(first, abs=1e-3)
    begun = time.monotonic()
    assert take_up(attempt) == pytest.approx(first, abs=1e-3)  # a start that kept nothing
    _keep(attempt, 0.3)
    assert 0.3 <= take_up(attempt) - first < time.monotonic() - begun + 0.02


def test_a_start_that_finds_no_checkpoint_has_all_its_time_again(train: Path) -> None:
    attempt = _attempt(train)
    take_up(attempt)
    time.sleep(0.2)
    assert take_up(attempt) == 0
    _keep(attempt)
    assert take_up(attempt) > 0
    clear_output(attempt)
    assert checkpoint_of(attempt).exists()
    (checkpoint_of(attempt) / "state").unlink()
    checkpoint_of(attempt).rmdir()
    assert take_up(attempt) == read_kept(attempt).kept_s == 0


def test_a_new_attempt_goes_on_from_the_lost_one_before_it(train: Path) -> None:
    first, second, third = (_attempt(train, n) for n in (1, 2, 3))
    begun = time.monotonic()
    take_up(first)
    _keep(first)
    most = time.monotonic() - begun + 0.02
    take_up(second)  # began, and was lost before it kept anything of its own
    assert not checkpoint_of(first).exists() and (checkpoint_of(second) / "state").exists()
    kept_s = take_up(third)
    assert 0.3 <= kept_s < most and (checkpoint_of(third) / "state").exists()


def test_an_attempt_that_never_began_is_passed_over(train: Path) -> None:
    first, _, third = (_attempt(train, n) for n in (1, 2, 3))
    take_up(first)
    _keep(first)
    assert take_up(third) >= 0.3 and (checkpoint_of(third) / "state").exists()


def test_what_was_sealed_is_not_gone_on_from(train: Path) -> None:
    first, second = _attempt(train, 1), _attempt(train, 2)
    take_up(first)
    _keep(first)
    write_manifest(first)
    assert take_up(second) == 0 and not checkpoint_of(second).exists()
    assert check_manifest(first) == []


def test_a_kill_while_a_checkpoint_is_taken_over_counts_it_once(
    train: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = _attempt(train, 1), _attempt(train, 2)
    take_up(first)
    _keep(first)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        take_up(second)
    kept_s = read_kept(second).kept_s
    assert kept_s >= 0.3 and checkpoint_of(first).exists()
    assert take_up(second) == pytest.approx(kept_s, abs=1e-3) and checkpoint_of(second).exists()


def test_a_checkpoint_that_cannot_be_had_counts_for_nothing(
    train: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = _attempt(train, 1), _attempt(train, 2)
    take_up(first)
    _keep(first)

    def refused(*_: object) -> None:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refused)
        assert take_up(second) == read_kept(second).kept_s == 0


def test_a_candidate_cannot_set_the_clock_back(train: Path) -> None:
    attempt = _attempt(train)
    take_up(attempt)
    _keep(attempt, 0.3)
    for path in (checkpoint_of(attempt) / "state", checkpoint_of(attempt)):
        os.utime(path, (0, 0))
    assert take_up(attempt) >= 0.3


def test_two_kinds_of_machine_are_named_in_the_result_and_are_like_no_other(
    run: Path, make_order: Callable[..., JobOrder], monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = run / "attempt"
    attempt.mkdir()
    for processor, gpu in (("A", "G"), ("A", "G"), ("B", "G")):
        machine = Machine(processor=processor, gpu=gpu)
        monkeypatch.setattr(kept_checkpoints, "this_machine", lambda machine=machine, **_: machine)
        take_up(attempt, uses_gpu=True)
        _keep(attempt, 0)
    order = make_order("pass")
    seal(attempt, order, Ending("ok", 0), Begun.here(order, Isolation()))
    assert read_result(attempt).machine == Machine(processor="A, then B", gpu="G, then G")
    take_up(attempt, uses_gpu=True)  # without a checkpoint
    assert read_kept(attempt).machine == machine


@pytest.mark.parametrize("hiding", ["deep", "name", "folder", "link", "shut"])
def test_wherever_below_it_something_changes_counts(train: Path, hiding: str) -> None:
    attempt = _attempt(train)
    place = checkpoint_of(attempt)
    (attempt / "output").mkdir()
    (place / "a/b").mkdir(parents=True)
    (place / "a/b/state").touch()
    take_up(attempt)
    _pass(0.3)
    match hiding:
        case "deep":
            (place / "a/b/state").write_text("x")
        case "name":
            (place / "a/b/state").rename(place / "a/b/x")
        case "folder":
            (place / "a/x").mkdir()
        case "link":
            (place / "a/b/l").symlink_to("x")
        case "shut":
            (place / "a").chmod(0)
    assert take_up(attempt) >= 0.3
    assert (place / "a").stat().st_mode & 0o700 == 0o700


def test_the_rest_of_the_time_is_never_no_limit_at_all(make_order: Callable[..., JobOrder]) -> None:
    order = make_order("pass", limit_s=60)
    assert (rest_s(order, 0), rest_s(order, 20), rest_s(order, 60), rest_s(order, 99)) == (60, 40, 1, 1)


def test_a_requeued_job_keeps_nothing_but_the_checkpoint(
    run: Path, make_order: Callable[..., JobOrder]
) -> None:
    attempt = run / "attempt"
    (attempt / "output" / "model").mkdir(parents=True)
    write_json(attempt / "job.json", make_order("pass").model_dump())
    assert JobStart("42", 0, "n1").claim(attempt)
    _keep(attempt, 0)
    (attempt / "output/model/weights.safetensors").touch()
    (attempt / "output/link").symlink_to(run / "recipe")
    for log in ("stdout.log", "stderr.log"):
        (attempt / log).touch()
    assert JobStart("42", 1, "n2").claim(attempt)
    left = sorted(str(path.relative_to(attempt)) for path in attempt.rglob("*") if not path.is_dir())
    assert left == ["job.json", "output/checkpoint/state", "worker.json"]
    assert (run / "recipe" / "train.py").exists()


@pytest.mark.parametrize("place", ["output", "output/checkpoint"])
def test_a_link_in_its_place_is_no_checkpoint(train: Path, tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    (outside / "checkpoint").mkdir(parents=True)
    (outside / "checkpoint" / "precious").touch()
    attempt = _attempt(train)
    (attempt / place).parent.mkdir(exist_ok=True)
    (attempt / place).symlink_to(outside if place == "output" else outside / "checkpoint")
    drop_lost_work(tmp_path)
    clear_output(attempt)
    assert take_up(attempt) == 0 and not checkpoint_of(attempt).exists()
    assert (outside / "checkpoint" / "precious").exists()


def test_it_is_no_part_of_what_is_sealed(run: Path, make_order: Callable[..., JobOrder]) -> None:
    attempt = run / "attempt"
    (attempt / "output").mkdir(parents=True)
    (attempt / "output" / "log").touch()
    _keep(attempt, 0)
    checkpoint_of(attempt).chmod(0)
    order = make_order("pass")
    seal(attempt, order, Ending("ok", 0), Begun.here(order, Isolation()))
    assert check_manifest(attempt) == [] and [p.name for p in (attempt / "output").iterdir()] == ["log"]


def test_an_iteration_is_sealed_without_those_of_lost_attempts(train: Path, tmp_path: Path) -> None:
    lost, sealed = _attempt(train, 1), _attempt(train, 2)
    for attempt in (lost, sealed):
        (attempt / "output").mkdir()
        _keep(attempt, 0)
    write_manifest(sealed)
    drop_lost_work(tmp_path)
    assert not checkpoint_of(lost).exists() and check_manifest(sealed) == []
