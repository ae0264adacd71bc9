"""Building the data set, from labels that are shipped or from ones that are made here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mlipilot.datasets.base import Progress, appearing, check_new
from mlipilot.datasets.qm7_b3lyp import shipped
from mlipilot.datasets.qm7_b3lyp.dataset_files import Division, check_divisible, write_dataset
from mlipilot.datasets.qm7_b3lyp.qm7_file import check_file, origin_of
from mlipilot.datasets.qm7_b3lyp.qm7_options import Qm7B3lypOptions
from mlipilot.datasets.qm7_b3lyp.work import PLAN, Plan, held, lay_out, read_frames
from mlipilot_labels.records import Frame, Molecule


def work_dir(out_dir: Path) -> Path:
    """Where the labels of a data set are made."""
    return out_dir.with_name(out_dir.name + ".labels")


def build(options: BaseModel, out_dir: Path, progress: Progress | None = None) -> None:
    """Make the data set in `out_dir` and seal it; all of it appears at once, or nothing.

    New labels are kept in `work_dir(out_dir)`, and a build that was ended goes on with those that are there.
    Raises InputError if `out_dir` exists or another build works on it, CheckFailedError if labelling fails.
    """
    assert isinstance(options, Qm7B3lypOptions)  # noqa: S101 - the registry pairs builders and options
    check_new(out_dir)
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    report = progress or (lambda *_: None)
    said: dict[str, Any] = {"options": options.model_dump(mode="json")}
    if options.source == "shipped":
        stored = shipped.load()
        said = stored.provenance | said | {"labels_made_with": stored.provenance["options"]}
        division = Division(stored.seed, stored.unseen_share, options.salt)
        _publish(out_dir, stored.frames, division, said)
    else:
        from mlipilot.datasets.qm7_b3lyp.label_shards import label_all  # needs the packages of the extra

        work = work_dir(out_dir)
        with building(work):
            plan = prepare(work, options)
            label_all(work, options.processes, report)
            said["molecules_are"] = molecules_are(options)
            division = Division(options.seed, options.unseen_share, options.salt)
            _publish(out_dir, read_frames(work, plan), division, said)
    report(1, 1, "sealed")


def building(work: Path) -> Any:
    """Hold a work directory as its only builder. Raises InputError naming the other one."""
    return held(work / "lock", "builds here")


def prepare(work: Path, options: Qm7B3lypOptions) -> Plan:
    """Lay the work out unless it is. Raises InputError."""
    from mlipilot.datasets.qm7_b3lyp.chosen_molecules import collect

    if (work / PLAN).exists():
        if options.qm7 is not None:
            check_file(options.qm7, options.qm7_sha256)
        plan = lay_out(work, options, [])
        _check_divisible(options, [molecule for shard in plan.shards for molecule in shard])
        return plan
    molecules = collect(options)
    _check_divisible(options, molecules)
    return lay_out(work, options, molecules)


def _check_divisible(options: Qm7B3lypOptions, molecules: Sequence[Molecule]) -> None:
    several = sum(len(molecule.numbers) > 1 for molecule in molecules)
    check_divisible(several, options.geometries, options.unseen_share)


def molecules_are(options: Qm7B3lypOptions) -> str:
    """QM7's or ours, for the provenance of new labels."""
    if options.source == "qm7":
        return origin_of(options.qm7_sha256)
    return "a selection of our own that stands in for QM7"


def _publish(out_dir: Path, frames: list[Frame], division: Division, provenance: dict[str, Any]) -> None:
    with appearing(out_dir) as directory:
        write_dataset(directory, frames, division, provenance, shipped.reference().files())
