"""Labelling the shards of a work directory: one of them here, or all by local processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mlipilot.audit.files import write_atomic
from mlipilot.audit.manifest import is_finished
from mlipilot.datasets.base import Progress
from mlipilot.datasets.qm7_b3lyp.label import label_geometries
from mlipilot.datasets.qm7_b3lyp.method import one_thread
from mlipilot.datasets.qm7_b3lyp.records import to_lines
from mlipilot.datasets.qm7_b3lyp.sampling import geometries
from mlipilot.datasets.qm7_b3lyp.work import (
    done_seconds,
    frames_file,
    held,
    read_molecule,
    read_plan,
    seal_shard,
    shard_dir,
    unfinished,
)
from mlipilot.errors import CheckFailedError, InputError

_POLL_S = 0.5


def label_shard(work: Path, shard: int, goes_on: Callable[[], bool] = lambda: True) -> bool:
    """Label what is missing of a shard and seal it; whether it is finished.

    `goes_on` is asked before each molecule.

    Raises InputError when there is no such shard or another process labels it.
    """
    plan = read_plan(work)
    if not 0 <= shard < len(plan.shards):
        raise InputError(f"there is no shard {shard}: they are 0 to {len(plan.shards) - 1}", file=work)
    with held(work / "locks" / f"{shard:04d}", f"labels shard {shard}"):
        if is_finished(shard_dir(work, shard)):
            return True
        shard_dir(work, shard).mkdir(parents=True, exist_ok=True)
        for molecule in plan.shards[shard]:
            path = frames_file(work, shard, molecule)
            if path.exists():
                read_molecule(path)
                continue
            if not goes_on():
                return False
            frames = label_geometries(molecule, geometries(molecule, plan.sampling))
            write_atomic(path, to_lines(frames))
        seal_shard(work, shard)
        return True


def label_all(work: Path, processes: int, progress: Progress) -> None:
    """Label every shard by `processes` local ones, 0 for one a core, and say how long it will take.

    Raises CheckFailedError when one of them fails, with what it said last; the others are ended.
    """
    plan = read_plan(work)
    waiting = unfinished(work, plan)
    running: dict[subprocess.Popen[bytes], int] = {}
    count = processes or len(os.sched_getaffinity(0))
    clock = Clock(done_seconds(work, plan)[2])
    try:
        while waiting or running:
            while waiting and len(running) < count:
                shard = waiting.pop(0)
                running[_start(work, shard)] = shard
            time.sleep(_POLL_S)
            done, total, seconds, all_seconds = done_seconds(work, plan)
            progress(int(seconds), int(all_seconds) + 1, clock.words(done, total, seconds, all_seconds))
            for process in [p for p in running if p.poll() is not None]:
                shard = running.pop(process)
                if process.returncode:
                    raise CheckFailedError(
                        f"labelling shard {shard} of {work} failed: {_last_words(work, shard)}"
                    )
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def _log(work: Path, shard: int) -> Path:
    return work / "logs" / f"{shard:04d}.log"


def _last_words(work: Path, shard: int) -> str:
    said = _log(work, shard).read_text(encoding="utf-8", errors="replace").strip()
    if "Traceback (most recent call last)" in said:
        said = f"{said.splitlines()[-1]}\n  all of it: {_log(work, shard)}"
    return said or "it was killed"


class Clock:
    """How long what is left will take, by how much of the expected cost was done since the start."""

    def __init__(self, seconds_at_start: float) -> None:
        self._before, self._started = seconds_at_start, time.monotonic()

    def words(self, done: int, total: int, seconds: float, all_seconds: float) -> str:
        """For people: molecules weigh what they cost, so small ones that come last do not fool the clock."""
        text = f"{done} of {total} molecules"
        if seconds <= self._before:
            return text
        left = (time.monotonic() - self._started) * (all_seconds - seconds) / (seconds - self._before)
        return f"{text}, about {duration(left)} left"


def duration(seconds: float) -> str:
    """Such as 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _start(work: Path, shard: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mlipilot.datasets.qm7_b3lyp", str(work), str(shard), str(os.getpid())]
    _log(work, shard).parent.mkdir(exist_ok=True)
    with _log(work, shard).open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=one_thread())


def main(arguments: list[str]) -> int:
    """`python -m mlipilot.datasets.qm7_b3lyp WORK SHARD PARENT`: a shard; ends when the parent is gone."""
    work, shard, parent = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    with suppress(KeyboardInterrupt):
        try:
            label_shard(work, shard, lambda: os.getppid() == parent)
        except InputError as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_status
    return 0
