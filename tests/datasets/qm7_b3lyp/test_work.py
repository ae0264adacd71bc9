"""The work directory: resumed at the price of one molecule, sealed by shard, held by one builder."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.manifest import check_manifest
from mlipilot.datasets.qm7_b3lyp import label_shards
from mlipilot.datasets.qm7_b3lyp.build import building
from mlipilot.datasets.qm7_b3lyp.label_shards import label_shard
from mlipilot.datasets.qm7_b3lyp.qm7_options import Qm7B3lypOptions
from mlipilot.datasets.qm7_b3lyp.work import (
    Plan,
    divide,
    held,
    lay_out,
    read_frames,
    read_plan,
    seal_shard,
    shard_dir,
    shard_lock,
    unfinished,
)
from mlipilot.errors import CheckFailedError, InputError
from mlipilot_labels.records import Frame, Geometry, Molecule, NoGeometryError
from tests.datasets.qm7_b3lyp.conftest import frame, molecule

OPTIONS = Qm7B3lypOptions(source="embedded", shards=2)
MOLECULES = [molecule(f"m{count}", *[6] * count) for count in range(2, 7)]


@pytest.fixture
def labelled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Labels without chemistry; the names of the molecules that were labelled, in order."""
    names: list[str] = []

    def label_geometries(source: Molecule, made: Sequence[Geometry]) -> list[Frame]:
        names.append(source.name)
        return [frame(source.name, index) for index, _ in enumerate(made)]

    monkeypatch.setattr(label_shards, "label_geometries", label_geometries)
    monkeypatch.setattr(label_shards, "geometries", lambda *_: [None, None])
    return names


@pytest.fixture
def work(tmp_path: Path) -> Path:
    directory = tmp_path / "data.labels"
    directory.mkdir()
    lay_out(directory, OPTIONS, MOLECULES)
    return directory


def test_shards_are_even_and_hold_every_molecule_once() -> None:
    many = [molecule(f"m{index}", *[6] * (1 + index % 7)) for index in range(70)]
    shards = divide(many, 4)
    assert sorted(m.name for shard in shards for m in shard) == sorted(m.name for m in many)
    costs = [sum(len(m.numbers) for m in shard) for shard in shards]
    assert max(costs) - min(costs) <= 7
    assert [len(m.numbers) for m in shards[0]] == sorted((len(m.numbers) for m in shards[0]), reverse=True)
    assert len(divide(many[:3], 16)) == 3


def test_a_shard_is_sealed_and_read_back(work: Path, labelled: list[str]) -> None:
    assert unfinished(work, read_plan(work)) == [0, 1]
    assert label_shard(work, 0)
    assert label_shard(work, 1)
    assert sorted(labelled) == [m.name for m in MOLECULES]
    plan = read_plan(work)
    assert unfinished(work, plan) == []
    assert [(f.molecule, f.index) for f in read_frames(work, plan)] == [
        (m.name, index) for m in MOLECULES for index in (0, 1)
    ]
    assert label_shard(work, 0)
    assert len(labelled) == len(MOLECULES)


def test_a_shard_that_was_ended_goes_on_with_the_next_molecule(work: Path, labelled: list[str]) -> None:
    left = iter([True, False])
    assert not label_shard(work, 0, lambda: next(left))
    assert len(labelled) == 1
    (shard_dir(work, 0) / ".m9.jsonl.x1").write_text("torn")  # what a kill in a write leaves
    assert label_shard(work, 0)
    assert len(labelled) == len(set(labelled)) == len(read_plan(work).shards[0])
    assert not list(shard_dir(work, 0).glob(".*"))


def test_an_unfinished_or_changed_shard_is_never_merged(work: Path, labelled: list[str]) -> None:
    plan = read_plan(work)
    label_shard(work, 0)
    with pytest.raises(CheckFailedError, match="not finished"):
        read_frames(work, plan)
    label_shard(work, 1)
    path = next(shard_dir(work, 1).glob("*.jsonl"))
    path.write_text(path.read_text().replace("-30.0", "-31.0"))
    with pytest.raises(CheckFailedError, match="changed"):
        read_frames(work, plan)


def test_a_torn_file_of_frames_is_named(work: Path, labelled: list[str]) -> None:
    shard_dir(work, 0).mkdir(parents=True)
    name = read_plan(work).shards[0][0].name
    (shard_dir(work, 0) / f"{name}.jsonl").write_text('{"molecule": "m')
    with pytest.raises(InputError, match=rf"{name}\.jsonl: not a file of frames"):
        label_shard(work, 0)


def test_other_options_in_the_same_directory_are_refused(work: Path) -> None:
    with pytest.raises(InputError, match="rattled, seed differ"):
        lay_out(work, OPTIONS.model_copy(update={"seed": 1, "rattled": 9}), MOLECULES)
    more_processes = OPTIONS.model_copy(update={"processes": 9, "shards": 9})
    assert lay_out(work, more_processes, []) == read_plan(work)


def test_labels_serve_any_division(work: Path) -> None:
    other_share = OPTIONS.model_copy(update={"unseen_share": 0.5})
    assert lay_out(work, other_share, []) == read_plan(work)


def test_a_molecule_that_fails_costs_its_own_labels_only(
    work: Path, labelled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def geometries(source: Molecule, _: Any) -> list[None]:
        if source.name == "m3":
            raise NoGeometryError("m3", "fails with GFN2-xTB: no SCF")
        return [None, None]

    monkeypatch.setattr(label_shards, "geometries", geometries)
    assert label_shard(work, 0) and label_shard(work, 1)
    frames = read_frames(work, read_plan(work))
    assert [frame.words for frame in frames if not frame.usable] == [
        "m3 0: failed (fails with GFN2-xTB: no SCF)"
    ]
    assert {frame.molecule for frame in frames if frame.usable} == {"m2", "m4", "m5", "m6"}


def test_a_bug_is_no_outcome(work: Path, labelled: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def geometries(*_: Any) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(label_shards, "geometries", geometries)
    with pytest.raises(KeyError):
        label_shard(work, 0)


def test_what_another_process_writes_is_not_sealed(
    work: Path, labelled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = set()
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        folders.add(self.parent)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    monkeypatch.setattr(label_shards, "seal_shard", lambda *_: None)
    label_shard(work, 0)
    assert shard_dir(work, 0) not in folders
    (shard_dir(work, 0) / "m9.jsonl").write_text("of another plan")
    (work / "staged/0000/.m9.jsonl.x1").write_text("torn")  # what a kill in a write leaves
    plan = read_plan(work)
    seal_shard(work, plan, 0)
    assert not list((work / "staged").glob("*/.*"))
    problems = check_manifest(shard_dir(work, 0))
    assert len(problems) == 1 and "m9.jsonl: not in" in problems[0]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_where_no_lock_is_to_be_had_none_is_made_up(
    work: Path, labelled: list[str], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(InputError, match=rf"locks/0000: it cannot be locked here: {os.strerror(number)}"):
        label_shard(work, 0)
    assert labelled == []


def test_an_owner_that_goes_while_it_is_read_is_nobody(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shard_lock(work, 0)
    with held(path, "holds"):
        path.with_name("0000.owner").unlink()
        monkeypatch.setattr(Path, "exists", lambda _: True)
        with pytest.raises(InputError, match="it has not said who it is"), held(path, "holds"):
            pass


@pytest.mark.parametrize("content", [None, "{}", "not json"])
def test_what_is_no_plan_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "plan.json").write_text(content)
    with pytest.raises(InputError, match="no plan of labels"):
        label_shard(tmp_path, 0)


def test_a_shard_that_is_not_there_is_refused(work: Path) -> None:
    with pytest.raises(InputError, match="they are 0 to 1"):
        label_shard(work, 2)


HOLD = """
import sys, time
from pathlib import Path
from mlipilot.datasets.qm7_b3lyp.work import held
with held(Path(sys.argv[1]), "holds"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("lock", ["lock", "locks/0000"])
def test_a_second_builder_is_refused_and_a_killed_one_is_over(
    work: Path, labelled: list[str], lock: str
) -> None:
    def act() -> None:
        if lock == "lock":
            with building(work):
                pass
        else:
            label_shard(work, 0)

    command = [sys.executable, "-c", HOLD, str(work / lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=rf"another process .*process {other.pid} on "):
            act()
        other.send_signal(signal.SIGKILL)
        other.wait()
    act()


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("no room\n", "no room"),
        ("", "it was killed"),
        (
            "Traceback (most recent call last):\n  at x\nOSError: full\n",
            "OSError: full\n  all of it: .*0000.log",
        ),
    ],
)
def test_a_failing_shard_is_reported_with_its_last_words(
    work: Path, said: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "logs").mkdir()
    (work / "logs/0000.log").write_text(said)
    monkeypatch.setattr(label_shards, "_POLL_S", 0.01)
    monkeypatch.setattr(label_shards, "_start", lambda *_: subprocess.Popen(["false"]))
    with pytest.raises(CheckFailedError, match=rf"labelling shard 0 .* failed: {wanted}"):
        label_shards.label_all(work, 1, lambda *_: None)


@pytest.fixture
def at_once(labelled: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Shards are labelled in this process, and others' looked at often."""

    def start(work: Path, shard: int) -> subprocess.Popen[bytes]:
        label_shard(work, shard)
        return subprocess.Popen(["true"])

    monkeypatch.setattr(label_shards, "_POLL_S", 0.01)
    monkeypatch.setattr(label_shards, "_LOOK_AGAIN_S", 0.02)
    monkeypatch.setattr(label_shards, "_start", start)
    return labelled


def test_a_shard_that_another_process_holds_is_waited_for(work: Path, at_once: list[str]) -> None:
    """What an ended builder leaves: a process that still labels its last molecule."""
    told: list[str] = []
    command = [sys.executable, "-c", HOLD, str(shard_lock(work, 0))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"

        def progress(_: int, __: int, what: str) -> None:
            told.append(what)
            if len(told) == 5:
                other.kill()

        label_shards.label_all(work, 1, progress)
    assert unfinished(work, read_plan(work)) == []
    waiting = f"waiting for another process that labels shard 0 (process {other.pid} on "
    assert waiting in told[0] and waiting in told[3]
    assert "waiting" not in told[-1]
    assert len(at_once) == len(MOLECULES)


def test_nobody_is_waited_for_for_ever(
    work: Path, at_once: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_shards, "_PATIENCE_S", 0.1)
    wanted = rf"another process labels shard 0 \(process {os.getpid()} on "
    with held(shard_lock(work, 0), "holds"), pytest.raises(CheckFailedError, match=wanted):
        label_shards.label_all(work, 2, lambda *_: None)
    assert unfinished(work, read_plan(work)) == [0]  # ours was finished before giving up


def test_a_labelling_process_ends_when_its_parent_is_gone(work: Path, labelled: list[str]) -> None:
    assert label_shards.main([str(work), "0", "1"]) == 0
    assert labelled == []
    assert label_shards.main([str(work), "0", str(os.getppid())]) == 0
    assert len(labelled) == len(read_plan(work).shards[0])


def test_a_plan_knows_what_its_molecules_cost() -> None:
    atom = molecule("atom_C", 6)
    plan = Plan(options=OPTIONS.model_dump(mode="json"), shards=[[*MOLECULES, atom]])
    assert plan.seconds(MOLECULES[-1]) > plan.seconds(MOLECULES[0]) > OPTIONS.geometries * plan.seconds(atom)
