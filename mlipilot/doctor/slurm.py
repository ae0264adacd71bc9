"""Slurm: does it answer, where would jobs go, does it keep accounts, may this node submit."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

from mlipilot.doctor.check import Check, failed, ok, warning
from mlipilot.doctor.limits import check_limits
from mlipilot.doctor.site import Site, how_to_get
from mlipilot.jobs.job_settings import JobSettings
from mlipilot.jobs.requests import resources_by_template
from mlipilot.nearness import near
from mlipilot.programs import ask, slurm_environment

_MENDS = {
    # Slurm speaks of an "account/partition combination": the account comes first.
    r"account": "set MLIPILOT_ACCOUNT to one that `sacctmgr show associations user=$USER` lists",
    r"partition": "set MLIPILOT_GPU_PARTITION to one that `sinfo` lists for you",
    r"qos": "set MLIPILOT_QOS to one that `sacctmgr show associations user=$USER` lists",
    r"gres": "set MLIPILOT_GPU_GRES to a name that `sinfo -o '%P %G'` shows, such as gpu or gpu:a100",
    r"node configuration": (
        "no node there is so large: lower jobs.resources or jobs.pack, or set MLIPILOT_GPU_PARTITION"
    ),
    r"time limit": "lower jobs.train_wall_limit_s and jobs.evaluate_wall_limit_s, or take another partition",
    r"permission|denied|not allowed|not permitted": (
        "where this node may not submit, set MLIPILOT_SUBMIT=login in the campaign's sbatch file, and run "
        "`sbatch/submitter.sh --once RUN` on a login node, from cron"
    ),
}

_LISTED = "%P|%G|%a|%D|%h|%c"  # name, gres, state, nodes, how nodes are shared, cores of a node


@dataclass
class Partition:
    """One partition as `sinfo` shows it."""

    name: str
    is_default: bool
    is_up: bool
    nodes: int = 0
    gres: list[str] = field(default_factory=list)
    whole_cores: int = 0
    """The fewest cores that a job is given where it gets whole nodes; 0 where it gets what it asks for."""

    def holds(self, wanted: str, count: int) -> bool:
        """Whether a node of it has `count` of a gres such as `gpu` or `gpu:a100`."""
        name, _, kind = wanted.partition(":")
        for entry in self.gres:
            parts = entry.split(":")
            has = int(parts[-1]) if parts[-1].isdigit() else 1
            kinds = [part for part in parts[1:] if not part.isdigit()]
            if parts[0] == name and (not kind or kind in kinds) and has >= count:
                return True
        return False


@dataclass(frozen=True)
class Wanted:
    """What the campaign's jobs of one kind ask for."""

    asked: tuple[tuple[str, int], ...]
    options: tuple[str, ...]

    @property
    def partition(self) -> str:
        """Where they go; empty for the cluster's default. Of several mentions the last one counts."""
        given = re.findall(r"(?:^|\s)(?:--partition[=\s]|-p\s*)(\S+)", " ".join(self.options))
        return str(given[-1]) if given else ""


def check_slurm(site: Site, jobs: JobSettings | None) -> Iterator[Check]:
    """Everything about Slurm; one failed line and no more where it does not answer."""
    version = ask(["sinfo", "--version"], environment=slurm_environment())
    if version.is_missing:
        yield failed("slurm", version.words, how_to_get("Slurm", site))
        return
    listing = ask(["sinfo", "--noheader", f"--format={_LISTED}"], environment=slurm_environment())
    number = version.stdout.split()[-1] if version.ok and version.stdout.split() else "installed"
    if not listing.ok:
        mend = "`sinfo` must answer on this node: SLURM_CONF, slurmctld, munge; ask the site where it does"
        yield failed("slurm", f"{number}, but does not answer: {listing.words}", mend)
        return
    partitions = parse_partitions(listing.stdout)
    yield ok("slurm", f"{number}, answers; partitions for you: {', '.join(p.name for p in partitions)}")
    asked = jobs or JobSettings()
    wanted = wanted_by(asked, site)
    for name in dict.fromkeys(job.partition for job in wanted):
        yield _check_partition(partitions, name, site, asked.resources.gpus)
        yield from _check_whole_nodes(partitions, name, asked)
    accounting = _check_accounting()
    yield accounting
    if accounting.status == "ok":
        yield from check_limits(site, asked)
    for job in wanted:
        yield _check_submit(job, site)


def wanted_by(jobs: JobSettings, site: Site) -> list[Wanted]:
    """The campaign's jobs as the submitter would ask for them, each kind once."""
    found = [
        Wanted(tuple(asked.items()), tuple(site.sbatch_options(template, asked)))
        for template, asked in resources_by_template(jobs).items()
    ]
    return list(dict.fromkeys(found))


def parse_partitions(listing: str) -> list[Partition]:
    """The partitions by `sinfo --format` as above, which has a line for each kind of node."""
    found: dict[str, Partition] = {}
    for line in listing.splitlines():
        if line.count("|") != 5:
            continue
        name, gres, state, nodes, shared, cores = (part.strip() for part in line.split("|"))
        plain = name.rstrip("*")
        partition = found.setdefault(plain, Partition(plain, name.endswith("*"), state == "up"))
        partition.nodes += int(nodes) if nodes.isdigit() else 0
        if shared.startswith("EXCLUSIVE") and (least := re.match("[0-9]+", cores)):
            partition.whole_cores = min(int(least[0]), partition.whole_cores or int(least[0]))
        # gpu:a100:4(S:0,1): the sockets are of no interest, and hold commas.
        partition.gres += [entry for entry in re.sub(r"\([^)]*\)", "", gres).split(",") if entry]
    return list(found.values())


def _check_partition(partitions: list[Partition], wanted: str, site: Site, gpus: int) -> Check:
    known = {partition.name: partition for partition in partitions}
    names = ", ".join(known) or "none"
    missing = [name for name in wanted.split(",") if name and name not in known]
    if missing:
        perhaps = "".join(f"; perhaps {name}" for name in near(missing[0], known))
        mend = f"set MLIPILOT_GPU_PARTITION to one of: {names}{perhaps}"
        return failed("partition", f"there is no partition {missing[0]!r} for you", mend)
    chosen = [p for p in partitions if (p.name in wanted.split(",") if wanted else p.is_default)]
    if not chosen:
        mend = f"set MLIPILOT_GPU_PARTITION to one of: {names}"
        return failed("partition", "the cluster has no default partition", mend)
    where = "; ".join(f"{p.name} (nodes: {p.nodes}, gres: {', '.join(p.gres) or 'none'})" for p in chosen)
    if not any(partition.is_up for partition in chosen):
        mend = f"wait for it, or set MLIPILOT_GPU_PARTITION to another one of: {names}"
        return failed("partition", f"not up: {where}", mend)
    gres = "gpu" if site.gres.startswith("--") else site.gres
    if gpus and not any(partition.holds(gres, gpus) for partition in chosen):
        able = ", ".join(p.name for p in partitions if p.holds(gres, gpus))
        mend = f"lower jobs.resources.gpus, or {_MENDS['gres']}"
        mend = f"set MLIPILOT_GPU_PARTITION to one of: {able}" if able else mend
        return failed("partition", f"no node with {gres}:{gpus} in {where}", mend)
    return ok("partition", f"jobs go to {where}")


def _check_whole_nodes(partitions: list[Partition], wanted: str, jobs: JobSettings) -> Iterator[Check]:
    """Whether most of a node that a job is given whole would stand idle."""
    used = jobs.pack * jobs.resources.cpus
    for partition in partitions:
        chosen = partition.name in wanted.split(",") if wanted else partition.is_default
        if chosen and not jobs.resources.gpus and partition.whole_cores >= 2 * used:
            yield warning(
                "nodes",
                f"partition {partition.name} gives whole nodes, of {partition.whole_cores} cores and more, "
                f"and a job of this campaign uses {used}",
                "take a partition whose nodes are shared, or have one allocation run the jobs of all "
                "lineages: MLIPILOT_ENGINE=hq",
            )


def _check_accounting() -> Check:
    # A name that no job has keeps the answer short.
    argv = ["sacct", "--noheader", "--allocations", "--name=mlipilot-doctor"]
    answer = ask(argv, environment=slurm_environment())
    if answer.ok:
        return ok("accounting", "sacct answers")
    if answer.hung:
        return failed("accounting", answer.words, "sacct has to answer, or to fail: ask the site")
    is_off = "accounting storage is disabled" in answer.words.lower()
    said = "Slurm keeps no accounts" if is_off else answer.words
    return warning(
        "accounting",
        f"{said}: what became of a job that has left the queue is known from its own files alone, and "
        "`verify` cannot compare job names with Slurm's",
        "nothing has to be done; with slurmdbd a lost submission is found sooner (ask the site)",
    )


def _check_submit(job: Wanted, site: Site) -> Check:
    """What submitter and Slurm would say to such a job; nothing is submitted."""
    shown = " ".join(job.options)
    for name, value in job.asked:
        if value > site.most[name]:
            variable = f"MLIPILOT_MAX_{name.upper()}"
            mend = f"export {variable}={value} for the submitter, or ask for less under jobs:"
            return failed("submit", f"{name}={value} is over {variable} ({site.most[name]})", mend)
    argv = ["sbatch", "--test-only", "--export=NONE", "--output=/dev/null", *job.options]
    answer = ask(argv, stdin="#!/bin/sh\ntrue\n", timeout_s=60, environment=slurm_environment())
    node = socket.gethostname()
    if answer.ok:
        start = re.search(r"to start at (\S+)", answer.stderr + answer.stdout)
        when = f", and could start at {start[1]}" if start else ""
        return ok("submit", f"{node} may submit; a job with {shown} is accepted{when}")
    if answer.status is None:
        return failed("submit", answer.words, "sbatch has to answer on this node: try it by hand")
    by_hand = f"try by hand: {' '.join(argv)} FILE"
    mend = next((m for w, m in _MENDS.items() if re.search(w, answer.words, re.IGNORECASE)), by_hand)
    return failed("submit", f"on {node}, a job with {shown} is refused: {answer.words}", mend)
