"""`verify`: recompute every digest of a run, from the chain down to each file, and name what differs.

The files alone cannot show that a ledger's tail was cut off at a record's end, or that a run was rewritten
as a whole by its owner: `audit/anchors.py` asks Slurm's accounts. It says "tamper-evident", not more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress

from mlipilot.audit.anchors import verify_anchors
from mlipilot.audit.claims import is_control_file
from mlipilot.audit.files import files_below, sha256_bytes
from mlipilot.audit.ledger import LedgerError, Record, read_ledger
from mlipilot.audit.lessons import lessons_of
from mlipilot.audit.manifest import MANIFEST, check_manifest, is_finished, read_manifest
from mlipilot.audit.protected import differing_toolkit
from mlipilot.audit.verification import Verification
from mlipilot.campaign.paths import JobKey, LineagePaths, RunPaths
from mlipilot.errors import InputError


def verify_run(run: RunPaths) -> Verification:
    """Check everything below `run`. Raises InputError when it is no run."""
    if not run.spec.is_file():
        raise InputError(f"this is not a run: {run.spec.name} is missing", file=run.root)
    found = Verification()
    told = run.findings.read_bytes() if run.findings.exists() else b""
    lineages = run.lineages()
    if not lineages:
        found.notes.append("no lineage has begun: there is no ledger to check the files against")
    for lineage in lineages:
        _verify_lineage(run, lineage, found)
    verify_anchors(run, found)
    _verify_findings(run, told, found)
    _verify_report(run, found)
    _verify_unlisted(run, found)
    found.problems = list(dict.fromkeys(found.problems))
    return found


def _verify_lineage(run: RunPaths, lineage: LineagePaths, found: Verification) -> None:
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
    _verify_protected(run, lineage, started, found)
    _verify_transcript(lineage, records, found)
    _verify_drafts(lineage, records, found)
    judged = _verify_iterations(lineage, records, found)
    _verify_attempts(lineage, records, judged, found)
    _verify_incumbent(lineage, records, found)


def _of_kind(records: list[Record], kind: str) -> Iterator[Record]:
    return (record for record in records if record.kind == kind)


def _where(lineage: LineagePaths, record: Record) -> str:
    return f"{lineage.ledger.name}, record {record.seq} of {lineage.root.name}"


def _verify_protected(run: RunPaths, lineage: LineagePaths, first: Record, found: Verification) -> None:
    """Spec, scorecard, recipe and data against the digests that the run began with."""
    where = _where(lineage, first)
    image = first.body.get("image_sha256")
    if image is not None:
        found.expect(run.image_digest, sha256_bytes(f"{image}\n".encode()), where)
    recorded = found.expect_protected(run, first.body, where)
    changed = differing_toolkit(recorded) if recorded else []
    if changed:
        found.notes.append(
            f"this toolkit is not the one that ran: {len(changed)} of its files differ ({changed[0]}, ...)"
        )


def _verify_transcript(lineage: LineagePaths, records: list[Record], found: Verification) -> None:
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
        found.problems.append(f"{path}:{len(exchanges) + 1}: a line that the ledger does not know")


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


def _verify_incumbent(lineage: LineagePaths, records: list[Record], found: Verification) -> None:
    verdicts = list(_of_kind(records, "verdict"))
    expected = verdicts[-1].body["incumbent"] if verdicts else None
    found.accounted.add(lineage.incumbent)
    if expected is None:
        return
    target = str(lineage.iteration(expected).relative_to(lineage.root))
    if not lineage.incumbent.is_symlink() or str(lineage.incumbent.readlink()) != target:
        found.problems.append(f"{lineage.incumbent}: does not point at {target}, the ledger's incumbent")


def _verify_findings(run: RunPaths, told: bytes, found: Verification) -> None:
    """What lineages told each other (`told`, read before the ledgers) against what their ledgers say."""
    found.accounted |= {run.findings, run.findings_lock}
    *lines, torn = told.split(b"\n")
    if torn:
        found.notes.append(f"{run.findings}: the last line is torn; a controller that goes on cuts it off")
    missing = list(found.lessons)
    for number, line in enumerate(lines, start=1):
        try:
            missing.remove(json.loads(line))
        except ValueError:
            found.problems.append(
                f"{run.findings}:{number}: no ledger holds this lesson, or it is there twice"
            )
    for lesson in missing:
        lineage = run.lineage(lesson["lineage"])
        said = (
            f"{run.findings}: the lesson of iteration {lesson['iteration']} of {lineage.root.name} is missing"
        )
        if _is_over(lineage):
            found.problems.append(said)
        else:
            found.notes.append(f"{said}; `mlipilot resume` adds it")


def _verify_report(run: RunPaths, found: Verification) -> None:
    """The report and the exported model against the manifest beside them."""
    if not is_finished(run.root):
        return
    found.accounted.add(run.root / MANIFEST)
    for problem in check_manifest(run.root, allow_extra=True):
        found.problems.append(f"{problem}; or {MANIFEST} itself was changed")
    with suppress(ValueError):  # named above
        found.accounted |= {run.root / name for name in read_manifest(run.root)}


def _verify_unlisted(run: RunPaths, found: Verification) -> None:
    """Files that no record speaks of: a fault in a finished run, work in progress in an open one."""
    known = found.accounted | {run.prepare_lock, run.report_lock, run.endpoint}
    known |= {lineage.cancel for lineage in run.lineages()}
    control = {lineage.controller for lineage in run.lineages()}
    extra = [
        path
        for path in files_below(run.root)
        if path not in known
        and not (path.parent in control and is_control_file(path.name))
        and run.spool not in path.parents
    ]
    if run.spool.exists():
        found.notes.append(
            f"{run.spool}: requests to Slurm and its answers, no part of the record: no digest holds them, "
            "and a request's name is evidence only where Slurm's accounts have it too"
        )
    open_lineages = [lineage for lineage in run.lineages() if not _is_over(lineage)]
    for path in extra:
        in_progress = any(lineage.root in path.parents for lineage in open_lineages)
        if in_progress or not run.lineages():
            found.notes.append(f"{path}: not sealed yet")
        else:
            found.problems.append(f"{path}: no record speaks of this file")


def _is_over(lineage: LineagePaths) -> bool:
    try:
        records = read_ledger(lineage.ledger)
    except LedgerError:
        return True
    return bool(records) and records[-1].kind == "finished"
