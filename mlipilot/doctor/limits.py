"""How many jobs Slurm lets this user have queued or running at a time, beside what a lineage needs."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlipilot.doctor.check import Check, failed, ok, warning
from mlipilot.doctor.site import Site
from mlipilot.jobs.job_settings import JobSettings
from mlipilot.programs import ask, slurm_environment

_OF_ASSOCIATION = ("Account", "DefaultQOS", "QOS", "MaxSubmitJobs", "GrpSubmitJobs", "MaxJobs", "GrpJobs")
_OF_QOS = (
    "Name",
    "MaxSubmitJobsPerUser",
    "MaxSubmitJobsPerAccount",
    "GrpSubmitJobs",
    "MaxJobsPerUser",
    "GrpJobs",
)
_RAISE = "ask the site to raise it, or for a QOS without it (MLIPILOT_QOS)"


@dataclass(frozen=True)
class Limit:
    """So many jobs at a time, `name` of `whose`."""

    whose: str
    name: str
    jobs: int

    @property
    def is_of_submitted(self) -> bool:
        """Whether jobs that wait count, too."""
        return "Submit" in self.name

    @property
    def text(self) -> str:
        """Such as MaxSubmitJobs=4 of user anna."""
        return f"{self.name}={self.jobs} of {self.whose}"


def check_limits(site: Site, jobs: JobSettings) -> Iterator[Check]:
    """Whether a lineage has room: nothing where Slurm keeps no associations, or does not show them."""
    limits = list(_limits(site))
    # A controller, its successor, and each training with the evaluation that is queued behind it.
    per_training = 1 if jobs.chain == "fused" else 2
    at_ease = 2 + per_training * jobs.max_in_flight
    for limit in limits:
        if limit.jobs < 2:
            yield failed(
                "limits",
                f"{limit.text} leaves no place for a job beside the controller of its lineage",
                _RAISE,
            )
        elif limit.is_of_submitted and limit.jobs < at_ease:
            yield warning(
                "limits",
                f"{limit.text}: a lineage at ease has {at_ease} jobs queued (its controller, a successor, "
                f"{per_training * jobs.max_in_flight} of its own). With fewer the successor gives way, and "
                "jobs wait for their submission; `mlipilot status` says so",
                f"begin one lineage at a time, lower jobs.max_in_flight, or {_RAISE}",
            )
    if limits and all(limit.jobs >= at_ease for limit in limits if limit.is_of_submitted):
        tightest = min((limit for limit in limits), key=lambda limit: limit.jobs)
        room = tightest.jobs // at_ease
        if room:
            yield ok("limits", f"{tightest.text}: room for {room} lineages at a time, of {at_ease} jobs each")


def _limits(site: Site) -> Iterator[Limit]:
    asked = _option(site, "account")
    where = ["where", f"user={getpass.getuser()}", *([f"account={asked}"] if asked else [])]
    associations = _ask("assoc", _OF_ASSOCIATION, where)
    qos_names = set()
    for found in associations:
        whose = f"account {found['Account']}"
        yield from _of(found, whose)
        qos_names |= {_option(site, "qos") or found["DefaultQOS"] or found["QOS"].split(",")[0]}
    if associations:
        for found in _ask("qos", _OF_QOS):
            if found["Name"] in qos_names:
                yield from _of(found, f"QOS {found['Name']}")


def _of(found: dict[str, str], whose: str) -> Iterator[Limit]:
    for name, value in found.items():
        if "Jobs" in name and value.isdigit():
            yield Limit(whose, name, int(value))


def _ask(what: str, names: tuple[str, ...], where: Iterable[str] = ()) -> list[dict[str, str]]:
    argv = ["sacctmgr", "--noheader", "--parsable2", "show", what, *where, f"format={','.join(names)}"]
    answer = ask(argv, environment=slurm_environment())
    if not answer.is_answer:
        return []
    rows = (line.split("|") for line in answer.stdout.splitlines())
    return [dict(zip(names, row, strict=True)) for row in rows if len(row) == len(names)]


def _option(site: Site, name: str) -> str:
    given = [word.partition("=")[2] for word in site.options if word.startswith(f"--{name}=")]
    return given[-1] if given else ""
