"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from mlipilot.untrusted import one_line

Status = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class Check:
    """What was looked at, how it stands, what was found, and how to mend it.

    Both texts are cleaned here, because much of them was printed by other programs.
    """

    name: str
    status: Status
    found: str
    mend: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "found", one_line(self.found, 400))
        object.__setattr__(self, "mend", one_line(self.mend, 400))

    def as_warning(self) -> Check:
        """The same, not failing where nothing depends on it."""
        return replace(self, status="warning") if self.status == "failed" else self


def ok(name: str, found: str) -> Check:
    """It holds."""
    return Check(name, "ok", found)


def warning(name: str, found: str, mend: str) -> Check:
    """A campaign runs all the same, with something missing."""
    return Check(name, "warning", found, mend)


def failed(name: str, found: str, mend: str) -> Check:
    """A campaign that needs it does not run."""
    return Check(name, "failed", found, mend)


def skipped(name: str, why: str, mend: str = "") -> Check:
    """It was not looked at."""
    return Check(name, "skipped", why, mend)
