"""Files of a run that no ledger speaks of: reports, leftovers of kills, and what has no business there."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from mlipilot.audit.claims import is_control_file
from mlipilot.audit.evidence import spools
from mlipilot.audit.files import files_below
from mlipilot.audit.leftovers import is_left_by_a_script, is_of_reports, is_staged_claim, staged_for
from mlipilot.audit.manifest import MANIFEST, check_manifest, read_manifest
from mlipilot.audit.seals import seals_of
from mlipilot.audit.verification_result import Verification
from mlipilot.paths import RunPaths


def verify_report(run: RunPaths, found: Verification) -> bool:
    """The report and the exported model against the manifest beside them; False where there is none.

    Whoever writes a report takes the earlier one's manifest away first: a report that is written meanwhile
    is not there yet.
    """
    seal, names = run.root / MANIFEST, set[str]()
    try:
        before = seal.read_bytes()
        problems = check_manifest(run.root, allow_extra=True)
        with suppress(ValueError):  # check_manifest has named the line
            names = set(read_manifest(run.root))
        if seal.read_bytes() != before:
            return False
    except (FileNotFoundError, IsADirectoryError):
        return False
    found.accounted |= {seal} | {run.root / name for name in names}
    found.problems += [f"{problem}; or {MANIFEST} itself was changed" for problem in problems]
    return True


def verify_unlisted(run: RunPaths, over: set[Path], found: Verification, *, has_report: bool) -> None:
    """Files that no record speaks of: a fault in a finished run, work in progress in an open one."""
    lineages = run.lineages()
    known = found.accounted | {
        run.prepare_lock,
        run.report_lock,
        run.endpoint,
        run.root / MANIFEST,
        run.reports,
    }
    known |= {run.spool_mark, *seals_of(run)}
    half = [run.merging] if run.merging.is_dir() and not run.merging.is_symlink() else []
    known |= {lineage.cancel for lineage in lineages}
    if not has_report:
        known |= {run.root / name for name in _reports_files(run)}
    pages = {run.report_html, run.report_md, *(run.lineage_html(lineage.number) for lineage in lineages)}
    _note_what_is_no_record(run, has_report, found)
    apart = (*spools(run), _labels(run), *half)
    control = {lineage.controller for lineage in lineages}
    open_lineages = [lineage.root for lineage in lineages if lineage.root not in over]
    for path in files_below(run.root):
        if path in known or any(folder in path.parents for folder in apart):
            continue
        if path.parent in control and is_control_file(path.name):
            continue
        if not lineages or any(root in path.parents for root in (*open_lineages, *found.taken_up)):
            found.notes.append(f"{path}: not sealed yet")
        elif is_left_by_a_kill(run, path, known | pages):
            found.notes.append(f"{path}: left by a killed write, no part of the record")
        elif path.is_symlink() or path.exists():  # else a write that is over by now
            found.problems.append(f"{path}: no record speaks of this file")


def _note_what_is_no_record(run: RunPaths, has_report: bool, found: Verification) -> None:
    if run.spool.exists():
        found.notes.append(
            f"{run.spool}: requests to Slurm and its answers, no part of the record: no digest holds them, "
            "and a request's name is evidence only where Slurm's accounts have it too"
        )
    for folder in spools(run)[1:]:
        found.notes.append(f"{folder}: what another run's submitter left, no part of the record either")
    if run.merging.is_dir():
        found.notes.append(
            f"{run.merging}: left by a killed `mlipilot merge`, which the next one clears away"
        )
    if _labels(run).is_dir():
        found.notes.append(
            f"{_labels(run)}: where the labels were made, no part of the record: the data set is sealed apart"
        )
    if not has_report and (names := _reports_files(run)):
        found.notes.append(
            f"{run.root}: an unsealed report, which is being written or was interrupted; nothing vouches "
            f"for {', '.join(names)}; `mlipilot report` writes it anew"
        )


def _reports_files(run: RunPaths) -> list[str]:
    """The names, seen from the run, of what only reports write."""
    folders = (run.root, run.figures, run.export)
    found = [path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file()]
    names = [path.relative_to(run.root).as_posix() for path in found if not path.is_symlink()]
    return sorted(name for name in names if is_of_reports(name))


def _labels(run: RunPaths) -> Path:
    """Where a data set that is labelled for this very run is worked on (`datasets/qm7_b3lyp/build.py`)."""
    return run.data.with_name(f"{run.data.name}.labels")


def is_left_by_a_kill(run: RunPaths, path: Path, targets: set[Path]) -> bool:
    """Whether `path` is temporary: a claim, a batch script's, or what would have become one of `targets`."""
    if path.parent == run.root and is_left_by_a_script(path.name):
        return path.is_file() and not path.is_symlink()
    if path.parent == run.seals:
        return staged_for(path) is not None
    return staged_for(path) in targets or is_staged_claim(path)
