"""What a lineage's jobs cost by Slurm's own accounts, as the submitter's extract has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from mlipilot.audit.accounts import EXTRACT, AccountedJob
from mlipilot.audit.evidence import NAME, extracts
from mlipilot.audit.ledger import Record
from mlipilot.paths import LineagePaths, RunPaths


@dataclass(frozen=True)
class Billed:
    """The sum over some jobs, each start of a job that was requeued counted."""

    jobs: int = 0
    starts: int = 0
    core_s: float = 0.0
    """Cores that were given, whether they were used or not, times seconds."""
    gpu_s: float = 0.0
    used_core_s: float = 0.0
    used_of_core_s: float = 0.0
    """What of `core_s` is of starts whose use is known."""
    waited_s: float = 0.0
    waits: int = 0
    memory_fraction: float | None = None
    """The largest part of its memory that one start has used; None where Slurm does not measure it."""

    @property
    def core_fraction(self) -> float | None:
        """Which part of the cores was used, 0 to 1, or None where that is not known."""
        return self.used_core_s / self.used_of_core_s if self.used_of_core_s else None

    @property
    def mean_wait_s(self) -> float | None:
        """How long a start waited in the queue in seconds, on average; None where no start tells it."""
        return self.waited_s / self.waits if self.waits else None


@dataclass(frozen=True)
class Billing:
    """The accounts' word on one lineage."""

    time: datetime
    """When Slurm was asked; of several clusters, the earliest."""
    keeps_accounts: bool
    iterations: dict[int, Billed] = field(default_factory=dict)
    confirmation: Billed = Billed()
    sealed: Billed = Billed()
    controllers: Billed = Billed()
    total: Billed = Billed()
    """Of all these."""
    endpoint: Billed = Billed()
    """Of the model that the run's lineages share: in no lineage's total."""
    files: list[str] = field(default_factory=list)
    """The extracts, seen from the run: one for each cluster that had jobs of the lineage."""


def load_billing(run: RunPaths, lineage: LineagePaths, records: Iterable[Record]) -> Billing | None:
    """None where no submitter has left an extract, as for jobs that are local processes."""
    found = extracts(run)
    heads = {record.hash[:16] for record in records}
    jobs = {spool: list(_sorted(extract.jobs, lineage.number, heads)) for spool, extract in found.items()}
    if len(found) > 1:  # a controller's number means something only where the lineage was carried
        carried = {spool: of_one for spool, of_one in jobs.items() if any(map(_is_own, of_one))}
        jobs = carried or {spool: of_one for spool, of_one in jobs.items() if spool == run.spool}
    if not jobs:
        return None
    sorted_jobs = list(_each_once(jobs.values()))

    def of(*wanted: str) -> Billed:
        return add_up(job for what, job in sorted_jobs if what in wanted)

    numbers = sorted({what for what, _ in sorted_jobs if what.isdigit()})
    return Billing(
        time=min(found[spool].time for spool in jobs),
        keeps_accounts=any(found[spool].keeps_accounts for spool in jobs),
        files=[str((spool / EXTRACT).relative_to(run.root)) for spool in jobs],
        iterations={int(number): of(number) for number in numbers},
        confirmation=of("confirm"),
        sealed=of("sealed"),
        controllers=of("controller"),
        total=of(*numbers, "confirm", "sealed", "controller"),
        endpoint=of("endpoint"),
    )


def _is_own(job: tuple[str, AccountedJob]) -> bool:
    """Whether the job's name holds the hash of a record of the lineage."""
    return job[0] not in ("controller", "endpoint")


def _each_once(extracts: Iterable[list[tuple[str, AccountedJob]]]) -> Iterator[tuple[str, AccountedJob]]:
    """All starts of jobs; one that a later extract has once more is left out there."""
    earlier: set[tuple[object, ...]] = set()
    for jobs in extracts:
        known = set(earlier)
        for what, job in jobs:
            same = (job.job_id, job.name, job.submitted)
            earlier.add(same)
            if same not in known:
                yield what, job


def add_up(jobs: Iterable[AccountedJob]) -> Billed:
    """The sum over starts of jobs."""
    starts = list(jobs)
    used = [(start.used_core_s, start.billed_core_s) for start in starts if start.used_core_s is not None]
    waits = [start.waited_s for start in starts if start.waited_s is not None]
    fractions = [
        start.most_memory_bytes / start.memory_bytes
        for start in starts
        if start.most_memory_bytes and start.memory_bytes
    ]
    return Billed(
        jobs=len({(start.job_id, start.name) for start in starts}),
        starts=len(starts),
        core_s=sum(start.billed_core_s for start in starts),
        gpu_s=sum(start.billed_gpu_s for start in starts),
        used_core_s=sum(seconds for seconds, _ in used),
        used_of_core_s=sum(seconds for _, seconds in used),
        waited_s=sum(waits),
        waits=len(waits),
        memory_fraction=max(fractions, default=None),
    )


def _sorted(
    jobs: Iterable[AccountedJob], lineage: int, heads: set[str]
) -> Iterator[tuple[str, AccountedJob]]:
    """Each job of the lineage under its iteration's number, `confirm`, `sealed`, `controller`; or `endpoint`.

    A job's name tells, and that it holds the hash of a record of this ledger, as an earlier run's does not.
    """
    for job in jobs:
        if NAME.fullmatch(job.name) is None:
            task = job.task.partition("_")[2] or "0"  # campaign.sh: a task of the array is a lineage
            if task == str(lineage):
                yield "controller", job
            continue
        what = re.match(r"endpoint\.|l([0-9]+)\.(?:(confirm|sealed)\b|([0-9]+))", job.name[21:])
        if what is None:
            continue
        if what[1] is None:
            yield "endpoint", job
        elif what[1] == str(lineage) and job.name[4:20] in heads:
            yield what[2] or str(int(what[3])), job
