"""The failures that a user can mend, each with its exit status.

Of every program of the package: 0 good; 1 a check did not hold, or a fault of ours; 2 the input is wrong;
75 paused. Of some: 3 the evaluator refuses a hand-over (`evaluation/metrics_file.py`); 79 a controller hands
its core back (`controller/hand_back.py`); 130, 128 + SIGINT, Ctrl-C or a SIGTERM has ended a verb
(`cli/app.py`); 143, 128 + SIGTERM, a training was asked to end and has saved where it is (`checkpoint.py`).
"""

from __future__ import annotations

from pathlib import Path


class MlipilotError(Exception):
    """A failure that is reported in one message, without a traceback."""

    exit_status = 1


class InputError(MlipilotError):
    """The user's input is wrong: names the file, the line, the value and the mend."""

    exit_status = 2

    def __init__(
        self,
        message: str,
        *,
        file: Path | str | None = None,
        line: int | None = None,
        mend: str | None = None,
    ) -> None:
        place = "" if file is None else f"{file}: " if line is None else f"{file}:{line}: "
        super().__init__(f"{place}{message}" + (f"\n  mend: {mend}" if mend else ""))


class CheckFailedError(MlipilotError):
    """A check that the user asked for (verify, a gate) did not hold."""


class PausedError(MlipilotError):
    """Something outside the run is missing for now (endpoint, disk); `mlipilot resume` goes on."""

    exit_status = 75  # EX_TEMPFAIL of sysexits.h

    def __init__(self, message: str, *, mends_by_itself: bool = False) -> None:
        """`mends_by_itself`: time, or another start elsewhere, may mend it; else a person has to."""
        super().__init__(message)
        self.mends_by_itself = mends_by_itself
