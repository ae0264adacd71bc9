"""What one attempt of a job is told (`job.json`) and what it says when it is over (`result.json`).

An attempt's directory: `job.json`, `worker.json` (who runs it), `begun.json` (where), `kept.json` (what of
the time limit was used before), `stdout.log`, `stderr.log`, `output/`, `ended.json` (its command has),
`result.json`, and last `manifest-sha256.txt`. Without the manifest nothing in it counts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, NonNegativeInt

from mlipilot.audit.discarding import Dropped
from mlipilot.audit.files import sha256_bytes, sha256_file
from mlipilot.audit.surroundings import Isolation as Isolation
from mlipilot.audit.surroundings import Machine
from mlipilot.paths import ORDER, RESULT

Outcome = Literal["ok", "failed", "time_limit", "cancelled", "protected_changed", "not_isolated"]


class JobOrder(BaseModel, extra="forbid", frozen=True):
    """One attempt: a command line, where and with what it runs, and how long it may take."""

    name: str = Field(description="unique in the run, for people and queues")
    argv: list[str]
    cwd: str
    environment: dict[str, str]
    wall_limit_s: float
    memory_mib: int | None = Field(default=None, description="of all its processes together")
    machine_limit_s: float | None = Field(
        default=None,
        description="CPU-seconds of all its processes together, or GPU-seconds where it uses a GPU",
    )
    run: str = Field(description="the run's directory, whose protected files are hashed before and after")
    protected: str = Field(description="file with the protected files' SHA-256 as they must be")
    read_only: dict[str, str] = Field(description="digests of directories that the job must leave alone")
    reads: list[str] = Field(default=[], description="all of the run that a container shows to the job")
    covered: dict[str, str] = Field(
        default={}, description="places of the image, and what of the run a container shows there instead"
    )
    keeps: dict[str, NonNegativeInt] | None = Field(
        default=None,
        description="files of its output that are kept, and no others, with their most bytes; "
        "None: all of it, which trusted code writes",
    )
    needs: str | None = Field(
        default=None, description="an attempt that must have ended well before this one"
    )
    uses_gpu: bool = False
    gpus: float = Field(default=1.0, description="held where it uses one; a part of one where jobs share it")
    require_no_network: bool = False
    min_free_mib: int = Field(default=64, description="room without which it does not begin")
    on_leak: Literal["refuse", "record"] = "refuse"

    @property
    def text(self) -> str:
        """What `job.json` is to hold."""
        said = json.dumps(self.model_dump(), indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
        return said + "\n"

    @property
    def sha256(self) -> str:
        """Of that."""
        return sha256_bytes(self.text.encode())


class JobResult(BaseModel, extra="forbid", frozen=True):
    """How one attempt ended."""

    outcome: Outcome
    exit_status: int | None = Field(description="negative: ended by that signal")
    reason: str | None
    wall_s: float = Field(description="with what a checkpoint of earlier starts took")
    cpu_s: float | None = Field(
        description="with what that checkpoint took, as if one core had been busy; None: could not be read"
    )
    gpu_s: float
    peak_memory_mib: float | None
    changed: list[str] = Field(description="protected or read-only files that differ after the job")
    isolation: Isolation
    machine: Machine
    host: str
    job_id: str | None = Field(default=None, description="the scheduler's, where there is one")
    sealed_by: str | None = Field(
        default=None, description="who found the attempt when its own start had not sealed it"
    )
    dropped: Dropped | None = None


def read_order(attempt: Path) -> JobOrder:
    """The order in an attempt's directory."""
    return JobOrder.model_validate_json((attempt / ORDER).read_text(encoding="utf-8"))


def order_digest(attempt: Path) -> str | None:
    """SHA-256 of an attempt's `job.json`; None where there is no regular file of that name."""
    path = attempt / ORDER
    return sha256_file(path) if path.is_file() and not path.is_symlink() else None


def read_result(attempt: Path) -> JobResult:
    """The result in a finished attempt's directory. Raises ValueError for what is none, and OSError."""
    return JobResult.model_validate_json((attempt / RESULT).read_bytes())


def result_if_any(attempt: Path) -> JobResult | None:
    """The same, or None for what is none: on local processes code of a candidate can write it anew."""
    try:
        return read_result(attempt)
    except (OSError, ValueError):
        return None


def read_json(path: Path) -> object:
    """A JSON file that a job left; raises ValueError naming the file when it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
