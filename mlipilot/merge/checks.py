"""Whether runs were begun by the same campaign, and nobody carries them now: before anything is copied."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlipilot.audit.files import read_regular
from mlipilot.audit.ledger import LedgerError, read_ledger
from mlipilot.audit.lock import holder
from mlipilot.controller.state import replay
from mlipilot.errors import InputError
from mlipilot.jobs.slurm_job import fate_of_job
from mlipilot.merge.copying import files_of
from mlipilot.paths import LineagePaths, RunPaths
from mlipilot.untrusted import one_line
from mlipilot.yaml_text import check_bounded, parse_yaml

_MOST_BYTES = 64 * 2**20
_CAMPAIGN = (
    "begin both runs with the same campaign file, profile and --set, and have data of your own under the "
    "same path on both clusters"
)
_PROTECTED = (
    "use the same version of MLIPilot on both clusters, and begin the second run with a copy of the first "
    "one's data, as the README says under “Several clusters”: another kind of processor builds other bytes"
)


def check_run(run: RunPaths) -> None:
    """Whether `run` has what a begun run has, in plain files and folders. Raises InputError."""
    if not run.root.is_dir():
        raise InputError("there is no run here", file=run.root)
    images = [path for path in run.root.iterdir() if path == run.image_digest]  # a link to nowhere, too
    for path in (run.spec, run.scorecard, run.protected, *images):
        _read(path)
    for folder in (run.recipe, run.data):
        if not folder.exists():
            raise InputError(f"this run has no {folder.name} yet", file=run.root, mend="merge it once it has")
        files_of(folder)
    numbers = [lineage.number for lineage in run.lineages()]
    if not numbers:
        raise InputError("no lineage of this run has begun: there is nothing to copy", file=run.root)
    for lineage in run.lineages():
        if lineage.root != run.lineage(lineage.number).root:
            raise InputError("a lineage's number is written without leading zeros", file=lineage.root)
        files_of(lineage.root)


def check_same_campaign(first: RunPaths, other: RunPaths) -> None:
    """Whether both stand on the same campaign, scorecard, toolkit, recipe and data.

    Raises InputError naming the first difference.
    """
    for mine, theirs, mend in (
        (first.spec, other.spec, _CAMPAIGN),
        (first.scorecard, other.scorecard, "begin both runs with the same scorecard"),
        (first.protected, other.protected, _PROTECTED),
    ):
        a, b = _read(mine), _read(theirs)
        if a == b:
            continue
        found = _first_difference(_parsed(mine, a), _parsed(theirs, b))
        said = f"its text is another than that of {mine}"
        if found is not None:
            key, here, there = (one_line(str(each), 200) for each in found)
            said = f"'{key}' is {there} here and {here} in {mine}"
        raise InputError(f"{said}: these are not lineages of one run", file=theirs, mend=mend)


def check_idle(run: RunPaths) -> None:
    """Whether no controller holds a lineage, and no job of one is under way. Raises InputError."""
    for lineage in run.lineages():
        words = holder(lineage.root, fate_of_job)
        if words is not None:
            raise InputError(
                f"a controller may hold this lineage ({words})",
                file=lineage.root,
                mend="let it end, or `mlipilot cancel` the run where it is carried, and copy it again; if it "
                f"is certainly over, `mlipilot unlock {run.root} --lineage {lineage.number}`",
            )
        under_way = _jobs_under_way(lineage)
        if under_way:
            raise InputError(
                f"jobs of this lineage are under way: {', '.join(under_way)}",
                file=lineage.root,
                mend="let it come to its end, or `mlipilot cancel` the run where it is carried, and copy it "
                "again: the jobs write where it was begun",
            )


def _jobs_under_way(lineage: LineagePaths) -> list[str]:
    """Those that its ledger has begun and not ended, such as of a controller that handed its core back."""
    try:
        return [key.text for key, _ in replay(read_ledger(lineage.ledger)).in_flight()]
    except (OSError, LedgerError):
        return []  # there is none, or whoever looks at the record names what is wrong with it


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, _MOST_BYTES)
    except FileNotFoundError:
        mend = "name the directory of a run whose data are there"
        raise InputError("this file of a run is missing", file=path, mend=mend) from None
    except PermissionError:
        raise
    except OSError as error:
        raise InputError(f"this is no file of a run: {error.strerror}", file=path) from None


def _parsed(path: Path, data: bytes) -> Any:
    """What a file says; of one that cannot be read nothing."""
    text = data.decode("utf-8", errors="replace")
    try:
        if path.suffix == ".json":
            return json.loads(text)
        check_bounded(text)
        return parse_yaml(text)
    except (ValueError, RecursionError):
        return None


def _first_difference(first: Any, second: Any, key: str = "") -> tuple[str, Any, Any] | None:
    """The first place in which two files differ, by its dotted key, and what stands there."""
    if not (isinstance(first, Mapping) and isinstance(second, Mapping)):
        return None if first == second or not key else (key, first, second)
    for name in (*first, *(name for name in second if name not in first)):
        inner = f"{key}.{name}" if key else str(name)
        found = _first_difference(first.get(name), second.get(name), inner)
        if found is not None:
            return found
    return None
