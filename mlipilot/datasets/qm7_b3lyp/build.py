"""Building the data set, from labels that are shipped or from ones that are made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mlipilot.datasets.base import Progress, appearing, check_new
from mlipilot.datasets.qm7_b3lyp import shipped
from mlipilot.datasets.qm7_b3lyp.merge import write_dataset
from mlipilot.datasets.qm7_b3lyp.options import Qm7B3lypOptions
from mlipilot.datasets.qm7_b3lyp.records import Frame
from mlipilot.datasets.qm7_b3lyp.work import Plan, held, lay_out, read_frames, read_plan


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
    if options.source == "shipped":
        stored = shipped.load()
        _publish(out_dir, stored.frames, stored.seed, stored.unseen_share, stored.provenance)
    else:
        from mlipilot.datasets.qm7_b3lyp.labelling import label_all  # needs the packages of the extra

        work = work_dir(out_dir)
        with building(work):
            prepare(work, options)
            label_all(work, options.processes, report)
            plan = read_plan(work)
            provenance = {"options": plan.options}
            _publish(out_dir, read_frames(work, plan), options.seed, options.unseen_share, provenance)
    report(1, 1, "sealed")


def building(work: Path) -> Any:
    """Hold a work directory as its only builder. Raises InputError naming the other one."""
    return held(work / "lock", "builds here")


def prepare(work: Path, options: Qm7B3lypOptions) -> Plan:
    """Lay the work out unless it is. Raises InputError."""
    from mlipilot.datasets.qm7_b3lyp.molecules import collect

    there = (work / "plan.json").exists()
    return lay_out(work, options, [] if there else collect(options))


def _publish(
    out_dir: Path, frames: list[Frame], seed: int, unseen_share: float, provenance: dict[str, Any]
) -> None:
    with appearing(out_dir) as directory:
        write_dataset(directory, frames, seed, unseen_share, provenance, shipped.reference().files())
