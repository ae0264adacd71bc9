"""Labelling the shards of a work directory: one of them here, or all by local processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mlipilot.audit.manifest import is_finished
from mlipilot.datasets.base import Progress
from mlipilot.datasets.qm7_b3lyp.tally import Clock, Tally, duration
from mlipilot.datasets.qm7_b3lyp.work import (
    frames_file,
    held,
    holder,
    read_molecule,
    read_plan,
    seal_shard,
    shard_dir,
    shard_lock,
    unfinished,
    write_frames,
)
from mlipilot.errors import CheckFailedError, InputError
from mlipilot_labels.geometries import geometries
from mlipilot_labels.geometry_settings import Sampling
from mlipilot_labels.label import label_geometries
from mlipilot_labels.method import one_thread
from mlipilot_labels.records import Frame, Molecule, NoGeometryError, without_geometry

_POLL_S = 0.5
_LOOK_AGAIN_S = 5.0
_PATIENCE_S = 1800.0
"""For how long nothing may get done while others hold every shard that is left."""


def label_shard(work: Path, shard: int, goes_on: Callable[[], bool] = lambda: True) -> bool:
    """Label what is missing of a shard and seal it; whether it is finished.

    `goes_on` is asked before each molecule.

    Raises InputError when there is no such shard or another process labels it.
    """
    plan = read_plan(work)
    if not 0 <= shard < len(plan.shards):
        raise InputError(f"there is no shard {shard}: they are 0 to {len(plan.shards) - 1}", file=work)
    with held(shard_lock(work, shard), f"labels shard {shard}"):
        if is_finished(shard_dir(work, shard)):
            return True
        for molecule in plan.shards[shard]:
            path = frames_file(work, shard, molecule)
            if path.exists():
                read_molecule(path)
                continue
            if not goes_on():
                return False
            write_frames(work, shard, molecule, _label(molecule, plan.sampling))
        seal_shard(work, plan, shard)
        return True


def _label(molecule: Molecule, options: Sampling) -> list[Frame]:
    """Its frames. One that a calculator fails on costs its own labels, not those of its shard."""
    try:
        drawn = geometries(molecule, options)
    except NoGeometryError as error:
        return [without_geometry(molecule, error.reason)]
    return label_geometries(molecule, drawn)


def label_all(work: Path, processes: int, progress: Progress) -> None:
    """Label every shard by `processes` local ones, 0 for one a core, and say how long it will take.

    Shards that others hold (an ended build's process at its last molecule, a Slurm task) are waited for.
    Raises CheckFailedError when one of ours fails, with what it said last, the others are ended; or when
    others hold what is left and nothing gets done.
    """
    plan = read_plan(work)
    waiting = unfinished(work, plan)
    running: dict[subprocess.Popen[bytes], int] = {}
    count = processes or len(os.sched_getaffinity(0))
    tally = Tally(work, plan)
    clock, others = Clock(tally.seconds), _Others(work)
    try:
        while waiting or running:
            for shard in others.free(waiting, count - len(running)):
                waiting.remove(shard)
                running[_start(work, shard)] = shard
            time.sleep(_POLL_S)
            tally.look()
            told = clock.words(tally, len(running), count) + others.words
            progress(int(tally.seconds), int(tally.all_seconds) + 1, told)
            others.check(tally.done, bool(running))
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


class _Others:
    """Whoever else holds shards."""

    def __init__(self, work: Path) -> None:
        self._work, self._who = work, ""
        self._look_at, self._done, self._since = 0.0, -1, 0.0

    @property
    def words(self) -> str:
        """For whom a process of ours waits; "" for nobody."""
        return f"; waiting for another process that labels {self._who}" if self._who else ""

    def free(self, shards: list[int], wanted: int) -> list[int]:
        """The first `wanted` of `shards` that nobody holds."""
        found: list[int] = []
        if time.monotonic() < self._look_at:
            return found
        self._who = ""
        for shard in shards:
            if len(found) == wanted:
                break
            if (who := holder(shard_lock(self._work, shard))) is None:
                found.append(shard)
            else:
                self._who = self._who or f"shard {shard} ({who})"
        if self._who:  # not in each turn: a file server may be behind it
            self._look_at = time.monotonic() + _LOOK_AGAIN_S
        return found

    def check(self, done: int, ours: bool) -> None:
        """Raises CheckFailedError when only others are left, and nothing got done for too long."""
        now = time.monotonic()
        if done != self._done or ours:
            self._done, self._since = done, now
        elif self._who and now - self._since > _PATIENCE_S:
            raise CheckFailedError(
                f"{self._work}: nothing was labelled for {duration(_PATIENCE_S)}, and another process "
                f"labels {self._who}: end it and build again; what is finished is kept"
            )


def _log(work: Path, shard: int) -> Path:
    return work / "logs" / f"{shard:04d}.log"


def _last_words(work: Path, shard: int) -> str:
    said = _log(work, shard).read_text(encoding="utf-8", errors="replace").strip()
    if "Traceback (most recent call last)" in said:
        said = f"{said.splitlines()[-1]}\n  all of it: {_log(work, shard)}"
    return said or "it was killed"


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
