"""`verify`: recompute every digest of a run, from the chain down to each file, and name what differs.

The files alone cannot show that a ledger's tail was cut off at a record's end, or that a run was rewritten
as a whole by its owner: `audit/anchors.py` asks Slurm's accounts. It says "tamper-evident", not more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mlipilot.audit.anchors import verify_anchors
from mlipilot.audit.belonging import copied_without_lessons, verify_campaign, verify_images
from mlipilot.audit.claims import is_control_file
from mlipilot.audit.evidence import spools
from mlipilot.audit.files import files_below, sha256_bytes
from mlipilot.audit.ledger import LedgerError, Record, read_ledger
from mlipilot.audit.leftovers import is_left_by_a_script, is_of_reports, is_staged_claim, staged_for
from mlipilot.audit.lessons import lessons_of
from mlipilot.audit.manifest import MANIFEST, check_manifest, read_manifest
from mlipilot.audit.protected import differing_toolkit
from mlipilot.audit.verification import Verification
from mlipilot.errors import InputError
from mlipilot.paths import JobKey, LineagePaths, RunPaths


def verify_run(run: RunPaths) -> Verification:
    """Check everything below `run`. Raises InputError when it is no run."""
    if not run.spec.is_file():
        raise InputError(f"this is not a run: {run.spec.name} is missing", file=run.root)
    found = Verification()
    # First of all: what a lineage that is not over yet writes meanwhile is no fault.
    over = {lineage.root for lineage in run.lineages() if _is_over(lineage)}
    told = run.findings.read_bytes() if run.findings.exists() else b""
    lineages = run.lineages()
    if not lineages:
        found.notes.append("no lineage has begun: there is no ledger to check the files against")
    for lineage in lineages:
        verify_lineage(run, lineage, found, is_over=lineage.root in over)
    verify_campaign(run, found)
    verify_images(run, found)
    verify_anchors(run, found)
    _verify_findings(run, told, over, found)
    _verify_unlisted(run, over, found, has_report=_verify_report(run, found))
    found.problems = list(dict.fromkeys(found.problems))
    return found


def verify_lineage(run: RunPaths, lineage: LineagePaths, found: Verification, *, is_over: bool) -> None:
    """Check the files of `lineage`, wherever they lie, against its ledger, and the ledger against `run`."""
    found.accounted.add(lineage.ledger)
    try:
        records = read_ledger(lineage.ledger)
    except LedgerError as error:
        found.problems.append(str(error))
        return
    found.records += len(records)
    found.lessons += lessons_of(lineage.number, records)
    started = next(_of_kind(records, "campaign_started"), None)
    if started is None:
        found.notes.append(f"{lineage.ledger}: the lineage was still being prepared")
        return
    found.begun[lineage] = started
    _verify_protected(run, lineage, started, found)
    _verify_transcript(lineage, records, found, is_over=is_over)
    _verify_drafts(lineage, records, found)
    judged = _verify_iterations(lineage, records, found)
    _verify_attempts(lineage, records, judged, found)
    _verify_incumbent(lineage, records, found, is_over=is_over)


def verify_copy(run: RunPaths, lineage: LineagePaths) -> list[str]:
    """What is wrong with a copy of a lineage that is to become one of `run`, wherever it lies by now."""
    found, is_over = Verification(), _is_over(lineage)
    verify_lineage(run, lineage, found, is_over=is_over)
    verify_campaign(run, found)
    known = found.accounted | {lineage.cancel}
    for path in files_below(lineage.root) if is_over else ():
        control = path.parent == lineage.controller and is_control_file(path.name)
        if path not in known and not control and not _is_left_by_a_kill(run, path, known):
            found.problems.append(f"{path}: no record speaks of this file")
    return found.problems


def _of_kind(records: list[Record], kind: str) -> Iterator[Record]:
    return (record for record in records if record.kind == kind)


def _where(lineage: LineagePaths, record: Record) -> str:
    return f"{lineage.ledger.name}, record {record.seq} of {lineage.root.name}"


def _verify_protected(run: RunPaths, lineage: LineagePaths, first: Record, found: Verification) -> None:
    """Spec, scorecard, recipe and data against the digests that the run began with."""
    where = _where(lineage, first)
    recorded = found.expect_protected(run, first.body, where)
    changed = differing_toolkit(recorded) if recorded else []
    if changed:
        found.notes.append(
            f"this toolkit is not the one that ran: {len(changed)} of its files differ ({changed[0]}, ...)"
        )


def _tell(found: Verification, said: str, *, is_over: bool, mend: str) -> None:
    """A fault of a lineage that is over; of another one it may be what a kill left, or what it does now."""
    if is_over:
        found.problems.append(said)
    else:
        found.notes.append(f"{said}; {mend}")


def _verify_transcript(
    lineage: LineagePaths, records: list[Record], found: Verification, *, is_over: bool
) -> None:
    exchanges = list(_of_kind(records, "exchange"))
    path = lineage.transcript
    if not exchanges and not path.exists():
        return
    found.accounted.add(path)
    data = path.read_bytes() if path.exists() else b""
    *lines, torn = data.split(b"\n")
    for number, record in enumerate(exchanges, start=1):
        if number > len(lines):
            found.problems.append(f"{path}:{number}: missing (recorded in {_where(lineage, record)})")
        elif sha256_bytes(lines[number - 1]) != record.body["sha256"]:
            found.problems.append(f"{path}:{number}: changed (differs from {_where(lineage, record)})")
    if torn or len(lines) > len(exchanges):
        said = f"{path}:{len(exchanges) + 1}: a line that the ledger does not know"
        _tell(found, said, is_over=is_over, mend="a controller that goes on writes it there")


def _verify_drafts(lineage: LineagePaths, records: list[Record], found: Verification) -> None:
    """Each revision as it was submitted; its smoke step's attempts, which lie in it, have their own seals."""
    for record in _of_kind(records, "drafted"):
        directory = lineage.revision(record.body["iteration"], record.body["revision"])
        sealed = record.body["manifest_sha256"]
        found.expect_sealed(directory, sealed, _where(lineage, record), allow_extra=True)


def _verify_iterations(lineage: LineagePaths, records: list[Record], found: Verification) -> set[int]:
    judged = set()
    for record in _of_kind(records, "verdict"):
        number = record.body["iteration"]
        judged.add(number)
        directory = lineage.iteration(number)
        found.expect_sealed(directory, record.body["manifest_sha256"], _where(lineage, record))
    for record in _of_kind(records, "proposed"):
        directory = lineage.iteration(record.body["iteration"])
        where = _where(lineage, record)
        found.expect(directory / "patch.diff", record.body["patch_sha256"], where)
        found.expect(directory / "hypothesis.yaml", record.body["hypothesis_sha256"], where)
    return judged


def _verify_attempts(
    lineage: LineagePaths, records: list[Record], judged: set[int], found: Verification
) -> None:
    """Attempts that no iteration's seal holds: of an open iteration, of smoke steps, of the sealed check."""
    for record in _of_kind(records, "job_finished"):
        key = JobKey.of(record.body)
        if key.kind in ("train", "evaluate") and key.iteration in judged:
            continue
        attempt = lineage.attempt(key, record.body["attempt"])
        if record.body["manifest_sha256"] is not None:
            found.expect_sealed(attempt, record.body["manifest_sha256"], _where(lineage, record))
        elif left := files_below(attempt):
            found.accounted |= set(left)
            found.notes.append(
                f"{attempt}: {record.body['outcome']} without a seal; what it left is not checked"
            )


def _verify_incumbent(
    lineage: LineagePaths, records: list[Record], found: Verification, *, is_over: bool
) -> None:
    verdicts = list(_of_kind(records, "verdict"))
    expected = verdicts[-1].body["incumbent"] if verdicts else None
    found.accounted.add(lineage.incumbent)
    if expected is None:
        return
    target = str(lineage.iteration(expected).relative_to(lineage.root))
    if not lineage.incumbent.is_symlink() or str(lineage.incumbent.readlink()) != target:
        said = f"{lineage.incumbent}: does not point at {target}, the ledger's incumbent"
        _tell(found, said, is_over=is_over, mend="a controller that goes on points it there")


def _verify_findings(run: RunPaths, told: bytes, over: set[Path], found: Verification) -> None:
    """What lineages told each other (`told`, read before the ledgers) against what their ledgers say."""
    found.accounted |= {run.findings, run.findings_lock}
    *lines, torn = told.split(b"\n")
    if torn:
        found.notes.append(f"{run.findings}: the last line is torn; a controller that goes on cuts it off")
    missing, told_by = list(found.lessons), set[int]()
    for number, line in enumerate(lines, start=1):
        try:
            missing.remove(lesson := json.loads(line))
            told_by.add(lesson["lineage"])
        except ValueError:
            found.problems.append(
                f"{run.findings}:{number}: no ledger holds this lesson, or it is there twice"
            )
    copied = copied_without_lessons(run, told_by, found)
    for lesson in missing:
        lineage = run.lineage(lesson["lineage"])
        if lineage in copied:
            continue
        said = (
            f"{run.findings}: the lesson of iteration {lesson['iteration']} of {lineage.root.name} is missing"
        )
        _tell(found, said, is_over=lineage.root in over, mend="`mlipilot resume` adds it")


def _verify_report(run: RunPaths, found: Verification) -> bool:
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


def _verify_unlisted(run: RunPaths, over: set[Path], found: Verification, *, has_report: bool) -> None:
    """Files that no record speaks of: a fault in a finished run, work in progress in an open one."""
    lineages = run.lineages()
    known = found.accounted | {run.prepare_lock, run.report_lock, run.endpoint, run.root / MANIFEST}
    known |= {run.spool_mark}
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
        if not lineages or any(root in path.parents for root in open_lineages):
            found.notes.append(f"{path}: not sealed yet")
        elif _is_left_by_a_kill(run, path, known | pages):
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


def _is_left_by_a_kill(run: RunPaths, path: Path, targets: set[Path]) -> bool:
    """Whether `path` is temporary: a claim, a batch script's, or what would have become one of `targets`."""
    if path.parent == run.root and is_left_by_a_script(path.name):
        return path.is_file() and not path.is_symlink()
    return staged_for(path) in targets or is_staged_claim(path)


def _is_over(lineage: LineagePaths) -> bool:
    try:
        return any(record.kind == "finished" for record in read_ledger(lineage.ledger))
    except LedgerError:
        return True
