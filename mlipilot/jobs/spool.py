"""The controller's side of the spool: requests to the host's submitter, and what it answers.

The controller runs in a container without Slurm; `sbatch/submitter.sh` on the host reads `requests/` and
`cancel/`, submits, and writes `receipts/` and `queue`. Each file has one writer and is published whole. What
is settled it folds into one file: to whoever asks here, a request that was folded reads as it did before.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlipilot.audit.anchors import NAME
from mlipilot.audit.files import write_atomic
from mlipilot.audit.process_identity import ProcessIdentity
from mlipilot.audit.settled import SettledRequests

_ANSWERS = ("submitted", "rejected")
_FOLDERS = ("requests", "cancel", "intents", "receipts", "started")


@dataclass(frozen=True)
class Receipt:
    """What became of a request."""

    submitted: bool
    job_id: str | None
    reason: str
    time: float


@dataclass(frozen=True)
class QueueRow:
    """What Slurm said of one job."""

    job_id: str
    state: str
    """Slurm's; UNSUBMITTED of a request that waits for its submission."""
    reason: str
    node: str
    since: float | None = None
    """When the submitter first saw it like this, by its host's clock as `Queue.time` is."""


@dataclass(frozen=True)
class Queue:
    """The last batched answer. `ok`: Slurm answered at `time`; else the rows are older."""

    time: float
    ok: bool
    rows: Mapping[str, QueueRow]
    poll: str = ""
    """Names the answer."""


class Spool:
    """The spool directory of a run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._settled = SettledRequests(root)
        self._heard: tuple[str, float] | None = None

    def request(self, name: str, fields: Mapping[str, str | int]) -> None:
        """Publish a request. The same name is never used twice with other fields. Raises ValueError."""
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a job")
        for folder in _FOLDERS:
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        write_atomic(self.root / "requests" / name, "".join(f"{k}={v}\n" for k, v in fields.items()))

    def is_requested(self, name: str) -> bool:
        """Whether a request of this name has been published."""
        return (self.root / "requests" / name).exists() or self._settled.get(name) is not None

    def ask_to_cancel(self, name: str) -> None:
        """Have the submitter end a job."""
        (self.root / "cancel").mkdir(parents=True, exist_ok=True)
        (self.root / "cancel" / name).touch()

    def may_be_submitted(self, name: str) -> bool:
        """Whether a submitter has called sbatch for a request, or was about to."""
        marks = [self.root / folder / name for folder in ("intents", "receipts", "started")]
        return any(mark.exists() for mark in marks) or self._settled.get(name) is not None

    def requests_of(self, lineage: int) -> list[str]:
        """The names of all requests of a lineage."""
        found = {path.name for path in (self.root / "requests").glob(f"mlp-*-l{lineage}.*")}
        found |= {name for name in self._settled.names() if name[20:].startswith(f"-l{lineage}.")}
        return sorted(filter(NAME.fullmatch, found))

    def requests_of_the_run(self) -> list[str]:
        """The names of those that belong to no lineage: of jobs that serve the run's model."""
        return sorted(path.name for path in (self.root / "requests").glob("mlp-*-endpoint.a*"))

    def has_started(self, name: str) -> bool:
        """Whether a job of this name has begun to run on a node."""
        marks = (self.root / "started").glob(f"{name}.[0-9]*")
        # A name may begin with another one and a number.
        begun = any(mark.name[len(name) + 1 :].isdigit() for mark in marks)
        return begun or self._settled_says(name, "started")

    def queued_behind(self, name: str) -> list[str]:
        """The requests that are to start after that one."""
        requests = sorted((self.root / "requests").glob("mlp-*"))
        return [path.name for path in requests if (read_fields(path) or {}).get("after") == name]

    def is_cancelled(self, name: str) -> bool:
        """Whether that was asked for."""
        return (self.root / "cancel" / name).exists() or self._settled_says(name, "cancelled")

    def receipt(self, name: str) -> Receipt | None:
        """The submitter's answer to a request, or None."""
        fields: Mapping[str, str] | None = read_fields(self.root / "receipts" / name)
        if fields is None or fields.get("status") not in _ANSWERS:  # one that was emptied is none
            fields = self._settled.get(name)
        if fields is None or fields.get("status") not in _ANSWERS:
            return None
        return Receipt(
            submitted=fields.get("status") == "submitted",
            job_id=fields.get("job_id") or None,
            reason=fields.get("reason", ""),
            time=_number(fields.get("time")),
        )

    def allocation(self) -> str | None:
        """The Slurm job in which HyperQueue serves now (sbatch/engine_hq.sh), if there is one."""
        server = (read_fields(self.root / "hq") or {}).get("server", "")
        return server.partition(".")[0] or None

    def _settled_says(self, name: str, what: str) -> bool:
        return (self._settled.get(name) or {}).get(what) == "1"

    def queue(self) -> Queue:
        """The last answer of the queue; an old, failed one when there is none."""
        try:
            head, *lines = (self.root / "queue").read_text(encoding="utf-8", errors="replace").splitlines()
        except PermissionError:
            raise  # an answer that may not be read is not a missing one
        except (OSError, ValueError):
            return Queue(0.0, ok=False, rows=_Rows({}, self._settled))
        said = dict(word.partition("=")[::2] for word in head.split())
        rows = {}
        for line in lines:
            parts = line.split("|")
            if len(parts) in (5, 6):
                name, job_id, state, reason, node, *since = parts
                rows[name] = QueueRow(job_id, state, reason, node, _number(*since) or None)
        found = _Rows(rows, self._settled)
        return Queue(_number(said.get("time")), said.get("ok") == "1", found, said.get("poll", ""))

    def news(self) -> int:
        """Changes with every answer of the submitter's, and when a job has done with an attempt."""
        try:
            return (self.root / "news").stat().st_mtime_ns
        except OSError:
            return 0

    def submitter(self) -> ProcessIdentity | None:
        """The process that holds the submitter's lock, if one does; it may be long gone."""
        try:
            text = (self.root / "submitter.lock" / "owner").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return None
        said = re.search(r"\bhost=(.*) pid=([0-9]+) ticks=([0-9]+) boot=(\S+)", text)
        return ProcessIdentity(int(said[2]), int(said[3]), said[4], said[1]) if said else None

    def heartbeat_age_s(self) -> float | None:
        """How old the submitter's heartbeat is, by the file system's own clock; None when there is none.

        For who cannot wait and see. Raises OSError where nothing may be written.
        """
        mark = self.root / f".clock.{os.getpid()}"
        try:
            beat_s = (self.root / "submitter").stat().st_mtime
        except FileNotFoundError:
            return None
        mark.touch()
        age_s = mark.stat().st_mtime - beat_s
        mark.unlink(missing_ok=True)
        return age_s

    def silence_s(self) -> float | None:
        """Seconds for which the submitter's heartbeat has stood still here; None when there is none.

        The first look begins them: the submitter's clock may be another one than ours.
        """
        try:
            beat = (self.root / "submitter").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        now = time.monotonic()
        if self._heard is None or self._heard[0] != beat:
            self._heard = beat, now
        return now - self._heard[1]


class _Rows(Mapping[str, QueueRow]):
    """The queue's rows, and behind them the last ones of what has been folded since."""

    def __init__(self, live: Mapping[str, QueueRow], settled: SettledRequests) -> None:
        self._live, self._settled = live, settled

    def __getitem__(self, name: str) -> QueueRow:
        if name in self._live:
            return self._live[name]
        said = self._settled.get(name)
        if said is None or not said.get("job_id") or not said.get("state"):
            raise KeyError(name)
        since = _number(said.get("since")) or None
        return QueueRow(said["job_id"], said["state"], said.get("why", ""), said.get("nodes", ""), since)

    def __iter__(self) -> Iterator[str]:
        yield from self._live.keys() | {name for name in self._settled.names() if name in self}

    def __len__(self) -> int:
        return sum(1 for _ in self)


def read_fields(path: Path) -> dict[str, str] | None:
    """The `key=value` lines that a script wrote; None where there is no file. Raises PermissionError."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except PermissionError:
        raise
    except OSError:
        return None
    return dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)


def _number(text: str | None = None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
