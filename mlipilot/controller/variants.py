"""What jobs of fresh seeds have in place of the search's files: fewer structures, other labels, a step less.

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
from mlipilot.controller.confirmation import asked_for
from mlipilot.controller.publishing import publishing
from mlipilot.controller.state import State
from mlipilot.controller.undoing import digest_of, tree
from mlipilot.datasets.drawing import drawn_structures
from mlipilot.datasets.permuting import permuted_labels
from mlipilot.jobs.commands import train_argv
from mlipilot.jobs.job_files import read_order
from mlipilot.paths import PERMUTED, JobKey, LineagePaths, RunPaths


def left_out(state: State, spec: CampaignSpec) -> float:
    """Which share of the training structures fresh seeds are trained without."""
    asked = asked_for(state, spec)
    return 0.0 if asked is None else asked.leave_out


def data_of(run: RunPaths, lineage: LineagePaths, spec: CampaignSpec, state: State, key: JobKey) -> Path:
    """What a job trains on, the run's data or others; holds `train/`."""
    is_own = key.fresh and (key.variant == PERMUTED or left_out(state, spec) > 0.0)
    return lineage.training_data(key) if is_own else run.data


def make_variant(run: RunPaths, lineage: LineagePaths, spec: CampaignSpec, state: State, key: JobKey) -> None:
    """Have what a job needs beside the search's files where it looks for it; what else lies there goes."""
    if key.kind != "train" or not key.fresh:
        return
    if (data := data_of(run, lineage, spec, state, key)) != run.data:
        _put(lineage, data / "train", _training_files(run, spec, state, key))
    if key.without is not None:
        _put(lineage, lineage.recipe_of(key), recipe_without(state, lineage, key.without) or {})


def other_variant(
    run: RunPaths, lineage: LineagePaths, spec: CampaignSpec, state: State, event: JobFinished
) -> Iterator[str]:
    """What is wrong with what a job of fresh seeds was trained on, or with what its training was told."""
    key, attempt = event.key, lineage.attempt(event.key, event.attempt)
    if not key.fresh or event.job != "train":
        return
    recipe, train = lineage.recipe_of(key), lineage.training_data(key) / "train"
    files = _training_files(run, spec, state, key)
    if _digest(train) != digest_of(files):
        yield f"{train}: this is not what the run's data give with seed {event.seed}"
    if key.without is not None and _digest(recipe) != digest_of(
        recipe_without(state, lineage, key.without) or {}
    ):
        yield f"{recipe}: this is not the recipe that stands without step {key.without}"
    if not is_finished(attempt):
        return
    order = read_order(attempt)
    run_then = RunPaths(Path(order.run))  # as in a run that was moved since
    there = LineagePaths(run_then.root / lineage.root.name)
    data, held = data_of(run_then, there, spec, state, key), {str(there.recipe_of(key)): _digest(recipe)}
    if files:
        held[str(data / "train")] = digest_of(files)
    output = there.attempt(key, event.attempt) / "output"
    told = train_argv(order.argv[0], data, output, key.seed, spec.budget.optimizer_steps)
    if order.argv != told or order.cwd != str(there.recipe_of(key)) or order.read_only != held:
        yield f"{attempt}: its order is not that of this training"


def _training_files(run: RunPaths, spec: CampaignSpec, state: State, key: JobKey) -> dict[str, bytes]:
    """The files that a job is trained on, where these are not the run's own."""
    if key.variant == PERMUTED:
        return permuted_labels(run.data / "train", key.seed)
    share = left_out(state, spec)
    return drawn_structures(run.data / "train", key.seed, share) if share > 0.0 else {}


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
