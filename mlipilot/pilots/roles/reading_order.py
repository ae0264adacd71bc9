"""A diff in the order in which a reviewer should read it: code before values before documents, fillers last.

Who would hide a line among many others does not choose what is read first. What a recipe may add is bounded
(`pilots/recipe_bounds`), so that nearly every diff is shown whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from mlipilot.untrusted import clean

_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_KINDS = {".py": 0, ".yaml": 1, ".yml": 1, ".md": 3, ".txt": 3, ".rst": 3}
_DOCUMENT = 3
_LONGEST_RUN = 4  # comment lines in a row that stay where they are
_LATER = "Comments and blank lines that were left out above"


@dataclass
class _Hunk:
    file: str
    head: list[str]
    lines: list[str] = field(default_factory=list)

    @property
    def rank(self) -> tuple[bool, int]:
        kind = _KINDS.get(PurePosixPath(self.file).suffix.lower(), 2)
        return kind == _DOCUMENT or not any(map(_counts, self.lines)), kind


def in_reading_order(diff: str, limit: int) -> tuple[str, int]:
    """The diff in at most about `limit` characters, and how many changed lines of code or values it lacks."""
    hunks = sorted(_hunks(diff), key=lambda hunk: hunk.rank)
    lines = list(_shown(hunks))
    if _length(lines) > limit:
        lines = [line for line in lines if not line.startswith(" ")]  # without what did not change
    fitting, used = 0, 0
    for line in lines:
        used += len(line) + 1
        if used > limit:
            break
        fitting += 1
    cut = lines[fitting:]
    lacking = sum(map(_counts, cut[: cut.index(_LATER)] if _LATER in cut else cut))
    note = [f"({len(cut)} more lines do not fit, {lacking} of them changed code or values)"] if cut else []
    return "\n".join(lines[:fitting] + note), lacking


def _shown(hunks: Sequence[_Hunk]) -> Iterator[str]:
    later: list[str] = []
    for hunk in hunks:
        yield from hunk.head
        run: list[str] = []
        for line in [*hunk.lines, ""]:
            if line[:1] in ("+", "-") and not _counts(line):
                run.append(line)
                continue
            if len(run) > _LONGEST_RUN:
                yield f"({len(run)} lines of comments and blanks: at the end)"
                later += [f"{hunk.file}:", *run]
            else:
                yield from run
            run = []
            if line:
                yield line
    if later:
        yield _LATER
        yield from later


def _counts(line: str) -> bool:
    """Whether a line of a hunk changes code or a value."""
    said = line[1:].strip()
    return line[:1] in ("+", "-") and bool(said) and not said.startswith("#")


def _length(lines: Sequence[str]) -> int:
    return sum(len(line) + 1 for line in lines)


def _hunks(diff: str) -> Iterator[_Hunk]:
    """By the counts of their heads: a changed line may look like a head itself."""
    name, head = "", list[str]()
    hunk = _Hunk("", [])
    old = new = 0
    for raw in diff.removesuffix("\n").split("\n"):
        line = clean(raw).replace("\n", " ")
        if (old > 0 or new > 0) or raw.startswith("\\"):
            hunk.lines.append(line)
            old -= raw[:1] in ("-", " ")
            new -= raw[:1] in ("+", " ")
        elif found := _HUNK.match(raw):
            if hunk.head or hunk.lines:
                yield hunk
            hunk, head = _Hunk(name, [*head, line]), []
            old, new = (1 if count is None else int(count) for count in found.groups())
        elif raw.startswith("--- "):
            head = [line]
            name = line[4:].removeprefix("a/")
        elif head and raw.startswith("+++ "):
            head.append(line)
            name = name if line[4:] == "/dev/null" else line[4:].removeprefix("b/")
        else:
            hunk.lines.append(line)
    if hunk.head or hunk.lines:
        yield hunk
