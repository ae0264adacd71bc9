"""`mlipilot evaluate`: measure and score one handed-over model, outside any campaign."""

from __future__ import annotations

import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from mlipilot.cli.console import stdout
from mlipilot.cli.types import AsJson, ProfileName, print_json
from mlipilot.errors import CheckFailedError, InputError
from mlipilot.evaluation.scorecard import load_scorecard, score


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL_DIR", help="config.json and weights.safetensors.")],
    scorecard: Annotated[Path, typer.Option(help="The scorecard.")],
    data: Annotated[Path | None, typer.Option(help="The data set; data/NAME if not given.")] = None,
    profile: Annotated[
        ProfileName, typer.Option(help="How long each metric is measured.")
    ] = ProfileName.smoke,
    output: Annotated[Path | None, typer.Option(help="Keep metrics.json and curves.npz here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a model by a scorecard; exit status 1 when a gate fails."""
    card = load_scorecard(scorecard)
    source = data or Path("data") / card.dataset
    if not (source / "test").is_dir():
        raise InputError(
            "there is no data set here", file=source, mend=f"`mlipilot data build {card.dataset}`"
        )
    from mlipilot.evaluation.runner import evaluate as measure

    # Importing MACE prints on standard output, which is for the result alone.
    with tempfile.TemporaryDirectory() as scratch, redirect_stdout(sys.stderr):
        target = output or Path(scratch)
        target.mkdir(parents=True, exist_ok=True)
        metrics = measure(model, source, scorecard, profile.value, "test", target, _tell)
    result = score(card, metrics)
    if as_json:
        print_json({"metrics": metrics, "score": result.model_dump()})
    else:
        table = Table("gate", "bound", "value", "", title=f"{model} by {card.name}", title_justify="left")
        for gate in result.gates:
            value = "failed" if gate.value is None else f"{gate.value:.4g}"
            table.add_row(
                gate.metric, gate.bound, value, "pass" if gate.passed else f"FAIL {gate.reason or ''}"
            )
        stdout.print(table)
    if not result.feasible:
        raise CheckFailedError(f"{sum(not gate.passed for gate in result.gates)} gates fail")


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
