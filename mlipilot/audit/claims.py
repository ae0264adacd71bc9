"""Who carries a lineage: one file a claim in the lineage's `controller/`, numbered by epoch.

Of any controllers, on any hosts, exactly one publishes the next number; a number is never used again, and
the highest one is in force. A controller that lets go empties its file. Each file has one writer.
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from mlipilot.audit.files import publish_new
from mlipilot.audit.process_identity import Fate, ProcessIdentity
from mlipilot.errors import InputError
from mlipilot.untrusted import one_line

LOCK = "lock"
_NAME = re.compile(r"([0-9]{6,})\.json")


class Job(BaseModel, extra="forbid", frozen=True):
    """A Slurm job that runs a controller."""

    id: str = Field(pattern="^[0-9]+(_[0-9]+)?$", description="ARRAY_TASK for a task of an array")
    restarts: int = Field(default=0, ge=0, description="how often Slurm had started it again")
    cluster: str | None = None

    def is_later_start_of(self, other: Job) -> bool:
        """Whether Slurm has started that very job again as this one, so that the earlier start is over."""
        return (self.id, self.cluster) == (other.id, other.cluster) and self.restarts > other.restarts


class Claim(BaseModel, extra="forbid", frozen=True):
    """One controller's claim on a lineage."""

    epoch: int
    since: AwareDatetime
    host: str
    boot_id: str
    pid: int
    start_ticks: int
    pid_namespace: int = Field(description="where `pid` means something: a container has its own")
    job: Job | None
    user: str | None = None

    @property
    def process(self) -> ProcessIdentity:
        """The claimant, as its own pid namespace knows it."""
        return ProcessIdentity(self.pid, self.start_ticks, self.boot_id, self.host)

    @property
    def fate(self) -> Fate:
        """What can be seen of it from here, without its lock and without Slurm."""
        return self.process.fate(self.since.timestamp(), self.pid_namespace)

    @property
    def words(self) -> str:
        """For people."""
        owner = f", of {self.user}," if self.user else ""
        job = f"{'' if owner else ','} Slurm job {self.job.id}," if self.job else ""
        return one_line(f"process {self.pid} on {self.host}{owner}{job} since {self.since.isoformat()}")


def is_control_file(name: str) -> bool:
    """Whether a file of this name in `controller/` is the lock, a claim, or one that a kill left behind."""
    return name == LOCK or re.fullmatch(rf"{_NAME.pattern}|\.{_NAME.pattern}\..*", name) is not None


def newest_epoch(folder: Path) -> int:
    """The highest epoch that was ever claimed; 0 before the first.

    It lists the folder: a client of a file server may go on believing that a single name is not there.
    """
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return 0
    return max((int(match[1]) for name in names if (match := _NAME.fullmatch(name))), default=0)


def claim_file(folder: Path, epoch: int) -> Path:
    """Where the claim of that epoch is or would be."""
    return folder / f"{epoch:06d}.json"


def claim_in_force(folder: Path) -> tuple[int, Claim | None]:
    """The newest epoch, 0 before the first, and whose it is. Raises InputError for what is no claim."""
    epoch = newest_epoch(folder)
    path = claim_file(folder, epoch)
    text = path.read_text(encoding="utf-8", errors="replace") if epoch else ""
    if not text.strip():
        return epoch, None
    try:
        return epoch, Claim.model_validate_json(text)
    except ValidationError:
        mend = f"if no controller carries this lineage, empty the file: `truncate -s 0 {path}`"
        raise InputError("this is no claim of a controller", file=path, mend=mend) from None


def publish_claim(folder: Path, epoch: int, claim: Claim | None) -> bool:
    """Put `claim` (None: nobody's) in force as `epoch`; False when another was quicker. Raises OSError."""
    return publish_new(claim_file(folder, epoch), claim.model_dump_json(indent=2) + "\n" if claim else "")
