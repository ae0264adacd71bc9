"""`mlipilot init`: the files that a campaign on one's own data starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlipilot.cli.console import say
from mlipilot.cli.types import checked_name, path_option


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the campaign and its files.")],
    data: Annotated[Path, path_option(metavar="DIR", help="What `mlipilot data import` made.")],
) -> None:
    """Write campaign, sbatch file and scorecard for an imported data set, here: MLIPilot's repository."""
    from mlipilot.campaign.starter_files import SBATCH, write_start

    checked_name(name, "NAME")
    written = write_start(name, data.resolve(), Path.cwd())
    for path in written:
        say(str(path))
    if not any(path.suffix == SBATCH.suffix for path in written):
        say(
            f"no campaigns/{name}.sbatch: "
            f"it is made after {SBATCH} of MLIPilot's repository, and this is another directory"
        )
    say(f"next: look at scorecards/{name}.yaml, then `mlipilot plan campaigns/{name}.yaml`")
