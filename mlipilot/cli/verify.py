"""`mlipilot verify`: recompute what a run's ledger says from its files: digests, verdicts, costs."""

from __future__ import annotations

from mlipilot.cli.console import stdout
from mlipilot.cli.types import AsJson, RunDirectory, existing_run, print_json
from mlipilot.controller.verification import verify_run
from mlipilot.errors import CheckFailedError


def verify(run: RunDirectory, as_json: AsJson = False) -> None:
    """Recompute all digests and verdicts; name each file that differs."""
    found = verify_run(existing_run(run))
    problems = found.problems
    if as_json:
        print_json(
            {
                "ok": not problems,
                "problems": problems,
                "notes": found.notes,
                "files": len(found.accounted),
                "records": found.records,
                "anchors": {
                    "in_ledger": found.anchors,
                    "in_accounts": found.witnessed,
                    "in_extract_only": found.extracted,
                },
            }
        )
    else:
        for note in found.notes:
            stdout.print(f"note: {note}", markup=False, soft_wrap=True)
        for problem in problems:
            stdout.print(f"FAILED {problem}", markup=False, soft_wrap=True, style="red")
        if not problems:
            names = f"; Slurm's accounts, asked now, agree on {found.witnessed} of {found.anchors} job names"
            if found.extracted:
                names += f", the run's own extract of them on {found.extracted} more"
            stdout.print(
                f"verified: {len(found.accounted)} files and {found.records} ledger records; "
                f"every verdict recomputed{names if found.anchors else ''}",
                style="green",
                soft_wrap=True,
            )
    if problems:
        raise CheckFailedError(f"{len(problems)} of the run's files or records do not verify")
