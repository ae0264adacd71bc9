"""The directory in which labels are made: a plan, and one file for each molecule that is done.

    WORK/plan.json                      the options and the molecules, by shard; written once
    WORK/logs/0003.log                  what a local process said
    WORK/lock, locks/0003               held by the builder, and by whoever labels shard 3
    WORK/shards/0003/ethanol.jsonl      the frames of a molecule: whole or not there
    WORK/shards/0003/manifest-sha256.txt    written last: the shard is finished

A process that is killed costs the molecule in hand. What is made does not depend on shards or kills.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from mlipilot.audit.files import write_atomic
from mlipilot.audit.manifest import MANIFEST, check_manifest, is_finished, write_manifest
from mlipilot.datasets.qm7_b3lyp.cost import label_seconds
from mlipilot.datasets.qm7_b3lyp.options import Qm7B3lypOptions
from mlipilot.datasets.qm7_b3lyp.records import Frame, Molecule, from_lines
from mlipilot.errors import CheckFailedError, InputError

FORMAT = "mlipilot-labels/1"


class Plan(BaseModel):
    """What a work directory is to hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str = FORMAT
    options: dict[str, Any]
    shards: list[list[Molecule]]

    @property
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
    """Write the plan, or go on with the one that is there. Raises InputError if that is of other options."""
    described = options.model_dump(mode="json")
    if (work / "plan.json").exists():
        plan = read_plan(work)
        if plan.options != described:
            changed = sorted(key for key in described if plan.options.get(key) != described[key])
            raise InputError(
                f"the labels there are of other options: {', '.join(changed)} differ",
                file=work,
                mend="give the options that it was begun with, or another output directory",
            )
        return plan
    plan = Plan(options=described, shards=divide(molecules, options.shards))
    write_atomic(work / "plan.json", plan.model_dump_json(indent=1) + "\n")
    return plan


def read_plan(work: Path) -> Plan:
    """Raises InputError for what is no work directory."""
    path = work / "plan.json"
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


@contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file while the block runs. Raises InputError naming who has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock, owner = FileLock(path), path.with_name(path.name + ".owner")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = owner.read_text(encoding="utf-8").strip() if owner.exists() else "it has not said who it is"
        mend = "wait for it, or end it; what it has finished is kept"
        raise InputError(f"another process {what} ({who})", file=path.parent, mend=mend) from None
    try:
        job = os.environ.get("SLURM_JOB_ID")
        told = f"process {os.getpid()} on {socket.gethostname()}" + (f", Slurm job {job}" if job else "")
        write_atomic(owner, told + "\n")
        yield
    finally:
        with suppress(OSError):
            owner.unlink(missing_ok=True)
        lock.release()


def seal_shard(work: Path, shard: int) -> None:
    """Write the manifest of a shard whose molecules are all there."""
    directory = shard_dir(work, shard)
    for leftover in directory.glob(".*"):  # of a write that was killed
        leftover.unlink()
    write_manifest(directory)


def done_seconds(work: Path, plan: Plan) -> tuple[int, int, float, float]:
    """Molecules done, molecules in all, and their expected seconds."""
    count, total, seconds, all_seconds = 0, 0, 0.0, 0.0
    for number, shard in enumerate(plan.shards):
        there = {path.name for path in shard_dir(work, number).glob("*.jsonl")}
        for molecule in shard:
            cost = plan.seconds(molecule)
            total, all_seconds = total + 1, all_seconds + cost
            if f"{molecule.name}.jsonl" in there:
                count, seconds = count + 1, seconds + cost
    return count, total, seconds, all_seconds


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
