"""The Slurm backend: attempts become requests in the spool, and the queue's answers become standings.

Requests are made in `requests`. An evaluation is queued together with its training, to start when that is
over; the loop finds it there when it is due, so the ledger is that of a local run.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlipilot.audit.manifest import is_finished
from mlipilot.errors import PausedError
from mlipilot.jobs.backend import Phase, Standing, Submission
from mlipilot.jobs.disk_space import NOT_STORABLE, why_not_storable
from mlipilot.jobs.ending import Ending, Tell, is_served, silently
from mlipilot.jobs.job_settings import JobSettings
from mlipilot.jobs.late import is_sealed_at_last
from mlipilot.jobs.logs import tail_lines
from mlipilot.jobs.obstacles import obstacle
from mlipilot.jobs.requests import Requests
from mlipilot.jobs.sealing import NotSealedError, is_never_due
from mlipilot.jobs.slurm_note import SlurmNote, give_up, read_note
from mlipilot.jobs.spool import QueueRow, Receipt, Spool
from mlipilot.untrusted import one_line

WAITING = {
    "PENDING",
    "CONFIGURING",
    "REQUEUED",
    "REQUEUE_HOLD",
    "REQUEUE_FED",
    "SPECIAL_EXIT",
    "RESV_DEL_HOLD",
}
_RUNNING = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING", "STAGE_OUT"}
_NODE_FAULTS = {"NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED", "RECONFIG_FAIL"}
_TAKEN_AWAY = {"PREEMPTED", "REVOKED"}
# In the log of the job, where only Slurm and our own script write; some Slurms then say FAILED.
_OVER_MEMORY = re.compile(r"slurmstepd.*(exceeded .*memory limit|oom.kill)", re.IGNORECASE)
_SETTLE_S = 65.0  # for a manifest to be seen here after Slurm says that a job is over: NFS looks after 60 s
_CANCEL_SETTLE_S = 5.0  # the same for who asked for that end: what comes later is not missed
_CANCEL_PATIENCE_S = 90.0
_LOOK_S = 60.0  # between two looks at everything while nothing is known to have changed
_NEVER_PATIENCE_S = 60.0  # nodes that come back may change Slurm's mind
# Reasons that say more than the state does.
_TELLING = re.compile("BadConstraints|Launch|Hold|Dead|limit (was )?reached")


def scheduler(job_id: str) -> str:
    """Who runs the job of that id: Slurm, or HyperQueue within an allocation (sbatch/engine_hq.sh)."""
    return "HyperQueue" if job_id.startswith("hq-") else "Slurm"


def is_over(state: str) -> bool:
    """Whether a job in this state of Slurm's will do nothing more."""
    return state not in WAITING | _RUNNING


class SlurmBackend:
    """Jobs by way of the run's spool.

    It holds, beside what `Backend` says of clocks, the last news that it has waited for, and which jobs Slurm
    told `cancel` to be over: who has that asked again after a kill is told again.
    """

    poll_s = 1.0

    def __init__(self, run: Path, spool: Path, settings: JobSettings) -> None:
        self.run, self.settings = run, settings
        self.spool = Spool(spool)
        self._requests = Requests(run, self.spool, settings)
        self._missing_since: dict[str, float] = {}
        self._over_since: dict[str, float] = {}
        self._ended: set[str] = set()  # by Slurm's own word, which `cancel` asked for
        self._begun = time.monotonic()
        self._news = self.spool.news()

    def wait(self, stop: Callable[[], bool]) -> None:
        """See `Backend`. A shared file system is asked twice in two seconds: of one file, and by `stop`."""
        now = time.monotonic()
        settling = any(now - since <= _SETTLE_S + _LOOK_S for since in self._over_since.values())
        deadline = now + (self.poll_s if settling else _LOOK_S)
        seen, self._news = self._news, self.spool.news()
        while self._news == seen and not stop() and time.monotonic() < deadline:
            time.sleep(2 * self.poll_s)
            self._news = self.spool.news()

    def ensure_started(self, *works: Submission) -> None:
        """Publish the requests of attempts, and of the evaluations that follow them."""
        self._requests.ensure(works)

    def give_up(self, attempt: Path) -> None:
        """See `Backend`: whoever requeues its job finds nothing to run."""
        give_up(attempt)

    def standing(self, attempt: Path) -> Standing:
        """What manifest, receipt and queue say together. Raises PausedError as `Backend` says."""
        note = read_note(attempt)
        if note is None:
            return Standing("sealed" if is_finished(attempt) else "not_started")
        name = note.name
        receipt, row = self.spool.receipt(name), self.spool.queue().rows.get(name)
        where: dict[str, Any] = {
            "job_id": receipt.job_id if receipt else None,
            "job_name": name,
            "node": row.node if row else None,
        }
        if is_finished(attempt):
            return Standing("sealed", **where)
        if name in self._ended:
            return Standing("ended", "cancelled", "cancelled", **where)
        self._check_submitter()
        if receipt is None:
            return Standing("waiting", reason=self._why_unsubmitted(row))
        if not receipt.submitted:
            if self.spool.is_cancelled(name):
                return Standing("ended", "cancelled", "cancelled before it was submitted")
            self.spool.ask_to_cancel(name)  # after the mend it is submitted anew, as another attempt
            raise PausedError(
                f"the submitter refused job {name}: {one_line(receipt.reason)}; mend it and resume"
            )
        return self._by_queue(attempt, note, receipt, row, where)

    def _by_queue(
        self, attempt: Path, note: SlurmNote, receipt: Receipt, row: QueueRow | None, where: dict[str, Any]
    ) -> Standing:
        name = note.name
        if row is None:
            return self._not_in_queue(attempt, name, receipt, where)
        self._missing_since.pop(name, None)
        state = row.state
        if not is_over(state):
            self._over_since.pop(name, None)  # it may have been requeued
            if state in WAITING:
                self._check_obstacle(name, row)
                return Standing("waiting", reason=one_line(row.reason, 100), **where)
            return Standing("running", **where)
        # Slurm says that the job is over; its manifest may take a while to be seen on this node.
        if not self._settled(attempt, name, row):
            return Standing("running", **where)
        if (now := self._sealed_at_last(attempt)) is not None:
            return Standing(now, **where)
        said = f"{scheduler(row.job_id)} says {state}" + (f" on {row.node}" if row.node else "")
        said += f" ({one_line(row.reason, 100)})" if state == "FAILED" and _TELLING.search(row.reason) else ""
        if state in _NODE_FAULTS:
            return Standing("ended", "lost", said, free=True, bad_node=row.node or None, **where)
        if state in _TAKEN_AWAY:
            return Standing("ended", "lost", said, free=True, **where)
        lines = [line for line in tail_lines(self.spool.root / "logs" / f"{name}.log") if line.strip()]
        if state == "OUT_OF_MEMORY" or any(_OVER_MEMORY.search(line) for line in lines):
            wanted = (note.request or {}).get("memory_mib", "its")
            return Standing("ended", "failed", f"{said}: more than {wanted} MiB were needed", **where)
        if state == "CANCELLED" and self.spool.is_cancelled(name):
            return Standing("ended", "cancelled", "cancelled", **where)
        if (problem := self._not_storable(attempt, lines)) is not None:
            return Standing("ended", "not_storable", problem, **where)
        said += f": {one_line(lines[-1])}" if lines else ""
        # A job's own limit ends it minutes before Slurm's, so who met that was held up by the machine.
        return Standing("ended", "lost", said, bad_node=row.node if state == "TIMEOUT" else None, **where)

    def _why_unsubmitted(self, row: QueueRow | None) -> str:
        if row is not None:
            return one_line(row.reason, 600)
        return "for the submitter" + (", which has not begun" if self.spool.silence_s() is None else "")

    def _check_obstacle(self, name: str, row: QueueRow) -> None:
        """Raises PausedError for a job that will not start unless a person does something.

        One that cannot start as it was submitted is cancelled, so that it is submitted anew after the mend.
        """
        met = obstacle(row.state, row.reason)
        waited_s = 0.0 if row.since is None else self.spool.queue().time - row.since
        patience_s = {"wait": math.inf, "person": self.settings.patience_s, "never": _NEVER_PATIENCE_S}
        if waited_s < patience_s[met.kind]:
            return
        if met.kind == "never":
            self.spool.ask_to_cancel(name)
        what = "can never start as it was submitted" if met.kind == "never" else "is not let run"
        raise PausedError(
            f"job {row.job_id} ({name}) {what}: {scheduler(row.job_id)} says {row.state}, "
            f"{one_line(row.reason, 100)}, for {waited_s / 60:.0f} min; "
            f"{met.mend.replace('JOB', row.job_id)}, then resume"
        )

    def _not_in_queue(self, attempt: Path, name: str, receipt: Receipt, where: dict[str, Any]) -> Standing:
        """Not knowing is not an answer: only a queue that answers and goes on not knowing ends a job."""
        queue = self.spool.queue()
        if not queue.ok or queue.time <= receipt.time:
            return Standing("waiting", reason="for the queue's answer", **where)
        since = self._missing_since.setdefault(name, time.monotonic())
        if time.monotonic() - since < self.settings.patience_s:
            return Standing("waiting", reason="the queue does not know it", **where)
        if (now := self._sealed_at_last(attempt)) is not None:
            return Standing(now, **where)
        gone = f"the queue has not known it for {self.settings.patience_s:g} s"
        return Standing("ended", "lost", gone, **where)

    def _sealed_at_last(self, attempt: Path) -> Phase | None:
        """Of a job that is over: "sealed", if only now and here, for a job that died before it came to it."""
        try:
            return "sealed" if is_sealed_at_last(attempt) else None
        except NotSealedError:  # another start of the job holds it; the queue's next answer speaks of that
            return "running"

    def _not_storable(self, attempt: Path, lines: list[str]) -> str | None:
        """Why the job did not begin, or could leave nothing: its log's last word, else what is found here."""
        _, phrase, problem = lines[-1].partition(f"{NOT_STORABLE}: ") if lines else ("", "", "")
        return one_line(problem) if phrase else why_not_storable(attempt, self.settings.min_free_mib)

    def _settled(self, attempt: Path, name: str, row: QueueRow) -> bool:
        if is_never_due(attempt):
            return True
        since, wait_s = self._over_since.setdefault(name, time.monotonic()), _SETTLE_S
        if row.state == "CANCELLED" and self.spool.is_cancelled(name):
            wait_s = _CANCEL_SETTLE_S if row.node or self.spool.has_started(name) else -1.0
        return time.monotonic() - since > wait_s

    def _check_submitter(self) -> None:
        """One that cron starts may come minutes after the controller: its first sign is waited for, too."""
        silence_s = self.spool.silence_s()
        how_long = "has not begun" if silence_s is None else f"has been silent for {silence_s:.0f} s"
        if silence_s is None:
            silence_s = time.monotonic() - self._begun
        if silence_s > self.settings.patience_s:
            raise PausedError(
                f"the submitter {how_long}; start it on a host with Slurm: sbatch/submitter.sh {self.run}",
                mends_by_itself=True,
            )

    def cancel(self, *attempts: Path, tell: Tell = silently) -> str:
        """End the jobs and what is queued behind them, and wait until they are over.

        By Slurm itself where its commands are here, by the submitter where one serves. Without either nothing
        is waited for.
        """
        notes = {attempt: read_note(attempt) for attempt in attempts}
        names = {attempt: note.name for attempt, note in notes.items() if note is not None}
        behind = [other for name in names.values() for other in self.spool.queued_behind(name)]
        ending, waiting = Ending(self.spool, [*names.values(), *behind], tell), names
        deadline = time.monotonic() + _CANCEL_PATIENCE_S
        while waiting:
            ending.look()
            waiting = {a: name for a, name in waiting.items() if not self._has_ended(a, name, ending)}
            settles = ending.over.intersection(waiting.values())
            ending.over |= {name for attempt, name in names.items() if attempt not in waiting}
            if time.monotonic() > deadline or not (settles or ending.is_under_way or is_served(self.spool)):
                break
            if waiting:
                ending.tell_what_is_waited_for()
                time.sleep(self.poll_s)
        return ending.what_goes_on() if waiting else ""

    def _has_ended(self, attempt: Path, name: str, ending: Ending) -> bool:
        """Whether an attempt that is being cancelled is over, and what it sealed can be seen here."""
        if is_finished(attempt):
            return True
        if name in ending.over:
            since = self._over_since.setdefault(name, time.monotonic())
            may_write = self.spool.has_started(name) and not is_never_due(attempt)
            settled = not may_write or time.monotonic() - since > _CANCEL_SETTLE_S
            if settled:
                self._ended.add(name)
            return settled
        return is_served(self.spool) and self.standing(attempt).phase in ("sealed", "ended")
