"""Files that no record speaks of and that are no fault: what killed writes and unsealed reports leave."""

from __future__ import annotations

import re
from pathlib import Path

from mlipilot.audit.files import files_below
from mlipilot.paths import CLAIM

_STAGED = re.compile(r"\.(.+)\.[a-z0-9_]{8}")  # as `audit/files.py` names what is not whole yet
_OF_SCRIPTS = re.compile(
    r"(image\.sha256|\.endpoint)\.[0-9]{1,10}|\.\.spool"
)  # as sbatch/ does, by process id
_OF_REPORTS = re.compile(r"report\.(html|md)|report-lineage-[0-9]+\.html|(figures|export)/(?!\.\.$)[^/]+")


def is_of_reports(name: str) -> bool:
    """Whether a file of this name, seen from the run, is one that only reports write."""
    return _OF_REPORTS.fullmatch(name) is not None


def is_left_by_a_script(name: str) -> bool:
    """Whether a killed batch script left a file of this name in the run's own folder."""
    return _OF_SCRIPTS.fullmatch(name) is not None


def staged_for(path: Path) -> Path | None:
    """The file that `path` would have become, if it is what a killed write leaves; None if it is not."""
    match = _STAGED.fullmatch(path.name)
    return None if match is None or not _is_regular(path) else path.with_name(match[1])


def is_staged_claim(path: Path) -> bool:
    """Whether a worker staged its claim as `path`, in the folder of a job's attempts (it may be gone by now).

    It is not staged in the attempt, which another worker may be sealing.
    """
    match = _STAGED.fullmatch(path.name)
    if match is None or match[1] != CLAIM or not any(path.parent.glob("attempt-*/")):
        return False
    return _is_regular(path) or not (path.is_symlink() or path.exists())


def drop_staged_claims(directory: Path) -> None:
    """Remove those below `directory`; a worker whose claim it was finds that it came too late."""
    for path in files_below(directory):
        if is_staged_claim(path):
            path.unlink(missing_ok=True)


def _is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
