"""`mlipilot plan`: what a campaign would run and what it costs at most; nothing is started."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from mlipilot.campaign.spec import dump_spec, load_campaign
from mlipilot.cli.console import say, stdout
from mlipilot.cli.types import AsJson, CampaignFile, Overrides, ProfileName, print_json
from mlipilot.controller.planning import make_plan


def plan(
    campaign: CampaignFile,
    profile: Annotated[ProfileName | None, typer.Option(help="Which profile of the campaign.")] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show what would run and what it costs at most; start nothing."""
    loaded = load_campaign(campaign, profile.value if profile else None, overrides or ())
    planned = make_plan(loaded)
    if as_json:
        print_json(planned)
        return
    stdout.print(f"[bold]{loaded.spec.name}[/bold], resolved:\n")
    stdout.print(dump_spec(loaded.spec), markup=False)
    table = Table("what", "at most", title="Plan", title_justify="left")
    for what, bound in planned["bounds"].items():
        table.add_row(what, str(bound))
    stdout.print(table)
    gates = Table("gate", "bound", "why", title=f"Scorecard {loaded.scorecard.name}", title_justify="left")
    for gate in loaded.scorecard.gates:
        gates.add_row(gate.metric, gate.text, gate.why)
    stdout.print(gates)
    for command in planned["commands"]:
        say(command)
    for name, script in planned["scripts"].items():
        stdout.rule(name)
        say(script)
