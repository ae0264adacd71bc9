"""The commands that the documents tell a user to type, as they stand there. Standard library only."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
COMMANDS = {"bash", "crontab"}
"""The languages of fences with commands."""


@dataclass
class Block:
    """One fenced block: the document, the heading above it, its commands in order."""

    document: str
    heading: str
    lines: list[str]
    """Whole commands: continued lines are joined. Comments at their ends are kept; a shell ignores them."""
    taken: int = field(default=0, repr=False)

    @property
    def name(self) -> tuple[str, str]:
        """What tells it from other blocks."""
        return self.document, self.lines[0]

    def take(self, start: str) -> str:
        """The next command, which must begin with `start`."""
        assert self.taken < len(self.lines), f"{self.document} has no command after {self.lines[-1]!r}"
        line = self.lines[self.taken]
        assert line.startswith(start), f"{self.document} has {line!r}, where the test knows {start!r}"
        self.taken += 1
        return line

    def end(self) -> None:
        """All of it has been taken."""
        assert self.taken == len(self.lines), f"{self.document} goes on: {self.lines[self.taken :]}"


def block(document: str, first: str) -> Block:
    """The block of a document whose first command begins with `first`."""
    found = [block for block in blocks(document) if block.lines[0].startswith(first)]
    assert len(found) == 1, f"{document} has {len(found)} blocks that begin with {first!r}"
    return found[0]


def blocks(document: str) -> list[Block]:
    """All blocks of commands of a document."""
    found: list[Block] = []
    heading, language, lines = "", None, list[str]()
    for line in (REPOSITORY / document).read_text(encoding="utf-8").splitlines():
        fence = re.fullmatch(r"\s*```(\w*)\s*", line)
        if fence and language is None:
            language, lines = fence[1], []
        elif fence:
            commands = _commands(lines)
            if language in COMMANDS and commands:
                found.append(Block(document, heading, commands))
            language = None
        elif language is not None:
            lines.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    return found


def _commands(lines: list[str]) -> list[str]:
    text = "\n".join(lines).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def documents() -> list[str]:
    """Every document of the repository, by its path from the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        check=True,
    )
    return sorted(listed.stdout.decode().split())
