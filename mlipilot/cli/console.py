"""Showing a run: progress bars on a terminal, one timestamped line an event elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from mlipilot.confidential import hidden
from mlipilot.controller.observer import JobProgress
from mlipilot.untrusted import clean

stdout = Console(highlight=False)
_FEW = 5


def say(text: str, style: str = "") -> None:
    """A text as it is: no markup is read in it, and no line of it is broken."""
    stdout.print(text, style=style or None, markup=False, soft_wrap=True)


def few_lines(lines: Sequence[str], whole: str) -> list[str]:
    """The first of `lines`, indented, and where there are more of them how many, and that `whole` has all."""
    more = [f"  and {len(lines) - _FEW} more: {whole} lists them"] if len(lines) > _FEW else []
    return [f"  {line}" for line in lines[:_FEW]] + more


class ConsoleObserver:
    """An observer that writes to standard output; use it as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or stdout
        self._tasks: dict[str, TaskID] = {}
        self._progress: Progress | None = None
        self._logged = (0.0, time.monotonic())  # of the builder's way, and when
        if self.console.is_terminal:
            self._progress = Progress(
                TextColumn("[cyan]{task.description}"),
                BarColumn(bar_width=30),
                TimeElapsedColumn(),
                TextColumn("{task.fields[words]}", style="dim"),
                console=self.console,
                transient=True,
            )

    @property
    def is_live(self) -> bool:
        """On a terminal."""
        return self._progress is not None

    def __enter__(self) -> ConsoleObserver:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def event(self, text: str) -> None:
        """One line: on a terminal the time of day, in a log the full timestamp."""
        now = datetime.now().astimezone()
        stamp = now.strftime("%H:%M:%S") if self.console.is_terminal else now.isoformat(timespec="seconds")
        text = hidden(clean(text))
        # Text, not markup: a pilot's words may hold square brackets.
        line = Text.assemble((stamp, "dim"), " ", (text, _style(text)))
        self.console.print(line, soft_wrap=not self.console.is_terminal)

    def data_progress(self, done: int, total: int, what: str) -> None:
        """A bar for the data set's builder on a terminal; elsewhere a line now and then."""
        if self._progress is None:
            self._log_progress(done / total if total else 0.0, what)
        self._draw("data", done / total if total else None, what)
        if done >= total:
            self._clear({"data"})

    def _log_progress(self, fraction: float, what: str) -> None:
        """A line each tenth of the way and each minute, but none for what is over in seconds."""
        before, then = self._logged
        waited_s = time.monotonic() - then
        if waited_s >= 60 or (waited_s >= 5 and int(10 * fraction) > int(10 * before)):
            self._logged = fraction, time.monotonic()
            self.event(f"{100 * fraction:.0f} %: {what}")

    def jobs(self, running: Sequence[JobProgress]) -> None:
        """A bar for each running job, on a terminal only."""
        for job in running:
            self._draw(job.name, job.fraction, job.text)
        self._clear(self._tasks.keys() - {job.name for job in running})

    def _draw(self, name: str, fraction: float | None, words: str) -> None:
        if self._progress is None:
            return
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=None, words="")
        total = None if fraction is None else 1.0
        self._progress.update(self._tasks[name], total=total, completed=fraction or 0.0, words=words)

    def _clear(self, names: set[str]) -> None:
        for name in names & self._tasks.keys():
            if self._progress is not None:
                self._progress.remove_task(self._tasks.pop(name))


def _style(text: str) -> str:
    styles = {"accepted": "green", "reverted": "yellow", "invalid": "red", "warning": "yellow"}
    for word, style in styles.items():
        if f" {word}" in text or text.startswith(word):
            return style
    return "red" if text.startswith("paused") else ""
