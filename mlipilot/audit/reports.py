"""`reports.jsonl`: which reports were written of a run, and from which ledgers; chained as a ledger is.

It says of the newest report what the manifest beside it is to be, which has to be there unless a report is
being written now, and of each that the ledgers which it was made from are there still. It is no part of a
lineage: a report shows several, and may be made much later.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Mapping

from mlipilot.audit.events.reporting import Reported
from mlipilot.audit.events.running import LedgerRepaired
from mlipilot.audit.files import sha256_file
from mlipilot.audit.ledger import Ledger, LedgerError, of_kind, read_open_ledger
from mlipilot.audit.manifest import MANIFEST
from mlipilot.audit.verification_result import Verification
from mlipilot.paths import RunPaths


def note_report(run: RunPaths, manifest_sha256: str, heads: Mapping[int, str]) -> None:
    """Put a report on record before its manifest is there, unless the last record says the same.

    The caller holds `run.report_lock`. Raises LedgerError for a record that was changed, OSError.
    """
    said = Reported(manifest_sha256=manifest_sha256, heads={str(n): head for n, head in heads.items()})
    ledger = Ledger(run.reports)
    if not ledger.records or ledger.records[-1].event != said:
        ledger.append(said)


def verify_reports(run: RunPaths, found: Verification, *, has_report: bool) -> None:
    """Hold ledgers and the report's manifest to what is on record of reports."""
    try:
        records, torn = read_open_ledger(run.reports)
    except LedgerError as error:
        found.problems.append(f"{error}; `mlipilot report` cannot go on with it: remove it, and report anew")
        return
    if torn:  # the seal comes after the record: none stands beside one that was cut short
        told = found.problems if has_report else found.notes
        told.append(f"{run.reports}: its last line is not whole; the next report cuts it off")
    if others := [record for record in records if not isinstance(record.event, Reported | LedgerRepaired)]:
        found.problems.append(f"{run.reports}:{others[0].seq + 1}: it speaks of no report")
    reports = list(of_kind(records, Reported))
    hashes = {str(lineage.number): set(_hashes(run, lineage.number)) for lineage in run.lineages()}
    for record, report in reports:
        for number, head in report.heads.items():
            if head not in hashes.get(number, ()):
                path = run.root / f"lineage-{number}" / run.lineage(int(number)).ledger.name
                found.problems.append(
                    f"{path}: a report of {record.time} was made from a record that is not there any more"
                )
    if not reports and has_report and run.modules.exists():
        found.problems.append(f"{run.root / MANIFEST}: no report is on record in {run.reports.name}")
    elif reports and has_report and sha256_file(run.root / MANIFEST) != reports[-1][1].manifest_sha256:
        found.problems.append(f"{run.root / MANIFEST}: not that of the report that is on record")
    elif reports and not has_report:
        said = f"{run.root / MANIFEST}: missing: the report on record is not whole"
        if _is_being_written(run):
            found.notes.append(f"{said}: it is being written")
        else:  # a kill's work, or somebody's who does not want it checked
            found.problems.append(f"{said}; `mlipilot report` makes it")


def _is_being_written(run: RunPaths) -> bool:
    """Whether somebody on this host holds the lock of reports; asked by who may only read, too."""
    try:
        descriptor = os.open(run.report_lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system that has no such locks
        return False
    finally:
        os.close(descriptor)
    return False


def _hashes(run: RunPaths, number: int) -> Iterable[str]:
    try:
        return [record.hash for record in read_open_ledger(run.lineage(number).ledger)[0]]
    except LedgerError:  # which is named where the lineage is checked
        return []
