"""`mlipilot data`: build a data set, make its labels at scale, import one of one's own."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ValidationError
from rich.console import Console

from mlipilot.audit.files import sha256_file
from mlipilot.audit.manifest import MANIFEST, check_manifest, is_finished
from mlipilot.campaign.overrides import parse_override
from mlipilot.cli import data_import
from mlipilot.cli.console import ConsoleObserver, few_lines, say, stdout
from mlipilot.cli.types import AsJson, path_argument, path_option, print_json
from mlipilot.datasets import DATASETS, find_dataset
from mlipilot.datasets.base import check_new, check_same, read_provenance
from mlipilot.datasets.qm7_b3lyp.qm7_options import Qm7B3lypOptions
from mlipilot.errors import CheckFailedError, InputError
from mlipilot.nearness import did_you_mean

app = typer.Typer(help="Data sets.", no_args_is_help=True)
app.command("import")(data_import.import_)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The data set, such as cu_emt.")]
Seed = Annotated[int | None, typer.Option(help="The seed that every structure follows from.")]
Output = Annotated[Path | None, path_option(help="Where to; data/NAME if not given.")]
Qm7 = Annotated[Path | None, path_option("--qm7", metavar="FILE", help="Your qm7.mat, for qm7_b3lyp.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="An option of the data set; repeatable."),
]
Work = Annotated[Path, path_argument(metavar="DIRECTORY", help="Where labels are made: NAME.labels.")]


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
    target = (output or Path("data") / name).resolve()
    to_lay_out = _labelled(name, options) if lay_out else None
    was_there = is_finished(target)
    if was_there:
        problems = check_manifest(target, allow_extra=True)
        if problems:
            raise CheckFailedError(f"{problems[0]}; remove {target} to build it anew")
        check_same(target, name, options)
    elif to_lay_out is not None:
        check_new(target)
        _lay_out(to_lay_out, target)
        return
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        with ConsoleObserver(Console(stderr=True, highlight=False) if as_json else stdout) as observer:
            observer.event(f"building the data set {name}")
            DATASETS[name].build(options, target, observer.data_progress)
    _tell(name, target, was_there, as_json)


def _tell(name: str, target: Path, was_there: bool, as_json: bool) -> None:
    digest, provenance = sha256_file(target / MANIFEST), read_provenance(target)
    origin, lacking = provenance.get("molecules_are"), provenance.get("without_label", [])
    if as_json:
        told = {"name": name, "path": str(target), "manifest_sha256": digest, "was_there": was_there}
        print_json(told | {"molecules_are": origin, "without_label": lacking})
        return
    lines = [str(target), f"manifest SHA-256 {digest}"]
    if was_there:
        lines.append("it was there, made with these options: nothing was built")
    if origin:
        lines.append(f"its molecules are {origin}")
    say("\n".join(lines + _lacking(lacking)))


def _lacking(frames: list[str]) -> list[str]:
    if not frames:
        return []
    return [f"without a label, and never used: {len(frames)} geometries", *few_lines(frames, "--json")]


@app.command("plan")
def plan(
    name: Name, seed: Seed = None, qm7: Qm7 = None, settings: Set = None, as_json: AsJson = False
) -> None:
    """Say how many labels a data set takes and how many core-hours; a label is made to time this machine."""
    from mlipilot.datasets.qm7_b3lyp.estimate import estimate

    found = estimate(_labelled(name, _options(name, seed, qm7, settings)))
    if as_json:
        print_json(asdict(found))
    else:
        say(found.words)


@app.command("label")
def label(
    work: Work,
    shard: Annotated[int, typer.Option(help="Which shard; `data status` says how many there are.")],
) -> None:
    """Label one shard, or what is missing of it: what a task of sbatch/label.sbatch does."""
    from mlipilot.datasets.qm7_b3lyp.label_shards import label_shard

    label_shard(work, shard)
    say(f"shard {shard} of {work} is finished")


@app.command("status")
def status(work: Work, as_json: AsJson = False) -> None:
    """Say how many molecules are labelled, how long the rest takes, and which geometries got no label."""
    from mlipilot.datasets.qm7_b3lyp.tally import Tally, duration, examine
    from mlipilot.datasets.qm7_b3lyp.work import read_plan, unfinished

    laid_out = read_plan(work)
    tally, made = Tally(work, laid_out), examine(work, laid_out)
    open_shards = unfinished(work, laid_out)
    left = [made.slowness * seconds for seconds in tally.left] if made.slowness else []
    if as_json:
        told: dict[str, Any] = {
            "molecules_done": tally.done,
            "molecules": tally.total,
            "unfinished_shards": open_shards,
        }
        told |= {"core_hours_left": sum(left) / 3600 if made.slowness else None}
        print_json(told | {"without_label": made.without_label})
        return
    share = f"{100 * tally.seconds / tally.all_seconds:.0f} % of the work" if tally.total else "nothing to do"
    line = (
        f"{tally.done} of {tally.total} molecules, {share}; "
        f"{len(open_shards)} of {len(laid_out.shards)} shards open"
    )
    if left:
        hours, soonest = sum(left) / 3600, duration(max(left))
        line += f"\nabout {hours:.2g} core-hours left, {soonest} with a core for each shard"
    say("\n".join([line, *_lacking(made.without_label)]))


def _options(name: str, seed: int | None, qm7: Path | None, settings: list[str] | None) -> BaseModel:
    """The options of a data set. Raises InputError naming the wrong one."""
    dataset = find_dataset(name)
    values: dict[str, Any] = {} if seed is None else {"seed": seed}
    if qm7 is not None:
        values |= {"source": "qm7", "qm7": str(qm7.resolve())}
    values |= dict(map(parse_override, settings or []))
    try:
        options = dataset.options.model_validate(values)
    except ValidationError as error:
        raise _wrong_option(name, error) from None
    if isinstance(options, Qm7B3lypOptions) and options.qm7 is not None:
        from mlipilot.datasets.qm7_b3lyp.qm7_file import check_file  # ASE: not before it is needed

        check_file(options.qm7, options.qm7_sha256)
    return options


def _wrong_option(name: str, error: ValidationError) -> InputError:
    # a misspelt key is what the reader wants to see, whatever else is wrong
    fault = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    key = ".".join(map(str, fault["loc"]))
    if fault["type"] != "extra_forbidden":
        where = f"{name}: {key}" if key else name
        return InputError(f"{where}: {fault['msg']}", mend="correct what --set, --seed or --qm7 gives")
    keys = list(DATASETS[name].options.model_fields)
    return InputError(f"{name} has no option {key!r}", mend=did_you_mean(key, keys, "its options are"))


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
    say(
        f"{work}: {len(laid_out.shards)} shards\nlabel them with: "
        f"sbatch --array=0-{len(laid_out.shards) - 1} sbatch/label.sbatch {work}\n"
        "then the same `mlipilot data build` without --lay-out"
    )
