"""What is known of a lineage's holder without another process: each fate, and each refusal to the letter."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from mlipilot.audit import lock as lock_module
from mlipilot.audit import process_identity
from mlipilot.audit.claims import LOCK, Claim, Job, claim_in_force, publish_claim
from mlipilot.audit.lock import (
    Hold,
    TakenOverError,
    clear,
    controller_lock,
    examine,
    holder,
    no_word,
)
from mlipilot.audit.process_identity import Fate, booted_at_s, pid_namespace, this_process
from mlipilot.audit.rights import user_name
from mlipilot.errors import InputError
from tests.claims import OTHER_HOST, leave_claim

JOB = Job(id="17_0", cluster="alps")
GONE = {"start_ticks": 1}
ANOTHER_NAMESPACE = {"pid_namespace": 1}
BEFORE_BOOT = datetime.fromtimestamp(booted_at_s(), UTC) - timedelta(days=1)


@pytest.fixture
def lineage(tmp_path: Path) -> Path:
    directory = tmp_path / "run" / "lineage-3"
    directory.mkdir(parents=True)
    return directory


@contextmanager
def _held(lineage: Path) -> Iterator[None]:
    """Somebody has the flock."""
    descriptor = os.open(lineage / "controller" / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
    os.close(descriptor)


def _asked(job: Job) -> Fate:
    return Fate("over", f"Slurm says that {job.id} is over")


def _fate(lineage: Path) -> Fate:
    found = examine(lineage, _asked)
    assert found is not None
    assert found[0] == claim_in_force(lineage / "controller")[1]
    return found[1]


def _refused(lineage: Path, job: Job | None = None) -> str:
    with pytest.raises(InputError) as refused, controller_lock(lineage, job):
        pass
    return str(refused.value)


def _alive(lineage: Path, who: str, why: str) -> str:
    mend = "wait for it, or end it with `mlipilot cancel`; `mlipilot status` shows what it does"
    return f"{lineage}: another controller holds this run ({who}): {why}\n  mend: {mend}"


def test_a_claim_says_all_that_is_known_of_this_process(lineage: Path) -> None:
    with controller_lock(lineage, JOB) as hold:
        found, claim = claim_in_force(lineage / "controller")
    assert (hold, found) == (Hold(lineage / "controller", 1, None), 1)
    assert claim is not None
    assert (claim.process, claim.pid_namespace) == (this_process(), pid_namespace())
    assert (claim.epoch, claim.job, claim.user) == (1, JOB, user_name())
    assert claim.since.microsecond == 0
    assert abs(claim.since - datetime.now(UTC)) < timedelta(minutes=5)
    with controller_lock(lineage) as hold:
        assert (hold.epoch, hold.after) == (2, None)


def test_who_holds_a_lineage_may_write_until_another_claim_is_in_force(lineage: Path) -> None:
    leave_claim(lineage)
    hold = Hold(lineage / "controller", 1, None)
    hold.check()
    leave_claim(lineage)
    with pytest.raises(TakenOverError) as refused:
        hold.check()
    assert str(refused.value) == (
        f"{lineage}: another controller took over at epoch 2, or `mlipilot unlock` was called: "
        "this controller, of epoch 1, stops and writes nothing more"
    )


def test_who_lives_is_waited_for(lineage: Path) -> None:
    claim = leave_claim(lineage)
    assert _refused(lineage) == _alive(lineage, claim.words, "its process runs")
    assert holder(lineage) == claim.words


def test_who_holds_the_lock_lives_whatever_its_claim_says(
    lineage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "_LOOK_S", 0.05)
    (lineage / "controller").mkdir()
    with _held(lineage):
        assert _refused(lineage) == _alive(lineage, "it has not said yet who it is", "it holds the lock")
        for changes in (GONE, ANOTHER_NAMESPACE, OTHER_HOST | {"job": JOB}, OTHER_HOST):
            claim = leave_claim(lineage, **changes)
            assert _refused(lineage) == _alive(lineage, claim.words, "it holds the lock")
            assert _fate(lineage) == Fate("alive", "it holds the lock")


def test_who_was_quicker_is_told(lineage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(folder: Path, epoch: int, claim: Claim | None) -> bool:
        other = None if claim is None else claim.model_copy(update={"host": "node7"})
        assert publish_claim(folder, epoch, other)
        return publish_claim(folder, epoch, claim)

    monkeypatch.setattr(lock_module, "publish_claim", taken)
    said = _refused(lineage)
    quicker = claim_in_force(lineage / "controller")[1]
    assert quicker is not None and quicker.host == "node7"
    assert said == _alive(lineage, quicker.words, "it was quicker")


@pytest.mark.parametrize(
    ("job", "why"),
    [
        (None, "it is of another host or container, and of no Slurm job"),
        (Job(id="18"), "Slurm was not asked about job 18"),
    ],
)
def test_who_may_live_is_left_alone_with_the_mend(lineage: Path, job: Job | None, why: str) -> None:
    claim = leave_claim(lineage, **OTHER_HOST, job=job)
    assert _refused(lineage, JOB) == (
        f"{lineage}: another controller may hold this run ({claim.words}); it has not let go, and {why}\n"
        f"  mend: make sure that it is over, then `mlipilot unlock {lineage.parent} --lineage 3`"
    )
    assert holder(lineage) == claim.words
    assert no_word(Job(id="18")) == Fate("unknown", "Slurm was not asked about job 18")


# The claim, and what is known of its owner where the flock is to be had and free.
@pytest.mark.parametrize(
    ("changes", "fate"),
    [
        ({}, Fate("alive", "its process runs")),
        (GONE, Fate("over", "its process is gone")),
        (GONE | {"job": JOB}, Fate("over", "its process is gone")),
        (ANOTHER_NAMESPACE, Fate("over", "the lock that it held on this host is free")),
        (
            ANOTHER_NAMESPACE | {"since": BEFORE_BOOT},
            Fate("over", "the lock that it held on this host is free"),
        ),
        ({"boot_id": "another", "since": BEFORE_BOOT}, Fate("over", "its host was booted since")),
        ({"boot_id": "another", "job": JOB}, Fate("over", "Slurm says that 17_0 is over")),
        (OTHER_HOST | {"since": BEFORE_BOOT, "job": JOB}, Fate("over", "Slurm says that 17_0 is over")),
        ({"host": "node7", "job": JOB}, Fate("over", "Slurm says that 17_0 is over")),
        (OTHER_HOST, Fate("unknown", "it is of another host or container, and of no Slurm job")),
    ],
)
def test_each_fate_of_an_owner_and_why(lineage: Path, changes: dict[str, Any], fate: Fate) -> None:
    claim = leave_claim(lineage, **changes)
    assert _fate(lineage) == fate
    assert holder(lineage, _asked) == (None if fate.state == "over" else claim.words)


def test_a_claim_of_the_very_moment_of_the_boot_is_not_of_before(
    lineage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = leave_claim(lineage, boot_id="another")
    monkeypatch.setattr(process_identity, "booted_at_s", lambda: claim.since.timestamp())
    assert _fate(lineage).state == "unknown"


def test_who_is_of_an_earlier_boot_is_over_whoever_holds_the_lock(lineage: Path) -> None:
    leave_claim(lineage, boot_id="another", since=BEFORE_BOOT)
    with _held(lineage):
        assert _fate(lineage) == Fate("over", "its host was booted since")


def test_looking_makes_no_lock(lineage: Path) -> None:
    leave_claim(lineage, **ANOTHER_NAMESPACE)
    (lineage / "controller" / LOCK).unlink()
    assert _fate(lineage).state == "unknown"
    assert not (lineage / "controller" / LOCK).exists()


def test_where_a_second_flock_is_granted_too_a_free_one_proves_nothing(
    lineage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_claim(lineage, **ANOTHER_NAMESPACE)
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    assert _fate(lineage) == Fate("unknown", "it is of another host or container, and of no Slurm job")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_who_may_only_read_looks_without_the_flock(
    lineage: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    leave_claim(lineage, **ANOTHER_NAMESPACE)
    monkeypatch.setattr(FileLock, "acquire", refused)
    assert _fate(lineage).state == "unknown"
    with pytest.raises(OSError, match=os.strerror(number)), controller_lock(lineage):
        pass


def test_a_disk_that_fails_is_told_to_who_looks(lineage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    leave_claim(lineage, **ANOTHER_NAMESPACE)
    monkeypatch.setattr(FileLock, "acquire", broken)
    with pytest.raises(OSError, match="Input/output error"):
        examine(lineage)


def test_who_looks_does_not_keep_the_flock(lineage: Path) -> None:
    leave_claim(lineage, **ANOTHER_NAMESPACE)
    assert _fate(lineage).state == "over"
    with (lineage / "controller" / LOCK).open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _open_locks(lineage: Path) -> int:
    found = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return found.count(lineage / "controller" / LOCK)


def test_the_flock_is_open_once_while_it_is_held_and_not_any_more_however_that_ended(
    lineage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)  # a second one is granted, too
    with pytest.raises(KeyError) as failed, controller_lock(lineage):
        assert _open_locks(lineage) == 1
        raise KeyError
    assert failed.value is not None and _open_locks(lineage) == 0


def test_who_wants_to_hold_waits_out_a_look_and_who_looks_does_not_wait(
    lineage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, acquire = [], FileLock.acquire

    def noted(lock: FileLock, timeout: float) -> object:
        waits.append(timeout)
        return acquire(lock, timeout=timeout)

    leave_claim(lineage, **ANOTHER_NAMESPACE)
    monkeypatch.setattr(FileLock, "acquire", noted)
    examine(lineage)
    assert waits == [0, 0]
    with controller_lock(lineage):
        assert waits[2] > 1 and waits[3:] == [0]


def test_an_earlier_start_of_the_same_job_is_over(lineage: Path) -> None:
    claim = leave_claim(lineage, **OTHER_HOST, job=JOB)
    with controller_lock(lineage, JOB.model_copy(update={"restarts": 1})) as hold:
        assert hold.after == f"{claim.words}: Slurm has started job 17_0 again"


def test_nobody_holds_what_nobody_claims(lineage: Path) -> None:
    assert (examine(lineage), holder(lineage)) == (None, None)
    with controller_lock(lineage):
        assert examine(lineage) is not None
    assert (examine(lineage), holder(lineage)) == (None, None)


def test_a_claim_that_cannot_be_read_is_told_on_one_line(lineage: Path) -> None:
    leave_claim(lineage)
    path = lineage / "controller" / "000001.json"
    path.write_text("{")
    assert (holder(lineage) or "").startswith(f"{path}: this is no claim of a controller mend: if no ")
    with pytest.raises(InputError, match="this is no claim"):
        examine(lineage)


def test_a_claim_is_cleared_by_an_empty_one_unless_another_came_first(lineage: Path) -> None:
    claim = leave_claim(lineage, **OTHER_HOST)
    clear(lineage, claim)
    assert claim_in_force(lineage / "controller") == (2, None)
    newer = leave_claim(lineage, **OTHER_HOST)
    with pytest.raises(InputError) as refused:
        clear(lineage, claim)
    assert str(refused.value) == _alive(lineage, newer.words, "it took over meanwhile")
    assert claim_in_force(lineage / "controller") == (3, newer)


def test_who_was_taken_over_leaves_its_successors_claim_as_it_is(lineage: Path) -> None:
    with controller_lock(lineage):
        newer = leave_claim(lineage, **OTHER_HOST)
    assert claim_in_force(lineage / "controller") == (2, newer)


def test_a_claim_that_is_older_than_ones_own_is_another_too(lineage: Path) -> None:
    """Somebody has taken the newer ones away."""
    leave_claim(lineage)
    with pytest.raises(TakenOverError):
        Hold(lineage / "controller", 2, None).check()
