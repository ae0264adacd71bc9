"""What a variant of a candidate has in its own's place: other structures' labels, a recipe less a step.

It is made of the run's files alone, so that anybody can make it again and compare.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlipilot.audit.discarding import remove
from mlipilot.audit.events.running import JobFinished
from mlipilot.audit.files import write_atomic
from mlipilot.audit.manifest import is_finished
from mlipilot.campaign.spec import CampaignSpec
from mlipilot.controller.ablation import recipe_without
from mlipilot.controller.publishing import publishing
from mlipilot.controller.state import State
from mlipilot.controller.undoing import digest_of, tree
from mlipilot.datasets.permuting import permuted_labels
from mlipilot.jobs.commands import train_argv
from mlipilot.jobs.job_files import read_order
from mlipilot.paths import PERMUTED, JobKey, LineagePaths, RunPaths


def make_variant(run: RunPaths, lineage: LineagePaths, state: State, key: JobKey) -> None:
    """Have what a job's variant needs where the job looks for it; what else lies there goes."""
    if key.kind == "train" and key.variant == PERMUTED:
        _put(lineage, lineage.permuted(key) / "train", permuted_labels(run.data / "train", key.seed))
    elif key.kind == "train" and key.without is not None:
        _put(lineage, lineage.recipe_of(key), recipe_without(state, lineage, key.without) or {})


def other_variant(
    run: RunPaths, lineage: LineagePaths, spec: CampaignSpec, state: State, event: JobFinished
) -> Iterator[str]:
    """What is wrong with what a variant was trained on, or with what its training was told."""
    key, attempt = event.key, lineage.attempt(event.key, event.attempt)
    if not key.variant or event.job != "train" or not is_finished(attempt):
        return
    order, recipe = read_order(attempt), lineage.recipe_of(key)
    there = LineagePaths(Path(order.run) / lineage.root.name)  # as in a run that was moved since
    data, held = RunPaths(Path(order.run)).data, {str(there.recipe_of(key)): _digest(recipe)}
    if key.variant == PERMUTED:
        train, digest = (
            lineage.permuted(key) / "train",
            digest_of(permuted_labels(run.data / "train", event.seed)),
        )
        if _digest(train) != digest:
            yield f"{train}: these are not the labels that the run's data give with seed {event.seed}"
        data = there.permuted(key)
        held[str(data / "train")] = digest
    elif key.without is not None and _digest(recipe) != digest_of(
        recipe_without(state, lineage, key.without) or {}
    ):
        yield f"{recipe}: this is not the recipe that stands without step {key.without}"
    output = there.attempt(key, event.attempt) / "output"
    told = train_argv(order.argv[0], data, output, key.seed, spec.budget.optimizer_steps)
    if order.argv != told or order.cwd != str(there.recipe_of(key)) or order.read_only != held:
        yield f"{attempt}: its order is not that of a training of this variant"


def _digest(directory: Path) -> str:
    return digest_of(tree(directory))


def _put(lineage: LineagePaths, directory: Path, files: Mapping[str, bytes]) -> None:
    """Have a directory below a lineage hold these files and no others, through no link."""
    for place in reversed([directory, *directory.parents]):
        is_ours = lineage.root in place.parents
        if is_ours and os.path.lexists(place) and (place.is_symlink() or not place.is_dir()):
            remove(place)
    try:
        if directory.is_dir() and tree(directory) == files:
            return
    except OSError:  # there is what is no file
        pass
    remove(*(path for path in (directory,) if os.path.lexists(path)))
    with publishing(directory) as staging:
        for name, data in files.items():
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomic(staging / name, data)
