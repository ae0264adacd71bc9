"""What a campaign changes in a recipe before anyone else does: one recipe serves several data sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlipilot.audit.files import write_atomic
from mlipilot.errors import InputError
from mlipilot.pilots.space import RECIPE
from mlipilot.yaml_io import line_of
from mlipilot.yaml_places import editable_places, with_values


def recipe_text(recipe: Path, section: str, data: Any, path: Path) -> str:
    """The recipe.yaml that a section of the campaign in `path` is about. Raises InputError naming that."""
    try:
        return (recipe / RECIPE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{section!r} is about {recipe / RECIPE}, which cannot be read: {error}",
            file=path,
            line=line_of(data, (section,)),
            mend=f"give the recipe one, or leave {section} out",
        ) from None


def check_recipe_values(values: Mapping[str, Any], recipe: Path, data: Any, path: Path) -> None:
    """Raises InputError for a path that the recipe's recipe.yaml does not have on one line."""
    if not values:
        return
    text = recipe_text(recipe, "recipe_values", data, path)
    for key, place in editable_places(text, values).items():
        if place is None:
            raise InputError(
                f"'recipe_values.{key}': {recipe / RECIPE} has no such value on one line",
                file=path,
                line=line_of(data, ("recipe_values", key)),
                mend="give the dotted path of a value, such as optimiser.learning_rate",
            )


def set_recipe_values(recipe: Path, values: Mapping[str, Any]) -> None:
    """Write the values into a copy of the recipe, comments kept. They were checked."""
    if values:
        file = recipe / RECIPE
        text = with_values(file.read_text(encoding="utf-8"), values)
        assert text is not None  # noqa: S101 - check_recipe_values saw to it
        write_atomic(file, text)
