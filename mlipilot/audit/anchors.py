"""Anchors: the names of a run's Slurm jobs, which Slurm's accounts keep out of its owner's reach.

A job's name begins with `mlp-` and the first 16 hexadecimal digits of the ledger's head at its submission. A
ledger that was cut or rewritten from before that submission on lacks the record that the name speaks of. No
name speaks of what was written after the last submission.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mlipilot.audit.ledger import LedgerError, Record, read_ledger
from mlipilot.audit.verification import Verification
from mlipilot.campaign.paths import LineagePaths, RunPaths
from mlipilot.programs import ask, slurm_environment
from mlipilot.untrusted import one_line

NAME = re.compile(r"mlp-([0-9a-f]{16})-[a-z0-9][a-z0-9.-]{0,80}")
_NUMBER = re.compile(r"[0-9]{1,10}")
_CLOCKS = timedelta(minutes=10)  # by which those of two machines may differ
_PATIENCE_S = 120
_MOST_BYTES = 64 * 1024**2  # some 400,000 jobs
_EPOCH = datetime.fromtimestamp(0, UTC)

Ledgers = Mapping[LineagePaths, Sequence[Record]]


@dataclass(frozen=True)
class Anchor:
    """A Slurm job that the ledger says is over; it was submitted after `head` and before `end`."""

    lineage: LineagePaths
    job_id: str
    name: str
    head: Record
    end: Record


@dataclass(frozen=True)
class AccountedJob:
    """A job as Slurm's accounts have it."""

    job_id: str
    submitted: datetime | None
    name: str
    directory: str
    """Where it was submitted from: the submitter works in the run's directory."""


class _NoAnswerError(Exception):
    """Slurm's accounts cannot be asked; the message says why."""


def verify_anchors(run: RunPaths, found: Verification) -> None:
    """Compare the names of a run's Slurm jobs with its ledgers, and both with Slurm's accounts."""
    try:
        ledgers = _ledgers(run)
        anchors = [a for lineage, records in ledgers.items() for a in _anchors(lineage, records, found)]
        found.anchors = len(anchors)
        requested = {path.name for path in run.spool.glob("requests/mlp-*") if NAME.fullmatch(path.name)}
        if anchors or requested or any(_is_on_slurm(records) for records in ledgers.values()):
            begun = _begun(ledgers)
            listed = _compare_with_accounts(run, begun, anchors, found)
            ours = [job for job in listed if job.name in requested or _is_of(run, begun, job)]
            # Read again: a controller may have submitted jobs while Slurm was asked.
            heads = {record.hash[:16] for records in _ledgers(run).values() for record in records}
            _find_unknown_heads(run, heads, ours, requested, found)
        elif any(ledgers.values()):
            found.notes.append(
                "the jobs were local processes: nothing outside of the run bears witness to its ledger, and "
                "a cut at a record's end would not be seen"
            )
    except LedgerError:
        return  # the chain's own check names it


def _ledgers(run: RunPaths) -> Ledgers:
    return {lineage: read_ledger(lineage.ledger) for lineage in run.lineages()}


def _is_on_slurm(records: Sequence[Record]) -> bool:
    return any(r.kind == "campaign_started" and r.body.get("backend") == "slurm" for r in records)


def _anchors(lineage: LineagePaths, records: Sequence[Record], found: Verification) -> Iterator[Anchor]:
    """What the ledger says of its jobs; a name that holds the hash of no earlier record is a problem."""
    earlier: dict[str, Record] = {}
    for record in records:
        if record.kind == "job_finished" and record.body.get("job_id") is not None:
            job_id, name = str(record.body["job_id"]), str(record.body.get("job_name"))
            match = NAME.fullmatch(name)
            head = earlier.get(match[1]) if match else None
            if head is not None and _NUMBER.fullmatch(job_id):
                yield Anchor(lineage, job_id, name, head, record)
            else:
                found.problems.append(
                    f"{lineage.ledger}:{record.seq + 1}: the name of Slurm's job {one_line(job_id, 20)}, "
                    f"{one_line(name, 120)}, holds the hash of no record before its end"
                )
        earlier[record.hash[:16]] = record


def _compare_with_accounts(
    run: RunPaths, begun: datetime, anchors: Sequence[Anchor], found: Verification
) -> list[AccountedJob]:
    """Look up each anchor by its number; returns the jobs of all who carried the run since it began."""
    try:
        numbers = ",".join(sorted({anchor.job_id for anchor in anchors}))
        known = _ask(f"--jobs={numbers}") if anchors else []
        listed = _ask(f"--uid={','.join(map(str, _owners(run)))}", f"--starttime={begun:%Y-%m-%dT%H:%M:%S}")
    except _NoAnswerError as reason:
        found.notes.append(
            f"the names of {len(anchors)} Slurm jobs were compared with the ledger alone: {reason}; only "
            "Slurm's accounts can show that a ledger was cut at a record's end or rewritten"
        )
        return []
    _compare(anchors, known, found)
    return listed


def _owners(run: RunPaths) -> list[int]:
    """The user ids of who began the run, who carried its lineages, and who submitted its jobs last."""
    theirs = [path for lineage in run.lineages() for path in lineage.controller.glob("*.json")]
    return sorted(
        {path.stat().st_uid for path in (run.spec, run.spool / "submitter", *theirs) if path.exists()}
    )


def _is_of(run: RunPaths, begun: datetime, job: AccountedJob) -> bool:
    """Whether a job was submitted from this run's directory, which an earlier run may have had."""
    of_now = job.submitted is not None and job.submitted >= begun
    return of_now and job.directory == str(run.root.resolve()) and NAME.fullmatch(job.name) is not None


def _compare(anchors: Sequence[Anchor], jobs: Iterable[AccountedJob], found: Verification) -> None:
    """Numbers are used again one day: only number, name and time together tell a job."""
    by_number: dict[str, list[AccountedJob]] = {}
    for job in jobs:
        by_number.setdefault(job.job_id, []).append(job)
    missing: list[str] = []
    last: dict[LineagePaths, int] = {}
    for anchor in anchors:
        same_number = by_number.get(anchor.job_id, [])
        others = [job.name for job in same_number if _is_of_then(job, anchor)]
        if any(job.name == anchor.name for job in same_number):
            found.witnessed += 1
            last[anchor.lineage] = max(anchor.head.seq, last.get(anchor.lineage, 0))
        elif others:
            found.problems.append(
                f"{anchor.lineage.ledger}:{anchor.end.seq + 1}: Slurm's accounts name job {anchor.job_id} "
                f"{one_line(others[0], 120)}, the ledger {anchor.name}: it was rewritten"
            )
        else:
            missing.append(anchor.job_id)
    for lineage, seq in last.items():
        found.notes.append(f"{lineage.ledger}: Slurm's accounts bear witness to it up to line {seq + 1}")
    if missing:
        found.notes.append(
            f"{len(missing)} of {len(anchors)} Slurm jobs are not in its accounts (another cluster's, hidden "
            f"from this user, or older than what is kept): {', '.join(missing[:5])}"
            + (", ..." if len(missing) > 5 else "")
        )


def _find_unknown_heads(
    run: RunPaths, heads: set[str], jobs: Sequence[AccountedJob], requested: set[str], found: Verification
) -> None:
    """Jobs of this run whose names speak of a record that no ledger has."""
    unknown = {job.name: job for job in jobs if job.name[4:20] not in heads}
    for name, job in sorted(unknown.items()):
        found.problems.append(
            f"{run.root}: Slurm's accounts have job {one_line(job.job_id, 20)}, {name}, of this run, but no "
            f"ledger has a record with the hash {name[4:20]}...: a ledger was cut or rewritten"
        )
    for name in sorted(requested - unknown.keys()):
        if name[4:20] not in heads:
            found.notes.append(
                f"{run.spool / 'requests' / name}: no ledger has a record with this hash, but Slurm's "
                "accounts do not vouch for the job, and the spool is no part of the record"
            )


def _ask(*which: str) -> list[AccountedJob]:
    """One question to Slurm's accounts. Raises _NoAnswerError."""
    argv = ["sacct", "--noheader", "--parsable2", "--allocations", "--duplicates"]
    argv += ["--format=JobIDRaw,Submit,JobName,WorkDir", *which]
    environment = slurm_environment() | {"TZ": "UTC"}
    answer = ask(argv, timeout_s=_PATIENCE_S, environment=environment, most_bytes=_MOST_BYTES)
    if not answer.is_answer:
        raise _NoAnswerError(answer.words)
    rows = [line.split("|", 3) for line in answer.stdout.split("\n")]
    return [AccountedJob(row[0], _time(row[1]), row[2], row[3]) for row in rows if len(row) == 4]


def _is_of_then(job: AccountedJob, anchor: Anchor) -> bool:
    since, until = _time(anchor.head.time), _time(anchor.end.time)
    if job.submitted is None or since is None or until is None:
        return False
    return since - _CLOCKS <= job.submitted <= until + _CLOCKS


def _begun(ledgers: Ledgers) -> datetime:
    times = [_time(records[0].time) or _EPOCH for records in ledgers.values() if records]
    return min(times, default=_EPOCH).replace(microsecond=0)  # Slurm's are whole seconds


def _time(text: str) -> datetime | None:
    """A time of a ledger's, or one of Slurm's, which says no zone and was asked for in UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
