"""Whether a campaign's declared space fits its recipe, and whether its search pilots can be had."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mlipilot.campaign.baseline_recipe import recipe_text
from mlipilot.errors import InputError
from mlipilot.pilots.pilot_settings import SEARCHES, PilotSettings, missing_package
from mlipilot.pilots.space import Space, first_misfit
from mlipilot.yaml_io import line_of


def check_space(space: Space, recipe: Path, data: Any, path: Path) -> None:
    """Every path of the space has a value in the recipe's recipe.yaml that fits. Raises InputError."""
    if not space:
        return
    misfit = first_misfit(recipe_text(recipe, "space", data, path), space)
    if misfit is not None:
        raise InputError(
            f"'space.{misfit.path}': {misfit.problem}",
            file=path,
            line=line_of(data, ("space", misfit.path)),
            mend=misfit.mend,
        )


def check_searches(pilots: Sequence[PilotSettings], space: Space, data: Any, path: Path) -> None:
    """Every search pilot has a space and the package that it needs. Raises InputError."""
    for index, pilot in enumerate(pilots):
        location = ("pilots", index) if data.get("pilots") else ("pilot",)
        if pilot.kind not in SEARCHES:
            continue
        if not space:
            raise InputError(
                f"the {pilot.label} pilot searches a space, and the campaign declares none",
                file=path,
                line=line_of(data, location),
                mend="add `space:`, such as {optimiser.learning_rate: {low: 0.001, high: 0.1, log: true}}",
            )
        if pilot.replay is not None and pilot.kind != "hybrid":
            continue  # nothing is searched
        if find_spec(SEARCHES[pilot.kind]) is None:
            raise missing_package(pilot.kind, path, line_of(data, location))
