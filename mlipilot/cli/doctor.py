"""`mlipilot doctor`: is this machine ready for a campaign, and if not, what has to be mended."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from mlipilot.campaign.spec import load_campaign
from mlipilot.cli.console import say, stdout
from mlipilot.cli.types import AsJson, Overrides, ProfileName, path_argument, path_option, print_json
from mlipilot.doctor.check import Check
from mlipilot.doctor.examine import examine
from mlipilot.doctor.site import Site
from mlipilot.errors import CheckFailedError, InputError

_WORDS = {"ok": "ok", "warning": "warn", "failed": "FAIL", "skipped": "skip"}
_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}


def doctor(
    campaign: Annotated[
        Path | None,
        path_argument(metavar="CAMPAIGN.yaml", help="The campaign that the machine is to be ready for."),
    ] = None,
    profile: Annotated[ProfileName | None, typer.Option(help="Which profile of the campaign.")] = None,
    overrides: Overrides = None,
    run_dir: Annotated[Path, path_option(help="Where runs lie or are to lie.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Check Slurm, Apptainer, the image, the filesystem, the GPU and the endpoint; say how to mend each."""
    if campaign is None and (profile or overrides):
        raise InputError(
            "--profile and --set are of a campaign, and none is given", mend="name CAMPAIGN.yaml, too"
        )
    spec = (
        load_campaign(campaign, profile.value if profile else None, overrides or ()).spec
        if campaign
        else None
    )
    checks = examine(spec, run_dir.absolute(), Site.from_environment())
    if as_json:
        found = list(checks)
        print_json([dataclasses.asdict(check) for check in found])
    elif stdout.is_terminal:
        found = _as_table(checks)
    else:
        found = list(_as_lines(checks))
    failures = ", ".join(dict.fromkeys(check.name for check in found if check.status == "failed"))
    if failures:
        raise CheckFailedError(f"not ready: {failures}")


def _as_table(checks: Iterator[Check]) -> list[Check]:
    with stdout.status("looking at the machine …"):
        found = list(checks)
    table = Table("", "check")
    table.add_column("found, and how to mend it", overflow="fold")
    for check in found:
        text = Text(check.found)
        if check.mend:
            text.append(f"\nmend: {check.mend}", style="dim" if check.status == "skipped" else "italic")
        table.add_row(Text(_WORDS[check.status], style=_STYLES[check.status]), check.name, text)
    stdout.print(table)
    return found


def _as_lines(checks: Iterator[Check]) -> Iterator[Check]:
    """Each line as soon as it is known: some checks take seconds."""
    for check in checks:
        say(f"{_WORDS[check.status]:<4}  {check.name}: {check.found}")
        if check.mend:
            say(f"      mend: {check.mend}")
        yield check
