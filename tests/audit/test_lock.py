"""One controller a lineage, across processes and hosts, and no lock that the dead keep."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from mlipilot.audit.claims import LOCK, Job, claim_in_force, newest_epoch
from mlipilot.audit.ledger import Ledger, read_ledger
from mlipilot.audit.lock import TakenOverError, clear, controller_lock, examine, holder
from mlipilot.audit.process_identity import Fate, booted_at_s
from mlipilot.controller.verification import verify_run
from mlipilot.errors import InputError
from mlipilot.paths import RunPaths
from tests.claims import OTHER_HOST, leave_claim
from tests.events import event

_HOLD = """
import sys, time
from pathlib import Path
from mlipilot.audit.lock import controller_lock
with controller_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
_RACE = """
import errno, fcntl, multiprocessing, os, sys
from pathlib import Path
import mlipilot.audit.lock
from mlipilot.audit.lock import controller_lock
from mlipilot.errors import InputError

def no_flock(*_):
    raise OSError(errno.ENOSYS, "Function not implemented")

mlipilot.audit.lock._LOOK_S = 0.05  # nobody only looks here
if sys.argv[1] == "no flock":
    fcntl.flock = no_flock

def claimant(lineages, together):
    for lineage in lineages:
        together.wait()
        try:
            with controller_lock(lineage) as hold:
                together.wait()
                sys.stdout.write(f"{lineage.name} {hold.epoch}\\n")
                sys.stdout.flush()
        except InputError:
            together.wait()

fork = multiprocessing.get_context("fork")
together = fork.Barrier(6)
lineages = [Path(path) for path in sys.argv[2:]]
children = [fork.Process(target=claimant, args=(lineages, together)) for _ in range(6)]
for child in children:
    child.start()
for child in children:
    child.join()
    assert child.exitcode == 0
"""
_BOOTED = datetime.fromtimestamp(booted_at_s(), UTC)
_GONE = {"start_ticks": 1}
_REBOOTED = {"boot_id": "another", "since": _BOOTED - timedelta(days=1)}
_JOB = Job(id="17_0", cluster="alps")


@pytest.fixture
def lineage(tmp_path: Path) -> Path:
    directory = tmp_path / "run" / "lineage-0"
    (directory / "controller").mkdir(parents=True)
    return directory


def _answer(state: Any) -> Any:
    return lambda job: Fate(state, f"Slurm says that job {job.id} is {state}")


@pytest.fixture
def other_controller(lineage: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", _HOLD, lineage], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_second_controller_is_told_who_holds_the_run_and_a_killed_one_leaves_no_lock(
    lineage: Path, other_controller: subprocess.Popen[str]
) -> None:
    with (
        pytest.raises(InputError, match=rf"(?s)process {other_controller.pid} on .*mlipilot cancel"),
        controller_lock(lineage),
    ):
        pass
    assert f"process {other_controller.pid} on" in (holder(lineage) or "")
    os.kill(other_controller.pid, signal.SIGKILL)
    other_controller.wait()
    assert holder(lineage) is None
    with controller_lock(lineage) as hold:
        assert hold.epoch == 2
        assert hold.after is not None and f"process {other_controller.pid} on" in hold.after
        assert f"process {os.getpid()} on" in (holder(lineage) or "")
    assert holder(lineage) is None


def test_somebody_who_only_looks_does_not_keep_a_controller_out(lineage: Path) -> None:
    looking = os.open(lineage / "controller" / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(looking, fcntl.LOCK_EX)
    Timer(0.2, os.close, [looking]).start()
    with controller_lock(lineage) as hold:
        assert hold.epoch == 1


def test_letting_go_keeps_the_epoch(lineage: Path) -> None:
    epochs = []
    for _ in range(3):
        with controller_lock(lineage, _JOB) as hold:
            epochs.append(hold.epoch)
            assert claim_in_force(lineage / "controller")[1] is not None
        assert claim_in_force(lineage / "controller") == (hold.epoch, None)
    assert epochs == [1, 2, 3]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_without_flock_the_claim_alone_keeps_others_out(
    lineage: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def missing(_descriptor: int, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", missing)
    with (
        controller_lock(lineage),
        pytest.raises(InputError, match=rf"process {os.getpid()} on .* its process runs"),
        controller_lock(lineage),
    ):
        pass
    with controller_lock(lineage) as hold:
        assert hold.epoch == 2


def test_a_filesystem_in_trouble_is_not_one_without_flock(
    lineage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(OSError, match="Input/output"), controller_lock(lineage):
        pass
    assert newest_epoch(lineage / "controller") == 0


@pytest.mark.parametrize(
    ("left", "why"),
    [
        (_GONE, "its process is gone"),
        (_REBOOTED, "its host was booted since"),
        (_REBOOTED | {"pid_namespace": 1}, "its host was booted since"),
        ({"pid_namespace": 1}, "the lock that it held on this host is free"),
        (OTHER_HOST | {"job": _JOB}, "Slurm says that job 17_0 is over"),
    ],
)
def test_a_claim_is_taken_over_when_its_owner_is_certainly_over(
    lineage: Path, left: dict[str, Any], why: str
) -> None:
    claim = leave_claim(lineage, **left)
    with controller_lock(lineage, ask=_answer("over")) as hold:
        assert (hold.epoch, hold.after) == (2, f"{claim.words}: {why}")


@pytest.mark.parametrize(
    ("left", "slurm", "why"),
    [
        ({}, "over", "its process runs"),
        (OTHER_HOST, "over", "of another host or container, and of no Slurm job"),
        (OTHER_HOST | {"job": _JOB}, "alive", "17_0 is alive"),
        (OTHER_HOST | {"job": _JOB}, "unknown", "17_0 is unknown"),
        # A host of the same name that was up when the claim was made is another host.
        ({"boot_id": "another"}, "over", "of another host or container"),
    ],
)
def test_a_claim_is_left_alone_when_its_owner_may_live(
    lineage: Path, left: dict[str, Any], slurm: str, why: str
) -> None:
    claim = leave_claim(lineage, **left)
    with pytest.raises(InputError) as refused, controller_lock(lineage, ask=_answer(slurm)):
        pass
    said = str(refused.value)
    assert claim.words in said and why in said
    alive = why in ("its process runs", "17_0 is alive")
    mend = "mlipilot cancel" if alive else f"`mlipilot unlock {lineage.parent} --lineage 0`"
    assert mend in said
    assert claim_in_force(lineage / "controller") == (1, claim)
    assert holder(lineage, _answer(slurm)) == claim.words


@pytest.mark.parametrize("errors", [True, False], ids=["none", "one that keeps nobody out"])
def test_without_flock_a_container_on_the_same_host_is_not_known_to_be_over(
    lineage: Path, monkeypatch: pytest.MonkeyPatch, errors: bool
) -> None:
    def no_flock(_descriptor: int, _operation: int) -> None:
        if errors:
            raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_flock)
    leave_claim(lineage, pid_namespace=1)
    with pytest.raises(InputError, match="mlipilot unlock"), controller_lock(lineage):
        pass


def test_a_lock_that_another_host_holds_says_alive(
    lineage: Path, other_controller: subprocess.Popen[str]
) -> None:
    """Where an flock reaches across hosts, nothing has to be asked."""
    path = lineage / "controller" / "000001.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | OTHER_HOST))
    found = examine(lineage, _answer("over"))
    assert found is not None and found[1] == Fate("alive", "it holds the lock")


def test_a_requeued_job_takes_over_from_its_earlier_start(lineage: Path) -> None:
    leave_claim(lineage, **OTHER_HOST, job=_JOB)
    for same in (_JOB, _JOB.model_copy(update={"restarts": 1, "cluster": "rhone"})):
        with pytest.raises(InputError), controller_lock(lineage, same):
            pass
    with controller_lock(lineage, _JOB.model_copy(update={"restarts": 1})) as hold:
        assert hold.after is not None and "Slurm has started job 17_0 again" in hold.after


@pytest.mark.parametrize("kind", ["flock", "no flock"])
def test_of_many_claimants_exactly_one_wins(tmp_path: Path, kind: str) -> None:
    lineages = [tmp_path / f"lineage-{number}" for number in range(20)]
    for lineage in lineages:
        (lineage / "controller").mkdir(parents=True)
    for lineage in lineages[::2]:  # half of them are left behind by a controller before a reboot
        leave_claim(lineage, **_REBOOTED)
    done = subprocess.run(
        [sys.executable, "-c", _RACE, kind, *lineages], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    expected = [f"{lineage.name} {2 if lineage in lineages[::2] else 1}" for lineage in lineages]
    assert done.stdout.splitlines() == expected


def test_a_stale_controller_writes_nothing(lineage: Path) -> None:
    ledger_file = lineage / "ledger.jsonl"
    with controller_lock(lineage) as stale:
        ledger = Ledger(ledger_file, stale.check)
        ledger.append(event("resumed", epoch=stale.epoch))
        found = examine(lineage)
        assert found is not None
        clear(lineage, found[0])  # it hung, and a person held it for dead
        before = ledger_file.read_bytes()
        with pytest.raises(TakenOverError, match=r"epoch 2, or .* this controller, of epoch 1, stops"):
            ledger.append(event("verdict"))
    assert ledger_file.read_bytes() == before
    assert [record.event for record in read_ledger(ledger_file)] == [event("resumed", epoch=1)]
    assert newest_epoch(lineage / "controller") == 2, "its end must not undo what came after it"


def test_a_torn_ledger_is_mended_by_the_holder_only(lineage: Path) -> None:
    ledger_file = lineage / "ledger.jsonl"
    ledger_file.write_bytes(b'{"torn')
    with controller_lock(lineage) as hold:
        leave_claim(lineage)
        with pytest.raises(TakenOverError):
            Ledger(ledger_file, hold.check)
    assert ledger_file.read_bytes() == b'{"torn'


def test_a_full_disk_does_not_hide_how_a_controller_ended(
    lineage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, _length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(KeyError), controller_lock(lineage):
        monkeypatch.setattr(os, "truncate", full)
        raise KeyError
    assert claim_in_force(lineage / "controller")[1] is not None


def test_clearing_is_for_the_claim_that_was_looked_at(lineage: Path) -> None:
    claim = leave_claim(lineage, **OTHER_HOST)
    newer = leave_claim(lineage, **OTHER_HOST)
    with pytest.raises(InputError, match="took over meanwhile"):
        clear(lineage, claim)
    clear(lineage, newer)
    assert (examine(lineage), newest_epoch(lineage / "controller")) == (None, 3)


@pytest.mark.parametrize("change", [None, {"epoch": "?"}, {"job": {"id": "1 -u root"}}, {"more": 1}])
def test_a_file_that_is_no_claim_is_named(lineage: Path, change: dict[str, Any] | None) -> None:
    path = lineage / "controller" / "000001.json"
    good = leave_claim(lineage).model_dump(mode="json")
    path.write_text("{" if change is None else json.dumps(good | change))
    with pytest.raises(InputError, match=r"000001\.json: this is no claim"), controller_lock(lineage):
        pass
    assert "000001.json" in (holder(lineage) or "")
    os.truncate(path, 0)  # the mend that it names
    with controller_lock(lineage) as hold:
        assert hold.epoch == 2


def test_what_a_claim_says_is_harmless_on_a_terminal(lineage: Path) -> None:
    claim = leave_claim(lineage, host="node\x1b[2J7\n")
    assert claim.words.startswith(f"process {os.getpid()} on node7 since ")


def test_verify_knows_the_control_files_by_their_place(tmp_path: Path) -> None:
    run = RunPaths(tmp_path)
    lineage = run.lineage(0)
    lineage.root.mkdir()
    run.spec.touch()
    with controller_lock(lineage.root):
        lineage.ledger.write_text("")
        for name in (".000001.json.x7", "000002.txt", "evil"):
            (lineage.controller / name).touch()
        lineage.cancel.touch()
        (lineage.root / "iterations").mkdir()
        (lineage.root / "iterations" / "cancel").touch()
        notes = "\n".join(verify_run(run).notes)
    assert [name for name in ("000002.txt", "evil", "iterations/cancel") if name not in notes] == []
    assert not any(f"controller/{name}:" in notes for name in ("lock", "000001.json", ".000001.json.x7"))
    assert f"{lineage.cancel}:" not in notes
