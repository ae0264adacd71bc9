"""Arguments and options that several verbs share."""

from __future__ import annotations

import json
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mlipilot.errors import InputError
from mlipilot.paths import LineagePaths, RunPaths


def path_argument(**more: Any) -> Any:
    """An argument that names a file. One that may not be read is refused later, with its owner's name."""
    return typer.Argument(readable=False, **more)


def path_option(*names: str, **more: Any) -> Any:
    """An option of that kind."""
    return typer.Option(*names, readable=False, **more)


CampaignFile = Annotated[Path, path_argument(metavar="CAMPAIGN.yaml", help="The campaign to run.")]
RunDirectory = Annotated[Path, path_argument(metavar="RUN", help="A run's directory, such as runs/cu_emt.")]
Lineage = Annotated[int, typer.Option(min=0, help="Which lineage of the run: one task of a Slurm array.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one key: --set budget.iterations=3"),
]


class ProfileName(StrEnum):
    """The profiles that a campaign may have."""

    smoke = "smoke"
    full = "full"


def existing_run(path: Path) -> RunPaths:
    """The run in `path`. Raises InputError when it is none."""
    run = RunPaths(path.resolve())
    if not run.spec.is_file():
        near = sorted(p.parent.name for p in path.parent.glob(f"*/{run.spec.name}"))
        mend = f"the runs beside it are: {', '.join(near)}" if near else "begin one with `mlipilot run`"
        raise InputError("there is no run here", file=path, mend=mend)
    return run


def begun_lineage(run: RunPaths, number: int) -> LineagePaths:
    """Lineage `number` of a run. Raises InputError when it has not begun."""
    lineages = run.lineages()
    for lineage in lineages:
        if lineage.number == number:
            return lineage
    begun = ", ".join(str(lineage.number) for lineage in lineages) or "none"
    raise InputError(
        f"lineage {number} has not begun in this run (begun: {begun})",
        file=run.root,
        mend=f"{run.resuming(number)} begins it",
    )


def print_json(value: Any) -> None:
    """Write `value` to standard output as JSON."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def checked_name(name: str, what: str) -> str:
    """A name that campaigns, files and directories can have. Raises InputError for another."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,40}", name):
        raise InputError(f"{what} {name!r}", mend="small letters, digits, - and _ make a name")
    return name
