"""What a variant of a candidate has in its own's place: other structures' labels, a recipe less a step.

It is made of the run's files alone, so that anybody can make it again and compare.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlipilot.audit.events.running import JobFinished
from mlipilot.audit.files import tree_digest, write_atomic
from mlipilot.audit.manifest import is_finished
from mlipilot.controller.ablation import recipe_without
from mlipilot.controller.publishing import publishing
from mlipilot.controller.state import State
from mlipilot.controller.undoing import Tree, digest_of, tree
from mlipilot.datasets.permuting import permuted_labels
from mlipilot.jobs.job_files import read_order
from mlipilot.paths import PERMUTED, JobKey, LineagePaths, RunPaths


def make_variant(run: RunPaths, lineage: LineagePaths, state: State, key: JobKey) -> None:
    """Have what a job's variant needs where the job looks for it."""
    if key.kind == "train" and key.variant == PERMUTED:
        _put(lineage.permuted(key) / "train", permuted_labels(run.data / "train", key.seed))
    elif key.kind == "train" and key.without is not None:
        _put(lineage.recipe_of(key), recipe_without(state, lineage, key.without) or {})


def other_labels(run: RunPaths, lineage: LineagePaths, event: JobFinished) -> Iterator[str]:
    """What is wrong with the labels of a training on permuted ones: the run's data and its seed give them."""
    attempt = lineage.attempt(event.key, event.attempt)
    if event.variant != PERMUTED or event.job != "train" or not is_finished(attempt):
        return
    train = lineage.permuted(event.key) / "train"
    digest = digest_of(permuted_labels(run.data / "train", event.seed))
    if digest not in read_order(attempt).read_only.values() or tree_digest(train) != digest:
        yield f"{train}: these are not the labels that the run's data give with seed {event.seed}"


def _put(directory: Path, files: Tree) -> None:
    """Have a directory hold these files and no others."""
    if directory.is_dir() and not directory.is_symlink() and tree(directory) == files:
        return
    with publishing(directory) as staging:
        for name, data in files.items():
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomic(staging / name, data)
