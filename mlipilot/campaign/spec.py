"""The campaign file: its schema and defaults, its profiles, and the resolved form that a run keeps.

What one lineage of it runs, its pilot and its training seeds, is `CampaignSpec.for_lineage`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from mlipilot.campaign.baseline_recipe import check_recipe_values
from mlipilot.campaign.extent import Budget, Confirmation
from mlipilot.campaign.overrides import check_no_keys, parse_override
from mlipilot.campaign.pilots import check_prices, expand_names, first_of
from mlipilot.campaign.seeds import seeds_of_round
from mlipilot.campaign.space_check import check_searches, check_space
from mlipilot.datasets import find_dataset
from mlipilot.errors import InputError
from mlipilot.evaluation.scorecard import Profile, Scorecard, load_new_scorecard
from mlipilot.jobs.job_settings import JobSettings
from mlipilot.nearness import did_you_mean
from mlipilot.paths import RunPaths
from mlipilot.pilots.pilot_settings import PilotSettings
from mlipilot.pilots.space import Space
from mlipilot.yaml_io import line_of, load_yaml, validate

RUN_FORMAT = 1
RECIPES = Path(__file__).resolve().parent.parent / "recipes"


class DatasetSpec(BaseModel, extra="forbid", frozen=True):
    """Which data set, and its builder's options."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class CampaignSpec(BaseModel, extra="forbid", frozen=True):
    """One campaign, resolved: a profile merged in, paths taken relative to the campaign file."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$",
        description="lower-case letters, digits, _ and -, at most 64: the run's directory has it",
    )
    description: str = ""
    dataset: DatasetSpec
    recipe: str = Field(description="a recipe of the toolkit by name, or the path of a directory")
    recipe_values: dict[str, Any] = Field(
        default={}, description="what the baseline's recipe.yaml has instead, by dotted path"
    )
    scorecard: str
    pilot: PilotSettings
    pilots: list[PilotSettings] = Field(
        default=[], description="several pilots to be compared: lineages take them in turn"
    )
    space: Space = Field(
        default={}, description="what search pilots may set, by dotted path in the recipe's recipe.yaml"
    )
    seeds: list[int] = Field(min_length=1, description="training seeds of every candidate")
    confirm: Confirmation | None = Field(
        default=None, description="trains what was kept again with fresh seeds; null: nothing is confirmed"
    )
    budget: Budget
    jobs: JobSettings = JobSettings()
    profile: Profile = "smoke"
    format: int = RUN_FORMAT

    def for_lineage(self, number: int) -> CampaignSpec:
        """The spec as lineage `number` runs it.

        Lineages take the pilots in turn, and each round of them has training seeds of its own
        (`campaign/seeds.py`): pilots are compared on the same ones. Its `pilots` are those before its own.
        """
        pilots = self.pilots or [self.pilot]
        repeat, index = divmod(number, len(pilots))
        own = {"pilot": pilots[index], "pilots": pilots[:index]}
        return self.model_copy(update=own | {"seeds": seeds_of_round(self.seeds, repeat)})

    @model_validator(mode="before")
    @classmethod
    def _first_pilot(cls, data: Any) -> Any:
        return first_of(data)

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) != len(seeds) or min(seeds) < 0:
            raise ValueError("seeds must be distinct and not negative")
        return seeds


@dataclass(frozen=True)
class Campaign:
    """A resolved campaign with what it names: ready to run."""

    path: Path
    spec: CampaignSpec
    scorecard: Scorecard
    scorecard_path: Path
    recipe_path: Path
    written: CommentedMap
    """What the spec was made of, each key with the line on which it stands."""


def load_campaign(path: Path, profile: Profile | None = None, overrides: Sequence[str] = ()) -> Campaign:
    """Read, resolve and check a campaign and all that it names.

    `overrides` are `dotted.key=value` with YAML values; they win over the profile. Raises InputError.
    """
    raw = load_yaml(path)
    if not isinstance(raw, CommentedMap):
        raise InputError("a campaign is a mapping", file=path, line=1)
    check_no_keys(raw, path)
    chosen = profile or raw.get("profile") or "smoke"
    profiles = raw.pop("profiles", None) or CommentedMap()
    if chosen not in profiles and profile is not None:
        known = ", ".join(profiles) or "none"
        raise InputError(f"there is no profile {chosen!r}", file=path, mend=f"the profiles are: {known}")
    expand_names(raw, path)
    for name in profiles:
        # Each profile is checked, not only the chosen one, so that a fault shows before the day it is used.
        validate(_resolve(raw, profiles, name, overrides, path), CampaignSpec, path)
    data = _resolve(raw, profiles, chosen, overrides, path)
    spec = _with_recorded_pilots(validate(data, CampaignSpec, path), data, path)
    spec = _with_absolute_paths(spec, _dataset_options(spec, data, path), path)
    scorecard_path = (path.parent / spec.scorecard).resolve()
    scorecard = load_new_scorecard(scorecard_path)
    if scorecard.dataset != spec.dataset.name:
        raise InputError(
            f"the scorecard is for data set {scorecard.dataset!r}, the campaign's is {spec.dataset.name!r}",
            file=path,
            mend="name a scorecard that fits the data set",
        )
    recipe_path = find_recipe(spec.recipe, path)
    check_recipe_values(spec.recipe_values, recipe_path, data, path)
    check_space(spec.space, recipe_path, data, path)
    check_searches(spec.pilots or [spec.pilot], spec.space, data, path)
    if spec.budget.usd is not None:
        check_prices(spec.pilots or [spec.pilot], data, path)
    return Campaign(path, spec, scorecard, scorecard_path, recipe_path, data)


def _with_recorded_pilots(spec: CampaignSpec, data: Any, path: Path) -> CampaignSpec:
    """The spec with the pilots of the run that is to be replayed, where there is one. Raises InputError."""
    for index, pilot in enumerate(spec.pilots):
        if pilot.replay is not None:
            raise InputError(
                "a replay stands for all pilots of its run, and not beside others",
                file=path,
                line=line_of(data, ("pilots", index)),
                mend=f"write `pilot: {{replay: {pilot.replay}}}` in place of `pilots:`",
            )
    if spec.pilot.replay is None:
        return spec
    root = spec.pilot.replay.absolute()
    line = line_of(data, ("pilot", "replay"))
    if not RunPaths(root).spec.is_file():
        raise InputError(f"'pilot.replay': there is no run in {root}", file=path, line=line)
    recorded = load_locked(RunPaths(root).spec)
    pilots = [pilot.model_copy(update={"replay": root}) for pilot in recorded.pilots or [recorded.pilot]]
    if spec.pilots and len(spec.pilots) != len(pilots):
        raise InputError(
            f"'pilot.replay': the campaign lists {len(spec.pilots)} pilots, and {root} has {len(pilots)}",
            file=path,
            line=line,
            mend="leave `pilots:` out, or replay a run of the same ones",
        )
    return spec.model_copy(update={"pilot": pilots[0], "pilots": pilots if recorded.pilots else []})


def find_recipe(name: str, campaign_path: Path) -> Path:
    """The recipe's directory: one of the toolkit's by name, or a path relative to the campaign file.

    Raises InputError where it has no train.py.
    """
    shipped = sorted(entry.name for entry in RECIPES.iterdir() if (entry / "train.py").is_file())
    found = RECIPES / name if name in shipped else (campaign_path.parent / name).resolve()
    if not (found / "train.py").is_file():
        mend = did_you_mean(name, shipped, "the shipped recipes are")
        raise InputError(f"recipe {name!r} has no train.py at {found}", file=campaign_path, mend=mend)
    return found


class NewerRunError(InputError):
    """A later version made the run: what this one would say of it means nothing."""


def load_locked(path: Path) -> CampaignSpec:
    """The spec that a run keeps. Raises NewerRunError, and InputError for a damaged file."""
    raw = load_yaml(path)
    version = raw.get("format") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > RUN_FORMAT:
        raise NewerRunError(
            f"this run was made by a newer version (run format {version}; this one reads up to {RUN_FORMAT})",
            file=path,
            mend="use the version that made it, or a newer one",
        )
    if isinstance(raw, dict) and isinstance(raw.get("budget"), dict):  # a run from before there was a bound
        raw["budget"].setdefault("training_seconds_over_baseline", None)
    if isinstance(raw, dict) and isinstance(
        raw.get("confirm"), dict
    ):  # nor a control of the labels or structures
        raw["confirm"] = {"permuted_labels": False, "leave_out": 0.0} | raw["confirm"]
    return validate(raw, CampaignSpec, path)


def dump_spec(spec: CampaignSpec) -> str:
    """The resolved spec as YAML, for `campaign.lock.yaml` and `plan`."""
    return dump_yaml(spec.model_dump(mode="json"))


def dump_yaml(value: Any) -> str:
    """`value` as block-style YAML."""
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 100
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()


def _dataset_options(spec: CampaignSpec, data: Any, path: Path) -> BaseModel:
    """The options of the campaign's data set. Raises InputError for what it does not have."""
    dataset = find_dataset(spec.dataset.name, path)
    return validate(data["dataset"].get("options") or {}, dataset.options, path)


def _with_absolute_paths(spec: CampaignSpec, options: BaseModel, path: Path) -> CampaignSpec:
    """Paths among the data set's options are seen from the campaign file; a run is resumed from anywhere."""
    found = {name: getattr(options, name) for name in options.model_fields_set}
    absolute = {
        name: str((path.parent / value).resolve()) for name, value in found.items() if isinstance(value, Path)
    }
    dataset = spec.dataset.model_copy(update={"options": spec.dataset.options | absolute})
    return spec.model_copy(update={"dataset": dataset})


def _resolve(
    raw: CommentedMap, profiles: CommentedMap, chosen: str, overrides: Sequence[str], path: Path
) -> CommentedMap:
    """The campaign in one profile: what a key may be can depend on another that an override sets."""
    data = _overlay(raw, profiles.get(chosen) or CommentedMap())
    data["profile"] = chosen
    for override in overrides:
        _apply_override(data, override)
        expand_names(data, path)
    check_no_keys(data, path)
    return data


def _overlay(base: CommentedMap, override: CommentedMap) -> CommentedMap:
    """`override` laid over a copy of `base`, each key keeping the line on which it was written."""
    merged = CommentedMap()
    for source in (base, override):
        for key, value in source.items():
            old = merged.get(key)
            both_maps = isinstance(old, CommentedMap) and isinstance(value, CommentedMap)
            merged[key] = _overlay(old, value) if both_maps else value
            if key in (source.lc.data or {}):
                merged.lc.add_kv_line_col(key, source.lc.data[key])
    return merged


def _apply_override(data: CommentedMap, override: str) -> None:
    name, value = parse_override(override)
    parts = name.split(".")
    for part in parts[:-1]:
        data = data.setdefault(part, CommentedMap())
        if not isinstance(data, CommentedMap):
            raise InputError(f"--set {name}: {part} is not a mapping", mend=f"give {part} a whole value")
    data[parts[-1]] = value
    (data.lc.data or {}).pop(parts[-1], None)  # the file's line says something else
