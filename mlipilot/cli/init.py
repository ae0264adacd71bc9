"""`mlipilot init`: the files that a campaign on one's own data starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlipilot.cli.console import stdout
from mlipilot.cli.types import checked_name


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the campaign and its files.")],
    data: Annotated[Path, typer.Option(metavar="DIR", help="What `mlipilot data import` made.")],
) -> None:
    """Write campaign, sbatch file and scorecard for an imported data set, here."""
    from mlipilot.campaign.starting import write_start

    checked_name(name, "NAME")
    for path in write_start(name, data.resolve(), Path.cwd()):
        stdout.print(str(path), soft_wrap=True, markup=False)
    stdout.print(
        f"next: look at scorecards/{name}.yaml, then `mlipilot plan campaigns/{name}.yaml`",
        soft_wrap=True,
        markup=False,
    )
