"""Anchors: the names of a run's Slurm jobs, which Slurm's accounts keep out of its owner's reach.

A job's name begins with `mlp-` and the first 16 hexadecimal digits of the ledger's head at its submission. A
ledger that was cut or rewritten from before that submission on lacks the record that the name speaks of. No
name speaks of what was written after the last submission.

Slurm itself is asked first. What it does not say is compared with the submitter's extract of its accounts,
which lies in the run, so that its word is less: a note says of how many names.

The lineages of a run may be of several clusters, which count their jobs each for itself: a number means
something only together with the cluster whose controller was given it, as its ledger says.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mlipilot.audit.accounts import (
    EXTRACT,
    AccountedJob,
    NoAnswerError,
    ask_accounts,
    slurm_time,
    this_cluster,
)
from mlipilot.audit.clocks import CLOCKS
from mlipilot.audit.events.running import CampaignStarted, JobFinished
from mlipilot.audit.evidence import NAME as NAME
from mlipilot.audit.evidence import extracts, requested_names, spools
from mlipilot.audit.ledger import LedgerError, Record, of_kind, read_ledger
from mlipilot.audit.places import clusters_by_record
from mlipilot.audit.verification_result import Verification
from mlipilot.paths import LineagePaths, RunPaths
from mlipilot.untrusted import few, one_line

_NUMBER = re.compile(r"[0-9]{1,10}")
# HyperQueue's, within a Slurm job: sbatch/engine_hq.sh. The point parts one server there from the next.
_OF_HYPERQUEUE = re.compile(r"hq-([0-9]{1,10})(\.[0-9]{1,3})?-[0-9]{1,10}")
_SLURM, _EXTRACT = "Slurm's accounts", "the submitter's extracts of Slurm's accounts"
_EPOCH = datetime.fromtimestamp(0, UTC)

Ledgers = Mapping[LineagePaths, Sequence[Record]]


@dataclass(frozen=True, eq=False)
class Anchor:
    """A job that the ledger says is over; it was submitted after `head` and before `end`."""

    lineage: LineagePaths
    job_id: str
    name: str
    head: Record
    end: Record
    cluster: str | None = None
    """Whose number it is, as far as the ledger says it."""

    @property
    def allocation(self) -> str:
        """The Slurm job within which HyperQueue first had the job; empty of a job of Slurm's own."""
        match = _OF_HYPERQUEUE.fullmatch(self.job_id)
        return match[1] if match else ""


def verify_anchors(run: RunPaths, found: Verification) -> None:
    """Compare the names of a run's Slurm jobs with its ledgers, and both with Slurm's accounts."""
    try:
        ledgers = _ledgers(run)
        anchors = [a for lineage, records in ledgers.items() for a in _anchors(lineage, records, found)]
        # Seeds of a candidate share a job: the first end is the bound.
        anchors = list({(a.cluster, a.job_id, a.name): a for a in reversed(anchors)}.values())[::-1]
        found.anchors = len(anchors)
        found.notes += _without_witness([a for a in anchors if a.allocation])
        anchors = [a for a in anchors if not a.allocation]
        requested = {name for spool in spools(run) for name in requested_names(spool)}
        begins = (event for records in ledgers.values() for _, event in of_kind(records, CampaignStarted))
        if anchors or requested or any(started.backend == "slurm" for started in begins):
            begun = _begun(ledgers)
            listed = _compare_with_accounts(run, begun, anchors, found)
            ours = {
                witness: [job for job in jobs if job.name in requested or _is_of(run, begun, job)]
                for witness, jobs in zip((_SLURM, _EXTRACT), listed, strict=True)
            }
            # Read again: a controller may have submitted jobs while Slurm was asked.
            heads = {record.hash[:16] for records in _ledgers(run).values() for record in records}
            _find_unknown_heads(run, heads, ours, requested, found)
        elif any(ledgers.values()):
            found.notes.append(
                "the jobs were local processes: no accounts bear witness to the ledger; that it was cut at a "
                "record's end, or rewritten, would show only against a seal"
            )
    except LedgerError:
        return  # the chain's own check names it


def _ledgers(run: RunPaths) -> Ledgers:
    return {lineage: read_ledger(lineage.ledger) for lineage in run.lineages()}


def _anchors(lineage: LineagePaths, records: Sequence[Record], found: Verification) -> Iterator[Anchor]:
    """What the ledger says of its jobs; a name that holds the hash of no earlier record is a problem."""
    earlier: dict[str, Record] = {}
    clusters = clusters_by_record(records)
    for record in records:
        if isinstance(record.event, JobFinished) and record.event.job_id is not None:
            job_id, name = record.event.job_id, str(record.event.job_name)
            match = NAME.fullmatch(name)
            head = earlier.get(match[1]) if match else None
            if head is not None and (_NUMBER.fullmatch(job_id) or _OF_HYPERQUEUE.fullmatch(job_id)):
                yield Anchor(lineage, job_id, name, head, record, clusters[head.seq])
            else:
                whose = "HyperQueue's" if job_id.startswith("hq-") else "Slurm's"
                found.problems.append(
                    f"{lineage.ledger}:{record.seq + 1}: the name of {whose} job "
                    f"{one_line(job_id, 20)}, {one_line(name, 120)}, holds the hash of no record "
                    "before its end"
                )
        earlier[record.hash[:16]] = record


def _without_witness(anchors: Sequence[Anchor]) -> Iterator[str]:
    """Of HyperQueue's jobs the names are in the ledger and in the spool, which have one owner."""
    if anchors:
        allocations = sorted({anchor.allocation for anchor in anchors}, key=int)
        yield (
            f"{len(anchors)} jobs were HyperQueue's, within the Slurm jobs {few(allocations)}: their names "
            "were compared with the ledger alone, for Slurm's accounts know such allocations, not what ran "
            "there"
        )


def _compare_with_accounts(
    run: RunPaths, begun: datetime, anchors: Sequence[Anchor], found: Verification
) -> tuple[list[AccountedJob], list[AccountedJob]]:
    """Look up each anchor by its number.

    Returns the jobs of all who carried the run since it began, by Slurm's own word and by the extracts'.
    """
    listed: list[AccountedJob] = []
    missing, silence = list(anchors), ""
    here = this_cluster() if any(anchor.cluster for anchor in anchors) else None
    ours = [a for a in anchors if here is None or a.cluster in (None, here)]
    try:
        known = ask_accounts(f"--jobs={','.join(sorted({a.job_id for a in ours}))}") if ours else []
        owners = ",".join(map(str, _owners(run)))
        listed = ask_accounts(f"--uid={owners}", f"--starttime={begun:%Y-%m-%dT%H:%M:%S}")
        reached = ours if here else _within_reach(ours, anchors, known)
        found.witnessed, missing = _compare(anchors, reached, known, _SLURM, found)
    except NoAnswerError as reason:
        silence = str(reason)
    written = {spool: extract for spool, extract in extracts(run).items() if extract.jobs}
    for spool, extract in written.items():
        untold = missing
        agreed, missing = _compare(
            untold, _within_reach(untold, anchors, extract.jobs), extract.jobs, _EXTRACT, found
        )
        found.extracted += agreed
        if untold and (agreed or spool == run.spool):
            why = silence or "its accounts do not have them any more, or hide them"
            found.notes.append(
                f"{agreed} of {len(untold)} names that Slurm itself did not tell now ({why}) are in "
                f"the extract of its accounts that the submitter made at {extract.time:%Y-%m-%d %H:%M} UTC, "
                f"{spool / EXTRACT}: whoever can rewrite the ledger can rewrite that, too"
            )
    found.notes += _on_the_ledger_alone(anchors, missing, silence, here) if missing or not written else []
    return listed, [job for extract in written.values() for job in extract.jobs]


def _within_reach(
    anchors: Sequence[Anchor], everyone: Sequence[Anchor], jobs: Sequence[AccountedJob]
) -> Sequence[Anchor]:
    """Those of `anchors` whose numbers mean something in one cluster's accounts, which its names show."""
    if len({anchor.cluster for anchor in everyone}) < 2:
        return anchors
    named = {(job.job_id, job.name) for job in jobs}
    clusters = {anchor.cluster for anchor in everyone if (anchor.job_id, anchor.name) in named}
    return [anchor for anchor in anchors if anchor.cluster in clusters]


def _on_the_ledger_alone(
    anchors: Sequence[Anchor], missing: Sequence[Anchor], silence: str, here: str | None
) -> Iterator[str]:
    if silence:
        yield (
            f"the names of {len(missing)} Slurm jobs were compared with the ledger alone: {silence}; only "
            "Slurm's accounts can show that a ledger was cut at a record's end or rewritten"
        )
        return
    elsewhere = [one_line(a.cluster, 60) for a in missing if here and a.cluster and a.cluster != here]
    for name, number in sorted(Counter(elsewhere).items()):
        yield (
            f"{number} of {len(anchors)} Slurm jobs are of cluster {name}, and these are the accounts of "
            f"{here}: only {name}'s can confirm them; `mlipilot verify` there asks them"
        )
    rest = [anchor for anchor in missing if not here or anchor.cluster in (None, here)]
    if rest:
        yield (
            f"{len(rest)} of {len(anchors)} Slurm jobs are not in its accounts (another cluster's, hidden "
            f"from this user, or older than what is kept): {few([a.job_id for a in rest])}"
        )


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


def _compare(
    anchors: Sequence[Anchor],
    within_reach: Sequence[Anchor],
    jobs: Iterable[AccountedJob],
    witness: str,
    found: Verification,
) -> tuple[int, list[Anchor]]:
    """How many names `witness` agrees on, and those that it does not know or that are not `within_reach`.

    Numbers are used again one day: only number, name and time together tell a job.
    """
    by_number: dict[str, list[AccountedJob]] = {}
    for job in jobs:
        by_number.setdefault(job.job_id, []).append(job)
    agreed, missing = 0, []
    last: dict[LineagePaths, int] = {}
    reached = set(within_reach)
    for anchor in anchors:
        if anchor not in reached:
            missing.append(anchor)
            continue
        same_number = by_number.get(anchor.job_id, [])
        others = [job.name for job in same_number if _is_of_then(job, anchor)]
        if any(job.name == anchor.name for job in same_number):
            agreed += 1
            last[anchor.lineage] = max(anchor.head.seq, last.get(anchor.lineage, 0))
        elif others:
            found.problems.append(
                f"{anchor.lineage.ledger}:{anchor.end.seq + 1}: {witness} say that job {anchor.job_id} was "
                f"named {one_line(others[0], 120)}, the ledger {anchor.name}: it was rewritten"
            )
        else:
            missing.append(anchor)
    for lineage, seq in last.items():
        found.notes.append(f"{lineage.ledger}: {witness} bear witness to it up to line {seq + 1}")
    return agreed, missing


def _find_unknown_heads(
    run: RunPaths,
    heads: set[str],
    by_witness: Mapping[str, Sequence[AccountedJob]],
    requested: set[str],
    found: Verification,
) -> None:
    """Jobs of this run whose names speak of a record that no ledger has."""
    unknown: set[str] = set()
    for witness, jobs in by_witness.items():
        of_witness = {job.name: job for job in jobs if job.name[4:20] not in heads}
        for name in sorted(of_witness.keys() - unknown):
            found.problems.append(
                f"{run.root}: {witness} have job {one_line(of_witness[name].job_id, 20)}, {name}, of this "
                f"run, but no ledger has a record with hash {name[4:20]}...: a ledger was cut or rewritten"
            )
        unknown |= of_witness.keys()
    for name in sorted(requested - unknown):
        if name[4:20] not in heads:
            found.notes.append(
                f"{run.spool}, request {name}: no ledger has a record with this hash, but Slurm's "
                "accounts do not vouch for the job, and the spool is no part of the record"
            )


def _is_of_then(job: AccountedJob, anchor: Anchor) -> bool:
    since, until = slurm_time(anchor.head.time), slurm_time(anchor.end.time)
    if job.submitted is None or since is None or until is None:
        return False
    return since - CLOCKS <= job.submitted <= until + CLOCKS


def _begun(ledgers: Ledgers) -> datetime:
    times = [slurm_time(records[0].time) or _EPOCH for records in ledgers.values() if records]
    return min(times, default=_EPOCH).replace(microsecond=0)  # Slurm's are whole seconds
