"""What of the labels is there, and how long the rest will take."""

from __future__ import annotations

import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlipilot.datasets.qm7_b3lyp.work import Plan, frames_file, read_molecule, shard_dir
from mlipilot_labels.cost import label_seconds


class Tally:
    """What is there, in molecules and in the seconds of one core that they are expected to cost."""

    def __init__(self, work: Path, plan: Plan) -> None:
        self._work = work
        self._missing = [
            {frames_file(work, number, molecule).name: plan.seconds(molecule) for molecule in shard}
            for number, shard in enumerate(plan.shards)
        ]
        self.total = sum(map(len, self._missing))
        self.all_seconds = sum(self.left)
        self.look()

    def look(self) -> None:
        """Count what has been finished since; shards that are whole are not looked at again."""
        for number, missing in enumerate(self._missing):
            for path in shard_dir(self._work, number).glob("*.jsonl") if missing else ():
                missing.pop(path.name, None)

    @property
    def left(self) -> list[float]:
        """Expected seconds of what is missing, by shard; without those that are whole."""
        return [sum(missing.values()) for missing in self._missing if missing]

    @property
    def done(self) -> int:
        """How many molecules have their labels."""
        return self.total - sum(map(len, self._missing))

    @property
    def seconds(self) -> float:
        """What those that are done were expected to cost, in seconds of one core."""
        return self.all_seconds - sum(self.left)


class Clock:
    """How long what is left will take, by how long what was done since the start took."""

    def __init__(self, seconds_at_start: float) -> None:
        self._before, self._at, self._spent_s = seconds_at_start, time.monotonic(), 0.0

    def words(self, tally: Tally, running: int, processes: int) -> str:
        """How many molecules are done, and how long the others take.

        `running` processes were at work since the last call, `processes` share what is left.
        Molecules weigh what they cost, so small ones that come last do not fool the clock. A shard is one
        process's work: the last one takes its time, however many idle beside it.
        """
        now = time.monotonic()
        self._spent_s, self._at = self._spent_s + max(running, 1) * (now - self._at), now
        text = f"{tally.done} of {tally.total} molecules"
        if tally.seconds <= self._before:
            return text
        slowness = self._spent_s / (tally.seconds - self._before)
        return f"{text}, about {duration(slowness * makespan(tally.left, processes))} left"


def makespan(work: Sequence[float], processes: int) -> float:
    """Seconds until all of `work` (seconds) is done, if each process takes the next piece when it is free."""
    ends = [0.0] * processes
    for piece in work:
        heapq.heapreplace(ends, ends[0] + piece)
    return max(ends)


def duration(seconds: float) -> str:
    """`seconds` in words, such as 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True)
class Made:
    """What the frames that are there tell."""

    without_label: list[str]
    """Each in words."""
    slowness: float | None
    """CPU-seconds of their labels over those expected; None before the first, or where a GPU makes them."""


def examine(work: Path, plan: Plan) -> Made:
    """Read every frame that is there. Raises InputError for a file that is none of ours."""
    without_label, spent, expected = [], 0.0, 0.0
    for number, shard in enumerate(plan.shards):
        for molecule in shard:
            path = frames_file(work, number, molecule)
            for frame in read_molecule(path) if path.exists() else ():
                if not frame.usable:
                    without_label.append(frame.words)
                elif frame.label.get("device") == "cpu" and len(frame.numbers) > 1:
                    spent += float(frame.label["cpu_seconds"])
                    expected += label_seconds(frame.numbers)
    return Made(without_label, spent / expected if expected else None)
