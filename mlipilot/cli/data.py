"""`mlipilot data`: build a data set by itself, or import one's own."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from mlipilot.audit.files import sha256_file
from mlipilot.audit.manifest import MANIFEST, check_manifest, is_finished
from mlipilot.cli import data_import
from mlipilot.cli.console import ConsoleObserver, stdout
from mlipilot.cli.types import AsJson, print_json
from mlipilot.datasets import DATASETS
from mlipilot.errors import CheckFailedError, InputError

app = typer.Typer(help="Data sets.", no_args_is_help=True)
app.command("import")(data_import.import_)


@app.command("build")
def build(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The data set, such as cu_emt.")],
    seed: Annotated[int | None, typer.Option(help="The seed that every structure follows from.")] = None,
    output: Annotated[Path | None, typer.Option(help="Where to; data/NAME if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Build a data set, deterministically from its seed, with provenance and a manifest."""
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        mend = f"did you mean {near[0]!r}?" if near else f"the data sets are: {', '.join(DATASETS)}"
        raise InputError(f"unknown data set {name!r}", mend=mend)
    target = (output or Path("data") / name).resolve()
    if is_finished(target):
        problems = check_manifest(target, allow_extra=True)
        if problems:
            raise CheckFailedError(f"{problems[0]}; remove {target} to build it anew")
    else:
        _build(name, seed, target)
    digest = sha256_file(target / MANIFEST)
    if as_json:
        print_json({"name": name, "path": str(target), "manifest_sha256": digest})
    else:
        stdout.print(f"{target}\nmanifest SHA-256 {digest}", soft_wrap=True)


def _build(name: str, seed: int | None, target: Path) -> None:
    dataset = DATASETS[name]
    try:
        options = dataset.options.model_validate({} if seed is None else {"seed": seed})
    except ValidationError as error:
        raise InputError(f"--seed: {error.errors()[0]['msg']}") from None
    target.parent.mkdir(parents=True, exist_ok=True)
    with ConsoleObserver() as observer:
        observer.event(f"building the data set {name}")
        dataset.build(options, target, observer.data_progress)
