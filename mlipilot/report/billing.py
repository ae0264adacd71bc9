"""What a lineage's jobs cost by Slurm's own accounts, as the submitter's extract has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from mlipilot.audit.accounts import AccountedJob, read_extract
from mlipilot.audit.anchors import NAME
from mlipilot.audit.ledger import Record
from mlipilot.campaign.paths import LineagePaths, RunPaths


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
        """Which part of the cores was used, or None where that is not known."""
        return self.used_core_s / self.used_of_core_s if self.used_of_core_s else None

    @property
    def mean_wait_s(self) -> float | None:
        """How long a start waited in the queue, on average."""
        return self.waited_s / self.waits if self.waits else None


@dataclass(frozen=True)
class Billing:
    """The accounts' word on one lineage."""

    time: datetime
    """When Slurm was asked."""
    keeps_accounts: bool
    iterations: dict[int, Billed] = field(default_factory=dict)
    sealed: Billed = Billed()
    controllers: Billed = Billed()
    total: Billed = Billed()
    """Of all these."""
    endpoint: Billed = Billed()
    """Of the model that the run's lineages share: in no lineage's total."""


def load_billing(run: RunPaths, lineage: LineagePaths, records: Iterable[Record]) -> Billing | None:
    """None where no submitter has left an extract, as for jobs that are local processes."""
    extract = read_extract(run)
    if extract is None:
        return None
    heads = {record.hash[:16] for record in records}
    sorted_jobs = list(_sorted(extract.jobs, lineage.number, heads))

    def of(*wanted: str) -> Billed:
        return add_up(job for what, job in sorted_jobs if what in wanted)

    numbers = sorted({what for what, _ in sorted_jobs if what.isdigit()})
    return Billing(
        time=extract.time,
        keeps_accounts=extract.keeps_accounts,
        iterations={int(number): of(number) for number in numbers},
        sealed=of("sealed"),
        controllers=of("controller"),
        total=of(*numbers, "sealed", "controller"),
        endpoint=of("endpoint"),
    )


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
        jobs=len({start.job_id for start in starts}),
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
    """Each job of the lineage under its iteration's number, `sealed`, `controller`; the model as `endpoint`.

    A job's name tells, and that it holds the hash of a record of this ledger, as an earlier run's does not.
    """
    for job in jobs:
        if NAME.fullmatch(job.name) is None:
            task = job.task.partition("_")[2] or "0"  # campaign.sh: a task of the array is a lineage
            if task == str(lineage):
                yield "controller", job
            continue
        what = re.match(r"endpoint\.|l([0-9]+)\.(?:(sealed)\b|([0-9]+))", job.name[21:])
        if what is None:
            continue
        if what[1] is None:
            yield "endpoint", job
        elif what[1] == str(lineage) and job.name[4:20] in heads:
            yield what[2] or str(int(what[3])), job
