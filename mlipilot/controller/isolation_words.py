"""What jobs' isolation left open, in words for logs, status and report: a weak one must be seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mlipilot.audit.ledger import Record
from mlipilot.jobs.measured import few

LOCAL = "jobs run as local processes: files and network of this machine are open to them"


def open_doors(isolation: Mapping[str, Any]) -> Iterator[str]:
    """What the isolation of a job's result leaves open; results of older versions have fewer fields."""
    if isolation.get("filesystem") != "container":
        on_slurm = isolation.get("backend") == "slurm"
        yield (
            "jobs run without a container: files and network of their nodes are open to them"
            if on_slurm
            else LOCAL
        )
        return
    if isolation.get("network") == "host":
        yield "the host's network is open to the code of jobs (jobs.require_no_network: true refuses that)"
    if not isolation.get("measured"):
        yield "what the jobs' containers keep apart was not measured from inside"
    if mounts := isolation.get("mounts"):
        yield f"the jobs' containers show more of the host than they should: {few(mounts)}"
    if variables := isolation.get("variables"):
        yield f"variables of the host reach the jobs' code: {few(variables)}"


def doors_of(records: Iterable[Record]) -> list[str]:
    """Each door that was open to a job of the ledger, once, in order of appearance."""
    ended = [record.body.get("isolation") for record in records if record.kind == "job_finished"]
    return list(dict.fromkeys(door for isolation in ended if isolation for door in open_doors(isolation)))
