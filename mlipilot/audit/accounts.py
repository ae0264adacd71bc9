"""What Slurm's accounts say of a run's jobs: asked of Slurm now, or in the extract that the submitter left.

Only Slurm's own answer is out of the reach of whoever owns the run. The extract lies in the run
(`sbatch/submitter_accounts.sh`) and can be rewritten with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from mlipilot.audit.files import read_regular
from mlipilot.programs import ask, slurm_environment

_PATIENCE_S = 120
EXTRACT = "accounts"
MOST_BYTES = 64 * 1024**2  # some 400,000 jobs
_BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}


@dataclass(frozen=True)
class AccountedJob:
    """One start of a job as Slurm's accounts have it; None is what they do not say."""

    job_id: str
    submitted: datetime | None
    name: str
    directory: str
    """Where it was submitted from: the submitter works in the run's directory."""
    task: str = ""
    """The number with which `squeue` shows it: ARRAY_TASK for a task of an array."""
    state: str = ""
    waited_s: float | None = None
    """From when it could have begun, for all that it waited for itself, until it began."""
    elapsed_s: float = 0.0
    billed_core_s: float = 0.0
    billed_gpu_s: float = 0.0
    used_core_s: float | None = None
    memory_bytes: float | None = None
    """What it was given."""
    most_memory_bytes: float | None = None
    """What its processes held at most, all together."""


@dataclass(frozen=True)
class Extract:
    """The accounts as the submitter last had them from Slurm."""

    time: datetime
    keeps_accounts: bool
    jobs: list[AccountedJob] = field(default_factory=list)


class NoAnswerError(Exception):
    """Slurm's accounts cannot be asked; the message says why."""


def ask_accounts(*which: str) -> list[AccountedJob]:
    """One question to Slurm's accounts, which do not tell the cost. Raises NoAnswerError."""
    argv = ["sacct", "--noheader", "--parsable2", "--allocations", "--duplicates"]
    argv += ["--format=JobIDRaw,Submit,JobName,WorkDir", *which]
    environment = slurm_environment() | {"TZ": "UTC"}
    answer = ask(argv, timeout_s=_PATIENCE_S, environment=environment, most_bytes=MOST_BYTES)
    if not answer.is_answer:
        raise NoAnswerError(answer.words)
    rows = [line.split("|", 3) for line in answer.stdout.split("\n")]
    return [AccountedJob(row[0], slurm_time(row[1]), row[2], row[3]) for row in rows if len(row) == 4]


def this_cluster() -> str | None:
    """The cluster whose accounts are asked here; None where that cannot be known."""
    config = ask(["scontrol", "show", "config"], environment=slurm_environment())
    return cluster_in(config.stdout)


def cluster_in(config: str) -> str | None:
    """The cluster's name in what `scontrol show config` prints."""
    told = re.search(r"^ClusterName\s*=\s*(\S+)", config, re.MULTILINE)
    return told[1] if told else None


def extract_in(spool: Path) -> Extract | None:
    """What a run's submitter left in its spool; None where there is nothing of the kind."""
    try:
        text = read_regular(spool / EXTRACT, MOST_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return None
    head, *lines = text.split("\n")
    told = re.fullmatch(r"time=([0-9]{1,12}) begun=[0-9]{1,12} accounting=([01])", head)
    if told is None:
        return None
    names = lines[0].split("|") if lines else []
    rows = (line.split("|", len(names) - 1) for line in lines[1:])
    named = (dict(zip(names, row, strict=True)) for row in rows if len(row) == len(names))
    return Extract(datetime.fromtimestamp(int(told[1]), UTC), told[2] == "1", list(_jobs(named)))


def _jobs(rows: Iterable[Mapping[str, str]]) -> Iterator[AccountedJob]:
    """The starts of jobs, each with what the row of its batch step says of it; what is no row is left out."""
    start: Mapping[str, str] | None = None
    batch: Mapping[str, str] = {}
    for row in rows:
        number = row.get("JobIDRaw", "")
        if re.fullmatch(r"[0-9]{1,10}", number):
            if start is not None:
                yield _job(start, batch)
            start, batch = row, {}
        elif start is not None and number == f"{start['JobIDRaw']}.batch":
            batch = row
    if start is not None:
        yield _job(start, batch)


def _job(row: Mapping[str, str], batch: Mapping[str, str]) -> AccountedJob:
    given = dict(word.partition("=")[::2] for word in row.get("AllocTRES", "").split(","))
    submitted, began = slurm_time(row.get("Submit", "")), slurm_time(row.get("Start", ""))
    since = slurm_time(row.get("Eligible", "")) or submitted
    # A job that ended in the queue is given nothing, and some Slurms tell its end as its start.
    waited = began - since if began and since and given.get("cpu") else None
    elapsed_s = _number(row.get("ElapsedRaw", ""))
    return AccountedJob(
        job_id=row["JobIDRaw"],
        submitted=submitted,
        name=row.get("JobName", ""),
        directory=row.get("WorkDir", ""),
        task=row.get("JobID", ""),
        state=row.get("State", "").partition(" ")[0],
        waited_s=max(0.0, waited.total_seconds()) if waited is not None else None,
        elapsed_s=elapsed_s,
        billed_core_s=_number(row.get("CPUTimeRAW", "")),
        billed_gpu_s=elapsed_s * _gpus(given),
        used_core_s=_seconds(batch.get("TotalCPU", "")),
        memory_bytes=_bytes(given.get("mem", "")),
        most_memory_bytes=_bytes(batch.get("MaxRSS", "")),
    )


def _gpus(given: Mapping[str, str]) -> float:
    """GPUs of any type; where Slurm counts types only, the sum of these."""
    of_types = sum(_number(count) for name, count in given.items() if name.startswith("gres/gpu:"))
    return _number(given["gres/gpu"]) if "gres/gpu" in given else of_types


def slurm_time(text: str) -> datetime | None:
    """A time of a ledger's, or one of Slurm's, which says no zone and was asked for in UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _number(text: str) -> float:
    return float(text) if re.fullmatch(r"[0-9]{1,15}", text) else 0.0


def _seconds(text: str) -> float | None:
    """`[DAYS-[HOURS:]]MINUTES:SECONDS[.FRACTION]`."""
    match = re.fullmatch(r"(?:(?:([0-9]+)-)?([0-9]+):)?([0-9]+):([0-9]+(?:\.[0-9]+)?)", text)
    if match is None:
        return None
    days, hours, minutes = (int(part or 0) for part in match.groups()[:3])
    return ((days * 24 + hours) * 60 + minutes) * 60 + float(match[4])


def _bytes(text: str) -> float | None:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([KMGTP]?)", text)
    return float(match[1]) * _BYTES[match[2]] if match else None
