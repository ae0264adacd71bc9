"""The directory in which labels are made: a plan, and one file for each molecule that is done.

    WORK/plan.json                      the options and the molecules, by shard; written once
    WORK/logs/0003.log                  what a local process said
    WORK/lock, locks/0003               held by the builder, and by whoever labels shard 3
    WORK/staged/0003                    files that are being written
    WORK/shards/0003/ethanol.jsonl      the frames of a molecule: whole or not there
    WORK/shards/0003/manifest-sha256.txt    written last: the shard is finished

A process that is killed costs the molecule in hand. What is made does not depend on shards or kills.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from mlipilot.audit.files import write_atomic
from mlipilot.audit.manifest import MANIFEST, check_manifest, is_finished, write_manifest
from mlipilot.datasets.base import differing, in_words
from mlipilot.datasets.qm7_b3lyp.qm7_options import NOT_OF_LABELS, Qm7B3lypOptions
from mlipilot.errors import CheckFailedError, InputError
from mlipilot_labels.cost import label_seconds
from mlipilot_labels.records import Frame, Molecule, from_lines, to_lines

FORMAT, PLAN = "mlipilot-labels/1", "plan.json"


class Plan(BaseModel, extra="forbid", frozen=True):
    """What a work directory is to hold."""

    format: str = FORMAT
    options: dict[str, Any]
    shards: list[list[Molecule]]

    @cached_property
    def sampling(self) -> Qm7B3lypOptions:
        """The options that the work was laid out with."""
        return Qm7B3lypOptions.model_validate(self.options)

    def seconds(self, molecule: Molecule) -> float:
        """What labelling a molecule is expected to cost, in seconds of one core of the reference machine."""
        labels = 1 if len(molecule.numbers) == 1 else self.sampling.geometries
        return labels * label_seconds(molecule.numbers)


def divide(molecules: Sequence[Molecule], shards: int) -> list[list[Molecule]]:
    """Shards of like cost, each from its largest molecule to its smallest: none ends on a large one."""
    by_cost = sorted(molecules, key=lambda molecule: (-label_seconds(molecule.numbers), molecule.name))
    count = max(1, min(shards, len(by_cost)))
    # there and back again (0 1 2 2 1 0 …): no shard always gets the larger one
    turns = [*range(count), *reversed(range(count))]
    made: list[list[Molecule]] = [[] for _ in range(count)]
    for place, molecule in enumerate(by_cost):
        made[turns[place % len(turns)]].append(molecule)
    return made


def lay_out(work: Path, options: Qm7B3lypOptions, molecules: Sequence[Molecule]) -> Plan:
    """Write the plan, or go on with the one that is there. Raises InputError if its labels are others."""
    described = options.model_dump(mode="json")
    if (work / PLAN).exists():
        plan = read_plan(work)
        of_labels = {key: value for key, value in described.items() if key not in NOT_OF_LABELS}
        if changed := differing(plan.options, of_labels):
            raise InputError(
                f"the labels there are of other options: {', '.join(changed)} differ ({in_words(changed)})",
                file=work,
                mend="give the options that it was begun with, or another output directory",
            )
        return plan
    plan = Plan(options=described, shards=divide(molecules, options.shards))
    write_atomic(work / PLAN, plan.model_dump_json(indent=1) + "\n")
    return plan


def read_plan(work: Path) -> Plan:
    """Raises InputError for what is no work directory."""
    path = work / PLAN
    try:
        return Plan.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        mend = "`mlipilot data build NAME --lay-out` makes one"
        raise InputError("there is no plan of labels", file=path, mend=mend) from None
    except ValidationError as error:
        raise InputError(f"no plan of labels: {error.errors()[0]['msg']}", file=path) from None


def shard_dir(work: Path, shard: int) -> Path:
    """Where a shard's frames are."""
    return work / "shards" / f"{shard:04d}"


def frames_file(work: Path, shard: int, molecule: Molecule) -> Path:
    """Where a molecule's frames are or will be."""
    return shard_dir(work, shard) / f"{molecule.name}.jsonl"


def write_frames(work: Path, shard: int, molecule: Molecule, frames: Sequence[Frame]) -> None:
    """Put a molecule's frames where they belong, whole."""
    path, staged = frames_file(work, shard, molecule), _staged(work, shard)
    for folder in (path.parent, staged):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, to_lines(frames), staged_in=staged)


def _staged(work: Path, shard: int) -> Path:
    return work / "staged" / f"{shard:04d}"


def shard_lock(work: Path, shard: int) -> Path:
    """What whoever labels a shard holds."""
    return work / "locks" / f"{shard:04d}"


@contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file while the block runs.

    Raises InputError naming who has it, or where the file system grants no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock, owner = _lock(path), _owner(path)
    if not _acquired(lock, path):
        mend = "wait for it, or end it; what it has finished is kept"
        raise InputError(f"another process {what} ({_who(path)})", file=path.parent, mend=mend)
    try:
        job = os.environ.get("SLURM_JOB_ID")
        told = f"process {os.getpid()} on {socket.gethostname()}" + (f", Slurm job {job}" if job else "")
        write_atomic(owner, told + "\n")
        yield
    finally:
        with suppress(OSError):
            owner.unlink(missing_ok=True)
        lock.release()


def holder(path: Path) -> str | None:
    """Who holds a lock file now, or None. Raises InputError as `held` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock(path)
    if not _acquired(lock, path):
        return _who(path)
    lock.release()
    return None


def _lock(path: Path) -> FileLock:
    # no soft lock instead of a missing one: whoever is killed on another node would keep that for ever
    return FileLock(path, fallback_to_soft=False)


def _acquired(lock: FileLock, path: Path) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    except OSError as error:
        raise InputError(
            f"it cannot be locked here: {error.strerror}",
            file=path,
            mend="name an --output on a file system that grants locks and that you may write to",
        ) from None
    return True


def _owner(path: Path) -> Path:
    return path.with_name(path.name + ".owner")


def _who(path: Path) -> str:
    try:
        return _owner(path).read_text(encoding="utf-8").strip()
    except OSError:  # not yet, or not any more
        return "it has not said who it is"


def seal_shard(work: Path, plan: Plan, shard: int) -> None:
    """Write the manifest of a shard whose molecules are all there."""
    directory = shard_dir(work, shard)
    for leftover in [*directory.glob(".*"), *_staged(work, shard).glob("*")]:  # of a write that was killed
        leftover.unlink(missing_ok=True)
    write_manifest(directory, [frames_file(work, shard, molecule) for molecule in plan.shards[shard]])


def unfinished(work: Path, plan: Plan) -> list[int]:
    """The shards without a manifest."""
    return [number for number in range(len(plan.shards)) if not is_finished(shard_dir(work, number))]


def read_frames(work: Path, plan: Plan) -> list[Frame]:
    """All frames, by molecule's name. Raises CheckFailedError for a shard that is not as it was sealed."""
    frames = []
    for number, shard in enumerate(plan.shards):
        if problems := check_manifest(shard_dir(work, number)):
            raise CheckFailedError(
                f"{problems[0]}; remove {shard_dir(work, number) / MANIFEST} to label it again"
            )
        for molecule in shard:
            frames += read_molecule(frames_file(work, number, molecule))
    return sorted(frames, key=lambda frame: (frame.molecule, frame.index))


def read_molecule(path: Path) -> list[Frame]:
    """A molecule's frames. Raises InputError for a file that is none of ours."""
    try:
        return from_lines(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise InputError(
            f"not a file of frames: {str(error).splitlines()[0]}",
            file=path,
            mend="remove it: its molecule is labelled again",
        ) from None
