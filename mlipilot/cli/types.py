"""Arguments and options that several verbs share."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mlipilot.campaign.paths import LineagePaths, RunPaths
from mlipilot.errors import InputError

CampaignFile = Annotated[Path, typer.Argument(metavar="CAMPAIGN.yaml", help="The campaign to run.")]
RunDirectory = Annotated[Path, typer.Argument(metavar="RUN", help="A run's directory, such as runs/cu_emt.")]
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
        near = (
            sorted(p.parent.name for p in path.parent.glob(f"*/{run.spec.name}"))
            if path.parent.is_dir()
            else []
        )
        mend = f"the runs beside it are: {', '.join(near)}" if near else "begin one with `mlipilot run`"
        raise InputError("there is no run here", file=path, mend=mend)
    return run


def only_lineage(run: RunPaths) -> LineagePaths:
    """The run's first lineage. Raises InputError when none has begun."""
    lineages = run.lineages()
    if not lineages:
        raise InputError(
            "no lineage has begun in this run", file=run.root, mend=f"`mlipilot resume {run.root}` begins it"
        )
    return lineages[0]


def print_json(value: Any) -> None:
    """Write `value` to standard output as JSON."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
