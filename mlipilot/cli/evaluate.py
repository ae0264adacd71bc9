"""`mlipilot evaluate`: measure and score one handed-over model, outside any campaign."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from mlipilot.cli.console import stdout
from mlipilot.cli.types import AsJson, ProfileName, path_argument, path_option, print_json
from mlipilot.errors import CheckFailedError, InputError
from mlipilot.evaluation.metrics_file import REFUSED, MetricsFile
from mlipilot.evaluation.scorecard import Profile, load_scorecard, score
from mlipilot.jobs.commands import EVALUATOR, evaluate_argv, job_environment, module_argv
from mlipilot.paths import METRICS


def evaluate(
    model: Annotated[Path, path_argument(metavar="MODEL_DIR", help="config.json and weights.safetensors.")],
    scorecard: Annotated[Path, path_option(help="The scorecard.")],
    data: Annotated[Path | None, path_option(help="The data set; data/NAME if not given.")] = None,
    profile: Annotated[
        ProfileName, typer.Option(help="How long each metric is measured.")
    ] = ProfileName.smoke,
    output: Annotated[Path | None, path_option(help="Keep metrics.json and curves.npz here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a model by a scorecard; exit status 1 when a gate fails."""
    card = load_scorecard(scorecard)
    source = data or Path("data") / card.dataset
    if not (source / "test").is_dir():
        raise InputError(
            "there is no data set here", file=source, mend=f"`mlipilot data build {card.dataset}`"
        )
    with tempfile.TemporaryDirectory() as scratch:
        target = output or Path(scratch) / "output"
        written = _measure(model, source, scorecard, profile.value, target, Path(scratch))
        metrics = json.loads(written.read_text(encoding="utf-8"))
    result = score(card, MetricsFile.model_validate(metrics))
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


def _measure(model: Path, data: Path, scorecard: Path, profile: Profile, output: Path, scratch: Path) -> Path:
    """Run the evaluator as a job does, whatever this shell's threads and numerical kernels are.

    What it has written: metrics.json, which may say that the hand-over is refused.
    """
    evaluator = module_argv(EVALUATOR, distrust=False)
    argv = evaluate_argv(evaluator, model, data, scorecard, profile, output, "test", "cpu")
    environment = job_environment(dict(os.environ), scratch, use_gpu=False)
    # Importing MACE prints on standard output, which is for the result alone.
    status = subprocess.run(argv, env=environment, stdout=sys.stderr.fileno(), check=False).returncode
    if status == InputError.exit_status:
        raise typer.Exit(status)  # the evaluator has said why
    if status not in (0, REFUSED):
        raise CheckFailedError(f"the evaluator ended with status {status}; its words are above")
    return output / METRICS
