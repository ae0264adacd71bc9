"""`mlipilot ablate`: what each confirmed step of a run is worth in the model that stands."""

from __future__ import annotations

from mlipilot.audit.rights import check_may_write, written_by_a_controller
from mlipilot.cli.carry import carry_on
from mlipilot.cli.console import say
from mlipilot.cli.types import Lineage, RunDirectory, begun_lineage, existing_run
from mlipilot.controller.asking_ablation import ask_ablation


def ablate(run: RunDirectory, lineage: Lineage = 0) -> None:
    """Train the confirmed recipe less each kept step with the fresh seeds, and say what each was worth."""
    paths = existing_run(run)
    check_may_write(*written_by_a_controller(paths, begun_lineage(paths, lineage)))
    for step in ask_ablation(paths, lineage).steps:
        if step.recipe_digest is None:
            say(f"iteration {step.iteration} cannot be taken out: later steps have changed its lines")
    if paths.image_digest.exists():
        say(f"asked; {paths.resuming(lineage)} ablates it")
        return
    carry_on(paths, lineage)
