"""The digests of a run, recomputed from the chain down to each file: what differs is named.

`controller/verification.py` joins this with the verdicts; nobody else calls it.
The files alone cannot show that a ledger's tail was cut off at a record's end, or that a run was rewritten
as a whole by its owner: `audit/anchors.py` asks Slurm's accounts. It says "tamper-evident", not more.
"""

from __future__ import annotations

import os
from pathlib import Path

from mlipilot.audit.anchors import verify_anchors
from mlipilot.audit.belonging import copied_without_lessons, verify_campaign, verify_images
from mlipilot.audit.claims import is_control_file
from mlipilot.audit.clocks import verify_times
from mlipilot.audit.events.concluding import AblationAsked, ConfirmationAsked, Confirmed
from mlipilot.audit.events.proposing import Drafted, Exchange, Heard, Proposed
from mlipilot.audit.events.running import (
    CampaignStarted,
    Cancelled,
    Finished,
    JobFinished,
    JobSubmitted,
    LedgerRepaired,
    Paused,
    Verdict,
)
from mlipilot.audit.files import files_below, sha256_bytes, whole_lines
from mlipilot.audit.ledger import LedgerError, Record, of_kind, read_ledger
from mlipilot.audit.lessons import Finding, lessons_of
from mlipilot.audit.protected import differing_toolkit
from mlipilot.audit.recorded_recipes import verify_recipe
from mlipilot.audit.reports import verify_reports
from mlipilot.audit.unlisted import is_left_by_a_kill, verify_report, verify_unlisted
from mlipilot.audit.verification_result import Verification
from mlipilot.errors import InputError
from mlipilot.paths import HYPOTHESIS, PATCH, LineagePaths, RunPaths

_BEFORE_THE_START = (Paused, Cancelled, LedgerRepaired)
_OF_A_BEGUN_ONE = ("iterations", "drafts", "confirmation", "sealed-check", "incumbent")
_ORDERS = (
    "iterations/*/seed-*/*/attempt-*/job.json",
    "drafts/*/smoke/attempt-*/job.json",
    "confirmation/*/seed-*/*/attempt-*/job.json",
    "sealed-check/*/seed-*/attempt-*/job.json",
)


def verify_digests(run: RunPaths) -> Verification:
    """Check everything below `run`. Raises InputError when it is no run."""
    if not run.spec.is_file():
        raise InputError(f"this is not a run: {run.spec.name} is missing", file=run.root)
    found = Verification()
    # First of all: what a lineage that is not over yet writes meanwhile is no fault.
    over = {lineage.root for lineage in run.lineages() if _is_over(lineage)}
    told = whole_lines(run.findings)
    lineages = run.lineages()
    if not lineages:
        found.notes.append("no lineage has begun: there is no ledger to check the files against")
    for lineage in lineages:
        _verify_lineage(run, lineage, found, is_over=lineage.root in over)
    _verify_heard(found)
    verify_campaign(run, found)
    verify_images(run, found)
    verify_anchors(run, found)
    _verify_findings(run, told, over, found)
    has_report = verify_report(run, found)
    verify_reports(run, found, has_report=has_report)
    verify_unlisted(run, over, found, has_report=has_report)
    return found


def _verify_lineage(run: RunPaths, lineage: LineagePaths, found: Verification, *, is_over: bool) -> None:
    """Check the files of `lineage`, wherever they lie, against its ledger, and the ledger against `run`."""
    found.accounted.add(lineage.ledger)
    orders = [path for places in _ORDERS for path in lineage.root.glob(places)]  # before the ledger is read
    try:
        records = read_ledger(lineage.ledger)
    except LedgerError as error:
        found.problems.append(str(error))
        return
    found.records += len(records)
    found.lengths[lineage.number] = len(records)
    found.lessons += lessons_of(lineage.number, records)
    begun = next(of_kind(records, CampaignStarted), None)
    if begun is None:
        if others := [record for record in records if not isinstance(record.event, _BEFORE_THE_START)]:
            found.problems.append(f"{_where(lineage, others[0])}: no record says how the lineage began")
        found.notes.append(f"{lineage.ledger}: the lineage was still being prepared")
        if left := [name for name in _OF_A_BEGUN_ONE if os.path.lexists(lineage.root / name)]:
            found.problems.append(
                f"{lineage.ledger}: no record says how the lineage began that left {left[0]}"
            )
        return
    found.begun[lineage] = first, started = begun
    verify_times(lineage.ledger, records, found)
    for record, heard in of_kind(records, Heard):
        where = _where(lineage, record)
        found.heard += [(where, int(number), count) for number, count in heard.records.items()]
    _verify_protected(run, started, _where(lineage, first), found)
    _verify_transcript(lineage, records, found, is_over=is_over)
    _verify_drafts(lineage, records, found)
    judged = _verify_iterations(lineage, records, found)
    _verify_orders(lineage, records, orders, found)
    _verify_attempts(lineage, records, judged, found)
    if _is_taken_up(records):
        found.taken_up |= {lineage.confirmation, lineage.root / "sealed-check"}
        is_over = False
    _verify_incumbent(lineage, records, found, is_over=is_over)


def _verify_heard(found: Verification) -> None:
    """Each lineage had, when another heard of it, no more records than it has now."""
    for where, number, count in found.heard:
        if (now := found.lengths.get(number, 0)) < count:
            found.problems.append(f"{where}: lineage {number} had {count} records then, and has {now}")


def verify_lineage_digests(run: RunPaths, lineage: LineagePaths) -> list[str]:
    """What is wrong with the files of one lineage of `run`, or of a copy that is to become one."""
    found, is_over = Verification(), _is_over(lineage)
    _verify_lineage(run, lineage, found, is_over=is_over)
    verify_campaign(run, found)
    known = found.accounted | {lineage.cancel}
    for path in files_below(lineage.root) if is_over else ():
        control = path.parent == lineage.controller and is_control_file(path.name)
        if path not in known and not control and not is_left_by_a_kill(run, path, known):
            found.problems.append(f"{path}: no record speaks of this file")
    return found.problems


def _where(lineage: LineagePaths, record: Record) -> str:
    return f"{lineage.ledger.name}, record {record.seq} of {lineage.root.name}"


def _verify_protected(run: RunPaths, started: CampaignStarted, where: str, found: Verification) -> None:
    """Spec, scorecard, recipe and data against the digests that the run began with."""
    recorded = found.expect_protected(run, started, where)
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
    exchanges = list(of_kind(records, Exchange))
    path = lineage.transcript
    if not exchanges and not path.exists():
        return
    found.accounted.add(path)
    lines, torn = whole_lines(path)
    for number, (record, exchange) in enumerate(exchanges, start=1):
        if number > len(lines):
            found.problems.append(f"{path}:{number}: missing (recorded in {_where(lineage, record)})")
        elif sha256_bytes(lines[number - 1]) != exchange.sha256:
            found.problems.append(f"{path}:{number}: changed (differs from {_where(lineage, record)})")
    if torn or len(lines) > len(exchanges):
        said = f"{path}:{len(exchanges) + 1}: a line that the ledger does not know"
        _tell(found, said, is_over=is_over, mend="a controller that goes on writes it there")


def _verify_drafts(lineage: LineagePaths, records: list[Record], found: Verification) -> None:
    """Each revision as it was submitted; its smoke step's attempts, which lie in it, have their own seals."""
    for record, draft in of_kind(records, Drafted):
        directory = lineage.revision(draft.iteration, draft.revision)
        found.expect_sealed(directory, draft.manifest_sha256, _where(lineage, record), allow_extra=True)


def _verify_iterations(lineage: LineagePaths, records: list[Record], found: Verification) -> set[int]:
    judged = set()
    for record, verdict in of_kind(records, Verdict):
        judged.add(verdict.iteration)
        directory = lineage.iteration(verdict.iteration)
        found.expect_sealed(directory, verdict.manifest_sha256, _where(lineage, record))
    for record, proposed in of_kind(records, Proposed):
        directory = lineage.iteration(proposed.iteration)
        where = _where(lineage, record)
        found.expect(directory / PATCH, proposed.patch_sha256, where)
        found.expect(directory / HYPOTHESIS, proposed.hypothesis_sha256, where)
        said = f"that was proposed (recorded in {where})"
        verify_recipe(lineage.recipe(proposed.iteration), proposed.recipe_digest, said, found)
    return judged


def _verify_orders(
    lineage: LineagePaths, records: list[Record], orders: list[Path], found: Verification
) -> None:
    """No attempt is told what to do before it is on record, but an evaluation queued behind its training."""
    submitted = {lineage.attempt(event.key, event.attempt) for _, event in of_kind(records, JobSubmitted)}
    jobs = {attempt.parent for attempt in submitted}
    for attempt in sorted(order.parent for order in orders):
        is_behind = attempt.parent.name == "evaluate" and attempt.parent.with_name("train") in jobs
        if attempt not in submitted and not is_behind:
            found.problems.append(
                f"{attempt}: no record speaks of this attempt: the ledger was cut before it"
            )


def _verify_attempts(
    lineage: LineagePaths, records: list[Record], judged: set[int], found: Verification
) -> None:
    """Attempts that no iteration's seal holds: of an open one, of smoke steps, of what follows the search."""
    taken_out = {
        step.iteration: step.recipe_digest
        for _, asked in of_kind(records, AblationAsked)
        for step in asked.steps
    }
    for record, ended in of_kind(records, JobFinished):
        if ended.job in ("train", "evaluate") and ended.iteration in judged and not ended.fresh:
            continue
        attempt = lineage.attempt(ended.key, ended.attempt)
        if (less := ended.key.without) is not None and ended.job == "train":
            verify_recipe(
                lineage.recipe_of(ended.key),
                taken_out.get(less),
                f"that the ledger has without step {less}",
                found,
            )
        if ended.fresh:  # whoever computes records again compares it with the run's data
            found.accounted |= set(files_below(lineage.training_data(ended.key) / "train"))
        if ended.manifest_sha256 is not None:
            found.expect_sealed(attempt, ended.manifest_sha256, _where(lineage, record))
        elif left := files_below(attempt):
            found.accounted |= set(left)
            found.notes.append(f"{attempt}: {ended.outcome} without a seal; what it left is not checked")


def _verify_incumbent(
    lineage: LineagePaths, records: list[Record], found: Verification, *, is_over: bool
) -> None:
    told = [record.event for record in records if isinstance(record.event, Verdict | Confirmed)]
    expected = told[-1].incumbent if told else None
    found.accounted.add(lineage.incumbent)
    if expected is None:
        return
    target = str(lineage.iteration(expected).relative_to(lineage.root))
    if not lineage.incumbent.is_symlink() or str(lineage.incumbent.readlink()) != target:
        said = f"{lineage.incumbent}: does not point at {target}, the ledger's incumbent"
        _tell(found, said, is_over=is_over, mend="a controller that goes on points it there")


def _verify_findings(
    run: RunPaths, told: tuple[list[bytes], bytes], over: set[Path], found: Verification
) -> None:
    """What lineages told each other (`told`, read before the ledgers) against what their ledgers say."""
    found.accounted |= {run.findings, run.findings_lock}
    lines, torn = told
    if torn:
        found.notes.append(f"{run.findings}: the last line is torn; a controller that goes on cuts it off")
    missing, told_by = list(found.lessons), set[int]()
    for number, line in enumerate(lines, start=1):
        try:
            missing.remove(lesson := Finding.model_validate_json(line))
            told_by.add(lesson.lineage)
        except ValueError:
            found.problems.append(
                f"{run.findings}:{number}: no ledger holds this lesson, or it is there twice"
            )
    copied = copied_without_lessons(run, told_by, found)
    for lesson in missing:
        lineage = run.lineage(lesson.lineage)
        if lineage in copied:
            continue
        said = f"{run.findings}: the lesson of iteration {lesson.iteration} of {lineage.root.name} is missing"
        _tell(found, said, is_over=lineage.root in over, mend="`mlipilot resume` adds it")


def _is_over(lineage: LineagePaths) -> bool:
    """Whether its search is: what follows that lies apart."""
    try:
        records = read_ledger(lineage.ledger)
    except LedgerError:
        return True
    return any(of_kind(records, Finished))


def _is_taken_up(records: list[Record]) -> bool:
    """Whether a person has asked for more since the lineage was over, and that is not written down yet."""
    turns = (Finished, ConfirmationAsked, AblationAsked)
    told = [record.event for record in records if isinstance(record.event, turns)]
    return bool(told) and not isinstance(told[-1], Finished)
