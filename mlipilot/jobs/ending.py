"""The end of jobs that are not wanted any more: asked of the submitter, and of Slurm itself where it is here.

A controller in its image has none of Slurm's commands; a person who types `mlipilot cancel` on a login node
mostly has them. Only jobs that bear the name of a request of the run are ever touched: Slurm uses numbers
again, names are never used twice.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mlipilot.audit.rights import user_name
from mlipilot.jobs.spool import Spool
from mlipilot.programs import ask, slurm_environment
from mlipilot.untrusted import few, one_line

Tell = Callable[[str], None]
SERVED_S = 90.0
"""How long a submitter may be silent that is believed to serve: cron starts one each minute."""
_AGAIN_S = 15.0  # between two scancels of one job
_TOLD_EVERY_S = 5.0
_MOST_NAMES = 200  # of one command line
_ROW = re.compile(r"([0-9]+)\|([^|]+)\|([A-Z_]+)[^|]*\|(.*)")
# A state that is not among these may be one in which the job goes on.
_OVER = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL"),
    *("OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
}


def silently(_: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class _Job:
    id: str
    name: str
    state: str
    user: str

    @property
    def is_over(self) -> bool:
        return self.state in _OVER

    @property
    def words(self) -> str:
        whose = "" if self.user == user_name() else f", {self.user}'s"
        return f"{self.id} ({self.state}{whose})"


class Ending:
    """The end of the jobs of some requests; `over` grows with each look."""

    def __init__(self, spool: Spool, names: Iterable[str], tell: Tell = silently) -> None:
        """Mark the requests: what is not submitted yet never will be, and a submitter ends the others."""
        self._spool, self._tell = spool, tell
        self.names = list(dict.fromkeys(names))
        self.over: set[str] = set()
        """Names of requests that have no job, by Slurm's own word or because none was ever submitted."""
        self._alive: dict[str, list[_Job]] = {}
        self._refused: set[str] = set()
        self._asked_at: dict[str, float] = {}
        self._begun = self._told_at = time.monotonic()
        for name in self.names:
            spool.ask_to_cancel(name)

    def look(self) -> None:
        """Ask Slurm for the jobs, if that can be done here, and have it end those that go on."""
        wanted = [name for name in self.names if name not in self.over]
        found = _jobs_named(wanted)
        for name in wanted:
            jobs = [job for job in found or () if job.name == name]
            going_on = [job for job in jobs if not job.is_over]
            was_alive = found is not None and self._alive.pop(name, None) is not None
            if going_on:
                self._alive[name] = going_on
            elif jobs or was_alive or self._never_submitted(name) or self._ended_with_its_server(name):
                self.over.add(name)
        self._scancel([job for jobs in self._alive.values() for job in jobs])

    @property
    def is_under_way(self) -> bool:
        """Whether Slurm has been asked here to end a job that goes on."""
        return any(job.id not in self._refused for jobs in self._alive.values() for job in jobs)

    def tell_what_is_waited_for(self) -> None:
        """A line now and then."""
        if time.monotonic() - self._told_at > _TOLD_EVERY_S:
            self._told_at = time.monotonic()
            left, waited_s = self._left(), self._told_at - self._begun
            what = f"{left} to end" if self._alive else f"the submitter to end {left}"
            self._tell(f"waiting for {what} ({waited_s:.0f} s)")

    def what_goes_on(self) -> str:
        """The jobs of which it is not known that they are over, and who can end them; empty where none is."""
        if self.over.issuperset(self.names):
            return ""
        others = {job.user for jobs in self._alive.values() for job in jobs if job.id in self._refused}
        who = f"{' and '.join(sorted(others))} or an operator of Slurm" if others else "you"
        there = "" if self._alive else " on a host with Slurm"
        return (
            f"{self._left()} may go on; a submitter that serves the run ends it\n"
            f"  mend: {who} can do so at once{there}: `{'; '.join(self._commands())}`"
        )

    def _left(self) -> str:
        words = [word for name in self.names if name not in self.over for word in self._words(name)]
        return f"job{'s' if len(words) > 1 else ''} {few(words)}"

    def _words(self, name: str) -> list[str]:
        if jobs := self._alive.get(name):
            return [job.words for job in jobs]
        receipt = self._spool.receipt(name)
        return [receipt.job_id if receipt and receipt.job_id else name]

    def _commands(self) -> list[str]:
        """By number where it is known, else by name, which no other job bears."""
        numbers, names = list[str](), list[str]()
        for name in self.names:
            if name not in self.over:
                receipt = self._spool.receipt(name)
                known = [job.id for job in self._alive.get(name, [])]
                numbers += known or ([self._number(receipt.job_id)] if receipt and receipt.job_id else [])
                names += [] if known or (receipt and receipt.job_id) else [name]
        by_number = [f"scancel {' '.join(dict.fromkeys(numbers))}"] if numbers else []
        return by_number + [f"scancel --name={name}" for name in names]

    def _never_submitted(self, name: str) -> bool:
        receipt = self._spool.receipt(name)
        if receipt is not None:
            return not receipt.submitted
        return not is_served(self._spool) and not self._spool.may_be_submitted(name)

    def _number(self, job_id: str) -> str:
        """What Slurm can end: of a job of HyperQueue's, which only its submitter can, the allocation."""
        return (self._spool.allocation() or job_id) if job_id.startswith("hq-") else job_id

    def _ended_with_its_server(self, name: str) -> bool:
        receipt = self._spool.receipt(name)
        of_hyperqueue = receipt is not None and (receipt.job_id or "").startswith("hq-")
        return of_hyperqueue and self._spool.allocation() is None and not is_served(self._spool)

    def _scancel(self, jobs: list[_Job]) -> None:
        """At once for all that are this user's; for each of another's by itself, which Slurm may refuse."""
        now = time.monotonic()
        due = [job for job in jobs if now - self._asked_at.get(job.id, -_AGAIN_S) >= _AGAIN_S]
        due = [job for job in due if job.state != "COMPLETING" and job.id not in self._refused]
        mine = [job for job in due if job.user == user_name()]
        for together in filter(None, [mine, *([job] for job in due if job not in mine)]):
            self._tell(f"scancel {', '.join(job.words for job in together)}")
            answer = ask(["scancel", *(job.id for job in together)], environment=slurm_environment())
            self._asked_at |= {job.id: now for job in together}
            if not answer.ok:
                self._tell(answer.words)
                self._refused |= {job.id for job in together if job not in mine}


def open_requests(spool: Spool, lineage: int) -> list[str]:
    """The requests of a lineage whose jobs may go on, or are still to come."""
    rows = spool.queue().rows
    names = [n for n in spool.requests_of(lineage) if n not in rows or rows[n].state not in _OVER]
    receipts = {name: spool.receipt(name) for name in names}
    return [name for name, receipt in receipts.items() if receipt is None or receipt.submitted]


def is_served(spool: Spool) -> bool:
    """Whether a submitter has shown itself lately, and has not ended since as far as can be seen here."""
    age_s, owner = spool.heartbeat_age_s(), spool.submitter()
    if age_s is None or age_s >= SERVED_S:
        return False
    is_over = owner is not None and owner.fate(time.time() - age_s).state == "over"
    # A container, which has none of Slurm's commands, does not see the host's processes.
    return not is_over or shutil.which("squeue") is None


def _jobs_named(names: list[str]) -> list[_Job] | None:
    """The jobs of all users that bear these names, those that Slurm still knows to be over among them.

    None where Slurm cannot be asked.
    """
    found: list[_Job] = []
    for first in range(0, len(names), _MOST_NAMES):
        chosen = ",".join(names[first : first + _MOST_NAMES])
        argv = ["squeue", "-h", "-a", "-r", "-t", "all", f"--name={chosen}", "-o", "%A|%j|%T|%u"]
        answer = ask(argv, environment=slurm_environment())
        if not answer.is_answer:
            return None
        rows = [_ROW.fullmatch(line) for line in answer.stdout.splitlines()]
        found += [_Job(row[1], row[2], row[3], one_line(row[4], 40)) for row in rows if row]
    return found
