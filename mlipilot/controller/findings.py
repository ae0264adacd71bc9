"""What lineages tell each other: `findings.jsonl` of a run, one lesson a line, appended under a lock.

A finding says where it comes from: lineage, iteration, pilot and the hash of the verdict's record, so that it
can be checked against that ledger. The same finding is never there twice, whatever was killed when.
"""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock
from pydantic import ValidationError

from mlipilot.audit.files import append_line
from mlipilot.audit.lessons import Finding
from mlipilot.paths import RunPaths


def add_finding(run: RunPaths, finding: Finding) -> None:
    """Append a finding unless one of the same iteration is there. Raises OSError."""
    with FileLock(run.findings_lock):
        _drop_torn_line(run.findings)
        known = {(found.lineage, found.iteration) for found in read_findings(run)}
        if (finding.lineage, finding.iteration) not in known:
            append_line(run.findings, finding.model_dump_json())


def read_findings(run: RunPaths) -> list[Finding]:
    """Every finding, in the order in which they came; lines that are none are passed over."""
    try:
        text = run.findings.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    found = []
    for line in text.splitlines():
        try:
            found.append(Finding.model_validate_json(line))
        except ValidationError:  # torn by a kill, or written by someone else
            continue
    return found


def _drop_torn_line(path: Path) -> None:
    """Cut off what a kill in the middle of an append left; only under the lock."""
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data.rpartition(b"\n")
    if whole[2]:
        with path.open("rb+") as stream:
            stream.truncate(len(data) - len(whole[2]))
