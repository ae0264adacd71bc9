"""`mlipilot verify`: recompute what a run's ledger says from its files: digests, verdicts, costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlipilot.audit.signing import check_readable
from mlipilot.cli.console import say
from mlipilot.cli.types import AsJson, RunDirectory, existing_run, path_option, print_json
from mlipilot.controller.verification import verify_run
from mlipilot.errors import CheckFailedError


def verify(
    run: RunDirectory,
    as_json: AsJson = False,
    require_witness: Annotated[
        bool,
        typer.Option(
            "--require-witness", help="Fail unless an allowed signer's seal or Slurm's accounts agree."
        ),
    ] = False,
    signers: Annotated[
        Path | None, path_option(help="Whose seals count: a file as ssh's allowed_signers.")
    ] = None,
    tsa: Annotated[
        Path | None, path_option(help="Whose time stamps count: certificates (PEM) of authorities.")
    ] = None,
) -> None:
    """Recompute all digests and verdicts; name each file that differs."""
    paths = existing_run(run)
    if signers is not None:
        check_readable(
            signers, "allowed signers", "a line of it is `NAME` and what stands in a key's .pub file"
        )
    if tsa is not None:
        check_readable(tsa, "certificates", "time stamp authorities publish theirs")
    found = verify_run(paths, signers, tsa)
    problems = found.problems
    if (
        require_witness
        and not found.witnessed
        and not any(seal.agrees and seal.signer for seal in found.seals)
    ):
        asked = "no seal of an allowed signer" if signers else "no seal counts without `--signers FILE`"
        problems.append(f"{paths.root}: no witness agrees: {asked}, and no name of a job in Slurm's accounts")
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
                "seals": [
                    {
                        "file": str(seal.path),
                        "agrees": seal.agrees,
                        "key": seal.key,
                        "signer": seal.signer,
                        "stamped": seal.stamped,
                        "is_stamp_checked": seal.is_stamp_checked,
                    }
                    for seal in found.seals
                ],
            }
        )
    else:
        for note in found.notes:
            say(f"note: {note}")
        for problem in problems:
            say(f"FAILED {problem}", "red")
        if not problems:
            names = f"; Slurm's accounts, asked now, agree on {found.witnessed} of {found.anchors} job names"
            if found.extracted:
                names += f", the run's own extract of them on {found.extracted} more"
            say(
                f"verified: {len(found.accounted)} files and {found.records} ledger records; "
                f"every verdict recomputed{names if found.anchors else ''}",
                "green",
            )
    if problems:
        raise CheckFailedError(f"{len(problems)} of the run's files or records do not verify")
