"""Checkpoints as trusted code handles them: kept for the next start, counted, removed, and never read.

A training writes its checkpoint below `output/checkpoint` (`mlipilot/checkpoint.py`). When its job starts
again, or a new attempt follows a lost one, it goes on from there and has the rest of its time limit: what the
checkpoint took is counted; what came after it was lost by no fault of the candidate's and is not. Nor has it
a say in how long that was. It is the time from `kept.json`, written just before its code starts, to the last
change below `output/checkpoint`, by the inodes' change times, which no program can set.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel

from mlipilot.audit.discarding import Bin, names_in, opened_folder, remove
from mlipilot.audit.files import read_regular, write_json
from mlipilot.audit.manifest import is_finished
from mlipilot.jobs.intake import drop_lost
from mlipilot.jobs.job_files import JobOrder
from mlipilot.jobs.machine import Machine, this_machine

KEPT = "kept.json"
_LONGEST_NOTE = 2**20
_MOST_ENTRIES, _DEEPEST = 10_000, 32  # of a checkpoint; Checkpoint's own has three files


class Kept(BaseModel, extra="forbid", frozen=True):
    """What trusted code says of an attempt just before the candidate's code starts, in `kept.json`."""

    kept_s: float = 0.0
    """Of the time limit: used by earlier starts for the checkpoint that this one goes on from."""
    machines: list[Machine] = []
    """Of those starts, and of this one; each kind once."""

    @property
    def machine(self) -> Machine | None:
        """What the result was made on. On two kinds of machine it is that of neither."""
        if len(self.machines) < 2:
            return self.machines[0] if self.machines else None
        gpus = [machine.gpu for machine in self.machines if machine.gpu]
        processors = ", then ".join(machine.processor for machine in self.machines)
        return Machine(processor=processors, gpu=", then ".join(gpus) or None)


def read_kept(attempt: Path) -> Kept:
    """What was said when the attempt's last start began."""
    try:
        return Kept.model_validate_json(read_regular(attempt / KEPT, _LONGEST_NOTE))
    except (OSError, ValueError):  # none, or on local processes what a candidate wrote in its place
        return Kept()


def checkpoint_of(attempt: Path) -> Path:
    """Where the candidate's code of an attempt keeps its checkpoint."""
    return attempt / "output" / "checkpoint"


def take_up(attempt: Path, *, uses_gpu: bool = False) -> float:
    """Just before the candidate's code starts: have it find its last checkpoint, if there is one.

    Returns for how many seconds of the time limit that stands.
    """
    source = next((path for path in _this_and_lost_ones(attempt) if _is_there(path)), None)
    here = this_machine(uses_gpu=uses_gpu)
    fresh = Kept(machines=[here])
    found = None if source is None else _goes_on(source, here)
    if source is not None and found is None:
        drop_checkpoint(source)  # how long it took cannot be said
        source = None
    kept = found or fresh
    # Told before it is moved: after a kill between the two, the next start finds it where this one did.
    write_json(attempt / KEPT, kept.model_dump())
    (attempt / "output").mkdir(exist_ok=True)
    if source is not None and source != attempt:
        try:
            checkpoint_of(source).rename(checkpoint_of(attempt))
        except OSError:  # another user's, say: the training begins anew
            kept = fresh
            write_json(attempt / KEPT, kept.model_dump())
    return kept.kept_s


def rest_s(order: JobOrder, kept_s: float) -> float:
    """What is left of the time limit: at least a second, because `timeout` takes none at all for no limit.

    GPUs are held, busy or not, so that a limit of their seconds is one of time.
    """
    limit_s = order.wall_limit_s
    if order.uses_gpu and order.machine_limit_s is not None:
        limit_s = min(limit_s, order.machine_limit_s / order.gpus)
    return max(1.0, limit_s - kept_s)


def cpu_rest_s(order: JobOrder, kept_s: float) -> float | None:
    """What is left of a limit of CPU-seconds, or None; earlier starts count as if one core had been busy."""
    if order.uses_gpu or order.machine_limit_s is None:
        return None
    return order.machine_limit_s - kept_s


def clear_output(attempt: Path) -> None:
    """Remove what an older start left in the output, but for its checkpoint."""
    output = attempt / "output"
    if not _is_there(attempt):
        remove(output)
        return
    with opened_folder(attempt) as folder, opened_folder("output", folder) as inside:
        bin_ = Bin(folder)
        bin_.drop_but(inside, lambda name: name == checkpoint_of(attempt).name)
        bin_.empty()


def drop_checkpoint(attempt: Path) -> None:
    """Before a seal: a checkpoint is no part of a result."""
    if not (attempt / "output").is_symlink():
        remove(checkpoint_of(attempt))


def drop_lost_work(iteration: Path) -> None:
    """Before an iteration's seal: what attempts left that were lost. What is sealed stays as it is."""
    for attempt in iteration.glob("seed-*/train/attempt-*"):
        if not is_finished(attempt):
            drop_lost(attempt)


def _this_and_lost_ones(attempt: Path) -> list[Path]:
    """The attempt, and those before it that were not sealed, from the newest on."""
    stem, _, number = attempt.name.rpartition("-")
    earlier = range(int(number) - 1, 0, -1) if number.isdecimal() else ()
    before = [attempt.with_name(f"{stem}-{n}") for n in earlier]
    return [attempt, *(path for path in before if not is_finished(path))]


def _is_there(attempt: Path) -> bool:
    """Whether there is a checkpoint; a link that the candidate put in its place is none."""
    place = checkpoint_of(attempt)
    return place.is_dir() and not place.is_symlink() and not place.parent.is_symlink()


def _goes_on(attempt: Path, here: Machine) -> Kept | None:
    """From the attempt's checkpoint: what its last start went on from, and what that added."""
    before = read_kept(attempt)
    added_s = 0.0
    if (attempt / KEPT).exists():
        changed = _last_change(checkpoint_of(attempt))
        if changed is None:
            return None
        added_s = max(0.0, changed - (attempt / KEPT).stat().st_ctime)
    machines = list(dict.fromkeys([*before.machines, here]))
    return Kept(kept_s=round(before.kept_s + added_s, 3), machines=machines)


def _last_change(top: Path) -> float | None:
    """The newest change below `top`, which itself changes when it is moved; None where that cannot be seen.

    So it is with a folder that is too deep, or of too many files, for what a training has to keep.
    """
    newest, entries, waiting = 0.0, 0, [(top, 0)]
    try:
        while waiting:
            folder, depth = waiting.pop()
            with opened_folder(folder) as handle:  # a candidate could have shut it; that is a change, too
                for name in names_in(handle):
                    entries += 1
                    # A start on a node that was given up may go on there.
                    with suppress(FileNotFoundError):
                        found = os.stat(name, dir_fd=handle, follow_symlinks=False)
                        newest = max(newest, found.st_ctime)
                        if stat.S_ISDIR(found.st_mode):
                            waiting.append((folder / name, depth + 1))
                    if entries > _MOST_ENTRIES or depth > _DEEPEST:
                        return None
    except OSError:  # another user's, or a path that is too long
        return None
    return newest
