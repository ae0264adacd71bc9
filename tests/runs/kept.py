"""What tests of kept runs share: which there are, how each ended, and verbs typed at a copy of one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.files import files_below, sha256_file
from mlipilot.paths import RunPaths
from tests.cli.verbs import outcome

ARCHIVES = sorted(Path(__file__).parent.glob("format-*/*.tar.xz"))
LATER = "mlipilot/of_a_later_version.py"


@dataclass(frozen=True)
class Kept:
    """A copy of a run that was kept, and how the code that made it says that it ended, by lineage."""

    run: RunPaths
    said: dict[int, dict[str, Any]]

    def new_lines(self, lineage: int) -> list[dict[str, Any]]:
        """What was appended to a ledger since."""
        return ledger_lines(self.run, lineage, sum(self.said[lineage]["kinds"].values()))

    @property
    def unfinished(self) -> list[int]:
        return [number for number, said in self.said.items() if said["phase"] != "finished"]


def name_of(archive: Path) -> str:
    """Such as `format-1/local`."""
    return f"{archive.parent.name}/{archive.name.partition('.')[0]}"


def expectations(archive: Path) -> dict[int, dict[str, Any]]:
    """What the code that made the run read out of it, by lineage."""
    file = archive.with_name(f"{archive.name.partition('.')[0]}.json")
    return {int(number): said for number, said in json.loads(file.read_text())["lineages"].items()}


def ledger_lines(run: RunPaths, lineage: int, first: int = 0) -> list[dict[str, Any]]:
    """A ledger's lines as they are on disk, from number `first` on, whatever this version makes of them."""
    return [json.loads(line) for line in run.lineage(lineage).ledger.read_text().splitlines()[first:]]


def runs_of(*names: str) -> pytest.MarkDecorator:
    """The runs of these names, of each format."""
    archives = [path for path in ARCHIVES if path.name.startswith(names)]
    return pytest.mark.parametrize("kept", archives, ids=name_of, indirect=True)


def verb(*words: str | Path, status: int = 0) -> str:
    """What a verb of the command line says, on both streams; its exit status must be `status`."""
    found, out, err = outcome([str(word) for word in words])
    assert found == status, f"{found}\n{out}\n{err}"
    return out if status == 0 else out + err


def contents(run: RunPaths) -> dict[str, str]:
    """The SHA-256 of every file of the run, and where each link points."""
    return {
        str(path.relative_to(run.root)): str(path.readlink()) if path.is_symlink() else sha256_file(path)
        for path in files_below(run.root)
    }
