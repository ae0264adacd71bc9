"""One controller a lineage, on one host and across hosts.

First an `flock`, which is quick and which the kernel drops when its holder dies; but on some parallel
filesystems it does not reach other hosts, or is missing. So the claim (`audit/claims.py`) is what counts.
One that was left behind is taken over only when its owner is certainly over. An owner that comes back all
the same (a node that hung) finds a higher epoch and must not write any more: `Hold.check`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from mlipilot.audit.claims import (
    LOCK,
    Claim,
    Job,
    claim_file,
    claim_in_force,
    newest_epoch,
    publish_claim,
)
from mlipilot.audit.process_identity import Fate, pid_namespace, this_process
from mlipilot.audit.rights import user_name
from mlipilot.errors import InputError, MlipilotError
from mlipilot.paths import LineagePaths
from mlipilot.untrusted import one_line

AskSlurm = Callable[[Job], Fate]
_NO_FLOCK = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
_ONLY_READS = (errno.EACCES, errno.EPERM, errno.EROFS)
_LOOK_S = 1.5  # longer than somebody holds the flock who only looks whose it is


class TakenOverError(MlipilotError):
    """Another controller carries the lineage now: this one must not write any more."""


@dataclass(frozen=True)
class Hold:
    """A lineage that this process holds."""

    folder: Path
    epoch: int
    after: str | None
    """Whose claim was taken over, and why it was over, in words."""

    def check(self) -> None:
        """Raise TakenOverError unless the claim in force is still this one."""
        newest = newest_epoch(self.folder)
        if newest != self.epoch:
            raise TakenOverError(
                f"{self.folder.parent}: another controller took over at epoch {newest}, or `mlipilot unlock` "
                f"was called: this controller, of epoch {self.epoch}, stops and writes nothing more"
            )


def no_word(job: Job) -> Fate:
    """The answer of somebody who cannot ask Slurm."""
    return Fate("unknown", f"Slurm was not asked about job {job.id}")


@contextmanager
def controller_lock(lineage: Path, job: Job | None = None, ask: AskSlurm = no_word) -> Iterator[Hold]:
    """Hold `lineage` for as long as the block runs. `job`: the Slurm job that this process belongs to.

    Raises InputError naming the holder unless there is none or it is certainly over; OSError when the
    claim cannot be written.
    """
    folder = LineagePaths(lineage).controller
    folder.mkdir(exist_ok=True)
    with _flock(folder, _LOOK_S) as ours:
        epoch, claim = claim_in_force(folder)
        after = None
        if ours is False:
            raise _refusal(lineage, claim, Fate("alive", "it holds the lock"))
        if claim is not None:
            fate = _fate(claim, lambda: ours, job, ask)
            if fate.state != "over":
                raise _refusal(lineage, claim, fate)
            after = f"{claim.words}: {fate.why}"
        mine = Claim(
            epoch=epoch + 1,
            since=datetime.now(UTC).replace(microsecond=0),
            pid_namespace=pid_namespace(),
            job=job,
            user=user_name(),
            **asdict(this_process()),
        )
        if not publish_claim(folder, mine.epoch, mine):
            raise _refusal(lineage, claim_in_force(folder)[1], Fate("alive", "it was quicker"))
        try:
            yield Hold(folder, mine.epoch, after)
        finally:
            # A full disk must not hide how the block ended; a claim that stays is judged as one of the dead.
            with suppress(OSError):
                os.truncate(claim_file(folder, mine.epoch), 0)


def examine(lineage: Path, ask: AskSlurm = no_word) -> tuple[Claim, Fate] | None:
    """Who claims `lineage` and what can be known of it from here; None when nobody does.

    Raises InputError for a claim that cannot be read, OSError where there is no looking.
    """
    folder = LineagePaths(lineage).controller
    _, claim = claim_in_force(folder)
    return None if claim is None else (claim, _fate(claim, lambda: _probe(folder), None, ask))


def holder(lineage: Path, ask: AskSlurm = no_word) -> str | None:
    """Who holds `lineage` now as far as can be known from here, in words, or None. Raises OSError."""
    try:
        found = examine(lineage, ask)
    except InputError as error:
        return one_line(str(error))
    return None if found is None or found[1].state == "over" else found[0].words


def clear(lineage: Path, claim: Claim) -> None:
    """Take `lineage` away from the owner of `claim`, which a person knows to be over.

    Raises InputError when a controller took it over meanwhile.
    """
    folder = LineagePaths(lineage).controller
    if not publish_claim(folder, claim.epoch + 1, None):
        raise _refusal(lineage, claim_in_force(folder)[1], Fate("alive", "it took over meanwhile"))


@contextmanager
def _flock(folder: Path, patience_s: float = 0.0) -> Iterator[bool | None]:
    """The lineage's flock. True: ours while the block runs; False: another's; None: none is to be had."""
    lock, ours = FileLock(folder / LOCK, fallback_to_soft=False), None
    try:
        if _is_acquired(lock, patience_s):
            # Where a second one is granted too, it keeps nobody out.
            again = FileLock(folder / LOCK, fallback_to_soft=False)
            ours = None if _is_acquired(again) else True
            again.release()
        else:
            ours = False
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            raise
    try:
        yield ours
    finally:
        lock.release()


def _is_acquired(lock: FileLock, patience_s: float = 0.0) -> bool:
    try:
        lock.acquire(timeout=patience_s)
    except Timeout:
        return False
    return True


def _probe(folder: Path) -> bool | None:
    """Whose the flock is, as `_flock` says; None, too, for who may only read here: a lock takes more.

    Where there is no lock, as in a copy that left it out, looking makes none.
    """
    if not (folder / LOCK).exists():
        return None
    try:
        with _flock(folder) as ours:
            return ours
    except OSError as error:
        if error.errno not in _ONLY_READS:
            raise
        return None


def _fate(claim: Claim, flock: Callable[[], bool | None], job: Job | None, ask: AskSlurm) -> Fate:
    """Whether the owner of `claim` lives. `flock` says whose the lineage's flock is, as `_flock` does."""
    seen, is_of_this_boot = claim.fate, claim.process.is_of_this_boot
    if seen.state == "alive" or (seen.state == "over" and not is_of_this_boot):
        return seen
    ours = flock()
    if ours is False:
        return Fate("alive", "it holds the lock")
    if seen.state == "over":
        return seen
    if ours and is_of_this_boot:
        return Fate("over", "the lock that it held on this host is free")
    if claim.job is None:
        return Fate("unknown", f"{seen.why}, and of no Slurm job")
    if job is not None and job.is_later_start_of(claim.job):
        return Fate("over", f"Slurm has started job {job.id} again")
    return ask(claim.job)


def _refusal(lineage: Path, claim: Claim | None, fate: Fate) -> InputError:
    who = claim.words if claim else "it has not said yet who it is"
    if fate.state == "alive":
        return InputError(
            f"another controller holds this run ({who}): {fate.why}",
            file=lineage,
            mend="wait for it, or end it with `mlipilot cancel`; `mlipilot status` shows what it does",
        )
    number = LineagePaths(lineage).number
    return InputError(
        f"another controller may hold this run ({who}); it has not let go, and {fate.why}",
        file=lineage,
        mend=f"make sure that it is over, then `mlipilot unlock {lineage.parent} --lineage {number}`",
    )
