"""`mlipilot data`: build a data set, make its labels at scale, import one of one's own."""

from __future__ import annotations

import difflib
import io
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from mlipilot.audit.files import sha256_file
from mlipilot.audit.manifest import MANIFEST, check_manifest, is_finished
from mlipilot.cli import data_import
from mlipilot.cli.console import ConsoleObserver, stdout
from mlipilot.cli.types import AsJson, print_json
from mlipilot.datasets import DATASETS
from mlipilot.datasets.qm7_b3lyp.options import Qm7B3lypOptions
from mlipilot.errors import CheckFailedError, InputError

app = typer.Typer(help="Data sets.", no_args_is_help=True)
app.command("import")(data_import.import_)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The data set, such as cu_emt.")]
Seed = Annotated[int | None, typer.Option(help="The seed that every structure follows from.")]
Output = Annotated[Path | None, typer.Option(help="Where to; data/NAME if not given.")]
Qm7 = Annotated[Path | None, typer.Option("--qm7", metavar="FILE", help="Your qm7.mat, for qm7_b3lyp.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="An option of the data set; repeatable."),
]
Work = Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Where labels are made: NAME.labels.")]


@app.command("build")
def build(
    name: Name,
    seed: Seed = None,
    output: Output = None,
    qm7: Qm7 = None,
    settings: Set = None,
    lay_out: Annotated[
        bool, typer.Option("--lay-out", help="Only write down what is to be labelled, for a Slurm array.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build a data set, deterministically from its seed, with provenance and a manifest."""
    options = _options(name, seed, qm7, settings)
    target = _target(name, output)
    if lay_out:
        _lay_out(_labelled(name, options), target)
        return
    if is_finished(target):
        problems = check_manifest(target, allow_extra=True)
        if problems:
            raise CheckFailedError(f"{problems[0]}; remove {target} to build it anew")
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        with ConsoleObserver() as observer:
            observer.event(f"building the data set {name}")
            DATASETS[name].build(options, target, observer.data_progress)
    digest = sha256_file(target / MANIFEST)
    if as_json:
        print_json({"name": name, "path": str(target), "manifest_sha256": digest})
    else:
        stdout.print(f"{target}\nmanifest SHA-256 {digest}", soft_wrap=True)


@app.command("plan")
def plan(
    name: Name, seed: Seed = None, qm7: Qm7 = None, settings: Set = None, as_json: AsJson = False
) -> None:
    """Say how many labels a data set takes and how many core-hours; a label is made to time this machine."""
    from mlipilot.datasets.qm7_b3lyp.estimate import estimate

    found = estimate(_labelled(name, _options(name, seed, qm7, settings)))
    if as_json:
        print_json(found.as_dict())
    else:
        stdout.print(found.words, soft_wrap=True)


@app.command("label")
def label(
    work: Work,
    shard: Annotated[int, typer.Option(help="Which shard; `data status` says how many there are.")],
) -> None:
    """Label one shard, or what is missing of it: what a task of sbatch/label.sbatch does."""
    from mlipilot.datasets.qm7_b3lyp.labelling import label_shard

    label_shard(work, shard)
    stdout.print(f"shard {shard} of {work} is finished", soft_wrap=True)


@app.command("status")
def status(work: Work, as_json: AsJson = False) -> None:
    """Say how many molecules are labelled."""
    from mlipilot.datasets.qm7_b3lyp.work import done_seconds, read_plan, unfinished

    laid_out = read_plan(work)
    done, total, seconds, all_seconds = done_seconds(work, laid_out)
    open_shards = unfinished(work, laid_out)
    if as_json:
        print_json({"molecules_done": done, "molecules": total, "unfinished_shards": open_shards})
        return
    share = f"{100 * seconds / all_seconds:.0f} % of the work" if all_seconds else "nothing to do"
    stdout.print(
        f"{done} of {total} molecules, {share}; {len(open_shards)} of {len(laid_out.shards)} shards open"
    )


def _target(name: str, output: Path | None) -> Path:
    return (output or Path("data") / name).resolve()


def _options(name: str, seed: int | None, qm7: Path | None, settings: list[str] | None) -> BaseModel:
    """The options of a data set. Raises InputError naming the wrong one."""
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        mend = f"did you mean {near[0]!r}?" if near else f"the data sets are: {', '.join(DATASETS)}"
        raise InputError(f"unknown data set {name!r}", mend=mend)
    values: dict[str, Any] = {} if seed is None else {"seed": seed}
    if qm7 is not None:
        values |= {"source": "qm7", "qm7": str(qm7.resolve())}
    values |= dict(_setting(text) for text in settings or [])
    try:
        return DATASETS[name].options.model_validate(values)
    except ValidationError as error:
        raise _wrong_option(name, error) from None


def _wrong_option(name: str, error: ValidationError) -> InputError:
    # a misspelt key is what the reader wants to see, whatever else is wrong
    fault = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    key = ".".join(map(str, fault["loc"]))
    if fault["type"] != "extra_forbidden":
        return InputError(f"{name}: {key}: {fault['msg']}" if key else f"{name}: {fault['msg']}")
    keys = list(DATASETS[name].options.model_fields)
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.5)
    mend = f"did you mean {near[0]!r}?" if near else f"its options are: {', '.join(keys)}"
    return InputError(f"{name} has no option {key!r}", mend=mend)


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set {text}: KEY=VALUE is expected")
    try:
        return key, YAML(typ="safe").load(io.StringIO(value))
    except YAMLError:
        raise InputError(f"--set {text}: the value is not YAML") from None


def _labelled(name: str, options: BaseModel) -> Qm7B3lypOptions:
    if not isinstance(options, Qm7B3lypOptions) or options.source == "shipped":
        raise InputError(
            f"no labels are to be made for {name} with these options",
            mend="qm7_b3lyp makes them with --qm7 FILE or --set source=embedded",
        )
    return options


def _lay_out(options: Qm7B3lypOptions, target: Path) -> None:
    from mlipilot.datasets.qm7_b3lyp.build import building, prepare, work_dir

    work = work_dir(target)
    with building(work):
        laid_out = prepare(work, options)
    stdout.print(
        f"{work}: {len(laid_out.shards)} shards\nlabel them with: "
        f"sbatch --array=0-{len(laid_out.shards) - 1} sbatch/label.sbatch {work}\n"
        "then the same `mlipilot data build` without --lay-out",
        soft_wrap=True,
    )
