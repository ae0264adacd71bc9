"""`mlipilot seal`: a signature over the heads of a run's ledgers, for whoever is to trust them later."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlipilot.audit.seals import seal_run
from mlipilot.cli.console import stdout
from mlipilot.cli.types import RunDirectory, existing_run, path_option


def seal(
    run: RunDirectory,
    key: Annotated[Path, path_option(help="A private SSH key, or its .pub while ssh-agent holds it.")],
    timestamp: Annotated[
        str | None, typer.Option(metavar="URL", help="A time stamp authority (RFC 3161) to be asked, too.")
    ] = None,
) -> None:
    """Sign the ledgers' heads with an SSH key: seals/ gets a file that `verify` holds the run to."""
    paths = existing_run(run)
    path, unfinished = seal_run(paths, key, timestamp)
    if unfinished:
        stdout.print(
            f"not over: {', '.join(unfinished)}; what comes later takes another seal",
            markup=False,
            soft_wrap=True,
        )
    stdout.print(
        f"sealed: {path}; keep a copy where the run's owner cannot write", markup=False, soft_wrap=True
    )
