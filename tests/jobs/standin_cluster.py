"""A spool whose submitter and queue are written by the test."""

from __future__ import annotations

import time
from pathlib import Path

from mlipilot.audit.files import write_atomic
from mlipilot.jobs.backend import Submission
from mlipilot.jobs.job_files import JobOrder
from mlipilot.jobs.job_settings import JobSettings
from mlipilot.jobs.slurm_backend import SlurmBackend

HEAD = "0123456789abcdef" * 4


class Cluster:
    """The other side of the spool: a stand-in for submitter and queue."""

    def __init__(self, run: Path, **settings: object) -> None:
        self.run, self.spool = run, run / "spool"
        options = {"backend": "slurm", "patience_s": 50} | settings
        self.backend = SlurmBackend(run, self.spool, JobSettings.model_validate(options))
        (self.spool / "receipts").mkdir(parents=True)
        self.beats = self.polls = 0
        self.beat()

    def attempt(self, kind: str, number: int = 1) -> Path:
        return self.run / "lineage-0/iterations/0001/seed-7" / kind / f"attempt-{number}"

    def submission(self, kind: str = "train", number: int = 1, needs: Path | None = None) -> Submission:
        order = JobOrder(
            name="x",
            argv=["true"],
            cwd="/",
            environment={},
            wall_limit_s=600,
            run=str(self.run),
            protected="p",
            read_only={},
            needs=None if needs is None else str(needs),
        )
        return Submission(self.attempt(kind, number), order, HEAD, "train" if kind == "train" else "evaluate")

    def beat(self, slow_s: float = 0) -> None:
        """The heartbeat of a submitter whose clock is slow."""
        self.beats += 1
        text = f"time={time.time() - slow_s:.0f}\nhost=h\nbeat={self.beats}\n"
        write_atomic(self.spool / "submitter", text)

    def requests(self) -> dict[str, dict[str, str]]:
        return {
            path.name: dict(line.split("=", 1) for line in path.read_text().splitlines())
            for path in sorted((self.spool / "requests").glob("mlp-*"))
        }

    def receive(self, name: str, age_s: float = 100, **fields: object) -> None:
        said = {"status": "submitted", "job_id": "42", "time": f"{time.time() - age_s:.0f}"} | fields
        write_atomic(self.spool / "receipts" / name, "".join(f"{k}={v}\n" for k, v in said.items()))

    def queue(self, *rows: str, ok: bool = True, age_s: float = 0) -> None:
        self.polls += 1
        head = f"time={time.time() - age_s:.0f} accounting=0 ok={int(ok)} poll=1.{self.polls}"
        write_atomic(self.spool / "queue", "\n".join([head, *rows]) + "\n")
