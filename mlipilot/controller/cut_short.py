"""What turns that were cut short leave in a lineage, when no further turn will clear it away."""

from __future__ import annotations

import shutil

from mlipilot.controller.state import State
from mlipilot.paths import LineagePaths


def drop_unrecorded(lineage: LineagePaths, state: State) -> None:
    """Remove the draft under way and each revision that was published, not recorded: no job has seen it."""
    recorded = {lineage.revision(i.number, draft.revision) for i in state.iterations for draft in i.drafts}
    drafts = lineage.revision(0, 0).parent
    published = set(drafts.iterdir()) if drafts.is_dir() else set()
    staging = lineage.draft.with_name(f".{lineage.draft.name}.staging")
    for leftover in (lineage.draft, staging, *sorted(published - recorded)):
        if leftover.is_dir():
            shutil.rmtree(leftover)
