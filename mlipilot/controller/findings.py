"""What lineages tell each other: `findings.jsonl` of a run, one lesson a line, appended under a lock.

A finding says where it comes from: lineage, iteration, pilot and the hash of the verdict's record, so that it
can be checked against that ledger. The same finding is never there twice, whatever was killed when.
"""

from __future__ import annotations

from collections.abc import Iterable

from filelock import FileLock
from pydantic import ValidationError

from mlipilot.audit.files import append_line, cut_torn_line
from mlipilot.audit.ledger import Record
from mlipilot.audit.lessons import Finding, lessons_of
from mlipilot.paths import RunPaths


def add_finding(run: RunPaths, finding: Finding) -> None:
    """Append a finding unless one of the same iteration is there. Raises OSError."""
    with FileLock(run.findings_lock):
        cut_torn_line(run.findings)
        known = {(found.lineage, found.iteration) for found in read_findings(run)}
        if (finding.lineage, finding.iteration) not in known:
            append_line(run.findings, finding.model_dump_json())


def share_lessons(run: RunPaths, lineage: int, records: Iterable[Record]) -> None:
    """Have every lesson of a ledger among the findings: a kill may have come between the two."""
    for lesson in lessons_of(lineage, records):
        add_finding(run, lesson)


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
