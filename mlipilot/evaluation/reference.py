"""Reference values by the same functions that measure a model, computed once and kept beside the data.

`python -m mlipilot.evaluation.reference --scorecard S --profile P --output FILE`
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import ase
from pydantic import BaseModel, ValidationError, model_validator

from mlipilot.audit.files import sha256_bytes, write_json
from mlipilot.errors import InputError, MlipilotError
from mlipilot.evaluation.bench import Bench
from mlipilot.evaluation.catalog import GROUPS
from mlipilot.evaluation.crystal import reference_calculator
from mlipilot.evaluation.loaded import read_noted
from mlipilot.evaluation.metric_settings import REFERENCE_FILE, EvaluationSettings
from mlipilot.evaluation.metrics_file import reason_line
from mlipilot.evaluation.scorecard import load_scorecard
from mlipilot.evaluation.snapshots import Snapshot

_DECLARED = {key: value for group in GROUPS for key, value in group.reference.items()}
_USED = {"crystal", "lattice"} | {
    section.name
    for group in GROUPS
    for section in group.sections
    if group.reference and "crystal" in section.systems
}


class ReferenceValues(BaseModel, extra="allow", frozen=True, allow_inf_nan=False):
    """What the reference calculator says of everything that the groups compare, by the keys they declare."""

    __pydantic_extra__: dict[str, float | list[float] | Snapshot | list[Snapshot]]

    format: Literal["mlipilot-reference/1"] = "mlipilot-reference/1"
    settings_digest: str
    ase_version: str

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    @model_validator(mode="after")
    def _complete(self) -> ReferenceValues:
        if unlike := sorted(self.__pydantic_extra__.keys() ^ _DECLARED.keys()):
            raise ValueError(
                f"it lacks values that the metrics declare now, or has others: {', '.join(unlike)}"
            )
        return self


def settings_digest(settings: EvaluationSettings) -> str:
    """SHA-256 of the settings that reference values depend on, and of the ASE version that makes them."""
    return sha256_bytes((ase.__version__ + settings.model_dump_json(include=_USED)).encode())


def compute(settings: EvaluationSettings) -> ReferenceValues:
    """All reference values; a few seconds of EMT for the smoke profile."""
    bench = Bench(reference_calculator(settings.crystal), settings)
    values = {key: value(bench) for key, value in _DECLARED.items()}
    digest = settings_digest(settings)
    return ReferenceValues(settings_digest=digest, ase_version=ase.__version__, **values)


def obtain(
    data_dir: Path, settings: EvaluationSettings, progress: Callable[[str], None]
) -> tuple[ReferenceValues, str]:
    """The values beside the data when they were made with these settings, else computed; and which it was."""
    path = data_dir / REFERENCE_FILE
    if path.is_file():
        try:
            kept = ReferenceValues.model_validate_json(read_noted(path))
        except ValidationError as error:
            why = reason_line(error.errors()[0]["msg"].removeprefix("Value error, "))
        else:
            if kept.settings_digest == settings_digest(settings):
                return kept, "file"
            why = "it was made with other settings"
        command = f"python -m mlipilot.evaluation.reference --scorecard S --profile P --output {path}"
        mend = f"write it anew with `{command}`; that of a run is sealed and stays as it is"
        progress(f"reference computed afresh: {InputError(why, file=path, mend=mend)}")
    return compute(settings), "computed"


def write(settings: EvaluationSettings, output: Path) -> ReferenceValues:
    """Compute the values and publish them as JSON in `output`. Raises InputError without a crystal."""
    if settings.system != "crystal":
        raise InputError(
            f"there are no values to compute where settings.system is {settings.system!r}",
            mend="the references of structures and molecules are files of the data set",
        )
    values = compute(settings)
    write_json(output, values.model_dump(mode="json"))
    return values


def main(arguments: list[str] | None = None) -> int:
    """The command line. Exit status 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m mlipilot.evaluation.reference", description=__doc__)
    parser.add_argument("--scorecard", type=Path, required=True)
    parser.add_argument("--profile", choices=("smoke", "full"), default="smoke")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        write(load_scorecard(options.scorecard).settings_for(options.profile), options.output)
    except MlipilotError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
