"""`mlipilot reproduce`: run one iteration again from its record, and say metric by metric what agrees."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.box import HEAVY_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlipilot.cli.console import ConsoleObserver, stdout
from mlipilot.cli.types import (
    AsJson,
    Lineage,
    RunDirectory,
    begun_lineage,
    existing_run,
    path_option,
    print_json,
)
from mlipilot.errors import CheckFailedError, InputError
from mlipilot.jobs.container_commands import Container
from mlipilot.report.text import number
from mlipilot.reproduce.image import check_image, network_of_containers
from mlipilot.reproduce.outcome import Outcome
from mlipilot.reproduce.record import Recorded, read_record
from mlipilot.reproduce.reproduction import FILE_NAME
from mlipilot.reproduce.reproduction import reproduce as run_again


def reproduce(
    run: RunDirectory,
    iteration: Annotated[int | None, typer.Option(min=0, help="Which iteration.")] = None,
    incumbent: Annotated[
        bool, typer.Option("--incumbent", help="The lineage's incumbent; so if none is named.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="One seed of the lineage; all if not given.")] = None,
    lineage: Lineage = 0,
    image: Annotated[
        Path | None, path_option(envvar="MLIPILOT_IMAGE", help="The image that the run was made in.")
    ] = None,
    output: Annotated[
        Path | None, path_option(help="Where to; ./reproduction-NAME-0003 if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Rebuild data, train and evaluate one iteration again; exit status 1 where it does not agree."""
    if incumbent and iteration is not None:
        raise InputError(f"--incumbent and --iteration {iteration} name two things", mend="give one of them")
    paths = existing_run(run)
    # A reproduction leaves no job behind: `kill` ends it as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ConsoleObserver(Console(stderr=True, highlight=False) if as_json else None) as observer:
        record = read_record(paths, begun_lineage(paths, lineage), iteration)
        observer.event(f"iteration {record.iteration}: chain, manifests and verdicts hold")
        seeds = record.chosen_seeds(seed)
        target = (output or Path(f"reproduction-{record.spec.name}-{record.iteration:04d}")).resolve()
        container = None if image is None else _checked(image.resolve(), record, observer)
        outcome = run_again(record, seeds, target, observer, container)
    if as_json:
        print_json(outcome.as_dict())
    else:
        _show(outcome, target / FILE_NAME)
    if outcome.problems:
        raise CheckFailedError("not reproduced: " + "; ".join(outcome.problems))


_PLAIN_WIDTH = 140
_STYLES = {"equal": "green", "within noise": "green", "differs": "bold red", "not judged": "dim"}


def _checked(image: Path, record: Recorded, observer: ConsoleObserver) -> Container:
    """The image, once it is known to be the run's, and what its containers can be cut off from."""
    observer.event(f"hashing {image}")
    check_image(image, record.image_sha256)
    container = Container(image, network_of_containers(image))
    if container.network == "host":
        observer.event("warning: no container can be cut off from the network here")
    return container


def _show(outcome: Outcome, file: Path) -> None:
    """What was compared: a table on a terminal, the same in plain columns elsewhere."""
    console = stdout if stdout.is_terminal else Console(width=_PLAIN_WIDTH, highlight=False)
    for weights in outcome.weights:
        word = Text("the same bytes", "green") if weights.same else Text("other bytes", "yellow")
        console.print(Text.assemble(f"seed {weights.seed}: weights {weights.here[:16]} ", word))
    table = Table(box=HEAVY_HEAD if stdout.is_terminal else None, pad_edge=False)
    table.add_column("metric", no_wrap=True)
    for heading in ("recorded", "here", "difference", "allowed"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for metric in outcome.metrics:
        difference = metric.difference
        table.add_row(
            metric.name,
            number(metric.recorded_mean, 4),
            number(metric.here_mean, 4),
            "" if metric.agreement == "equal" else number(difference),
            "" if metric.agreement in ("equal", "not judged") else number(metric.allowed),
            Text(metric.agreement, _STYLES[metric.agreement]),
        )
    if outcome.metrics:
        console.print(table)
        console.print(Text(outcome.summary), soft_wrap=True)
    console.print(Text(f"all figures: {file}"), soft_wrap=True)
