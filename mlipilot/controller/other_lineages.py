"""What a role is told of other lineages: how much of them there was when it was asked.

They write while this one asks. So what was read is noted in the ledger (`heard`) before it is told, and a
replay reads just as much of the recorded run.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from mlipilot.audit.events import proposing
from mlipilot.audit.ledger import Ledger, LedgerError, read_open_ledger
from mlipilot.controller.findings import read_findings
from mlipilot.paths import LineagePaths, RunPaths
from mlipilot.pilots.pilot_settings import Role


@dataclass(frozen=True)
class Heard:
    """So many findings of a run, and so many records of the lineages in it that are not one's own."""

    run: RunPaths
    findings: int
    records: dict[int, int]

    def lessons(self, own: int) -> list[str]:
        """Those findings in the words of a prompt, the lineage `own` among them."""
        listed = read_findings(self.run)[: self.findings]
        return [finding.text for finding in listed if finding.lineage in {own, *self.records}]


def listen(run: RunPaths, lineage: LineagePaths) -> Heard:
    """All that there is now. A ledger that is damaged counts as empty: `verify` names it."""
    findings = read_findings(run)
    records = {finding.lineage: 0 for finding in findings}
    for other in run.lineages():
        records[other.number] = 0
        if other.number != lineage.number:
            with suppress(LedgerError, OSError):
                records[other.number] = len(read_open_ledger(other.ledger)[0])
    records.pop(lineage.number, None)
    return Heard(run, len(findings), records)


def note(ledger: Ledger, role: Role, iteration: int, heard: Heard) -> None:
    """Write down what a role is told of others, where there are any."""
    if heard.records:
        records = {str(number): count for number, count in heard.records.items()}
        told = proposing.Heard(iteration=iteration, role=role, findings=heard.findings, records=records)
        ledger.append(told)


def as_recorded(run: RunPaths, told: proposing.Heard) -> Heard:
    """What was on record before, in the ledger of a lineage of `run`."""
    return Heard(run, told.findings, {int(number): count for number, count in told.records.items()})
