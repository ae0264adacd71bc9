"""What jobs' isolation left open, in words for logs, status and report: a weak one must be seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mlipilot.audit.events.running import JobFinished
from mlipilot.audit.ledger import Record, of_kind
from mlipilot.audit.surroundings import Isolation
from mlipilot.jobs.job_settings import JobSettings
from mlipilot.jobs.sandbox import are_sandboxed, why_no_sandbox
from mlipilot.untrusted import few

LOCAL = "jobs run as local processes: files and network of this machine are open to them"
SANDBOX = "jobs run in sandboxes of bubblewrap: no network, and of this machine's files what they need"


def of_local_jobs(jobs: JobSettings) -> str:
    """What to say of them when a run begins."""
    if are_sandboxed(jobs):
        return SANDBOX
    return f"warning: {LOCAL} ({'jobs.isolation is none' if jobs.isolation == 'none' else why_no_sandbox()})"


def open_doors(isolation: Isolation) -> Iterator[str]:
    """What the isolation of a job leaves open."""
    if isolation.filesystem == "host":
        on_nodes = "jobs run without a container: files and network of their nodes are open to them"
        yield on_nodes if isolation.backend == "slurm" else LOCAL
        return
    where = "sandboxes" if isolation.filesystem == "sandbox" else "containers"
    if isolation.network == "host":
        yield "the host's network is open to the code of jobs (jobs.require_no_network: true refuses that)"
    if not isolation.measured:
        yield f"what the jobs' {where} keep apart was not measured from inside"
    if isolation.mounts:
        yield f"the jobs' {where} show more of the host than they should: {few(isolation.mounts)}"
    if isolation.variables:
        yield f"variables of the host reach the jobs' code: {few(isolation.variables)}"


def doors_of(records: Iterable[Record]) -> list[str]:
    """Each door that was open to a job of the ledger, once, in order of appearance."""
    ended = [ended.isolation for _, ended in of_kind(records, JobFinished)]
    return list(dict.fromkeys(door for isolation in ended if isolation for door in open_doors(isolation)))
