"""`mlipilot run`: begin a campaign and carry it to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlipilot.audit.rights import check_may_write, written_by_a_controller
from mlipilot.campaign.spec import load_campaign
from mlipilot.cli.carry import carry_on
from mlipilot.cli.types import CampaignFile, Lineage, Overrides, ProfileName, path_option
from mlipilot.controller.prepare import create_run
from mlipilot.paths import RunPaths


def run(
    campaign: CampaignFile,
    profile: Annotated[ProfileName | None, typer.Option(help="Which profile of the campaign.")] = None,
    overrides: Overrides = None,
    run_dir: Annotated[Path, path_option(help="Where runs lie; this one in a directory of its name.")] = Path(
        "runs"
    ),
    lineage: Lineage = 0,
    go_on: Annotated[
        bool, typer.Option("--go-on", help="If the run is there already, go on with it, as resume does.")
    ] = False,
    unattended: Annotated[
        bool, typer.Option("--unattended", help="Nobody asked for this start: a cancelled lineage stays so.")
    ] = False,
) -> None:
    """Run a campaign: baseline, hypotheses, verdicts, report."""
    loaded = load_campaign(campaign, profile.value if profile else None, overrides or ())
    paths = RunPaths((run_dir / loaded.spec.name).resolve())
    check_may_write(*written_by_a_controller(paths, paths.lineage(lineage)))
    create_run(loaded, paths, may_exist=go_on)
    carry_on(paths, lineage, unattended=unattended)
