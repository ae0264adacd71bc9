"""`mlipilot merge`: the lineages of several clusters in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mlipilot.cli.console import say
from mlipilot.cli.types import existing_run, path_argument
from mlipilot.merge.merging import merge_runs
from mlipilot.paths import RunPaths


def merge(
    into: Annotated[Path, path_argument(metavar="INTO", help="A run, or a directory that is to become one.")],
    sources: Annotated[
        list[Path], path_argument(metavar="FROM...", help="Runs of the same campaign with other lineages.")
    ],
) -> None:
    """Copy the lineages of other runs of one campaign, such as another cluster's, into one run."""
    target = RunPaths(into.resolve())
    merge_runs(target, [existing_run(source) for source in sources], say)
    numbers = ", ".join(str(lineage.number) for lineage in target.lineages())
    say(f"{target.root} has lineages {numbers}; `mlipilot verify {target.root}` checks it")
