"""What was tried anywhere in a run, from ledgers that may be written meanwhile."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mlipilot.audit.files import tree_digest
from mlipilot.audit.ledger import Ledger
from mlipilot.controller.other_lineages import listen
from mlipilot.controller.state import replay
from mlipilot.controller.tried import TriedRecipes
from mlipilot.pilots.recipe_identity import recipe_identity
from tests.report.scenarios import SCHEDULE, SCHEDULE_EDITS, WIDE
from tests.report.synthetic import SyntheticRun, make_spec


@pytest.fixture
def made(tmp_path: Path) -> SyntheticRun:
    """One reverted candidate after a draft that failed, and one that is training."""
    run = SyntheticRun(tmp_path / "run", make_spec(seeds=[1]))
    run.propose(0, None, {})
    run.candidate(0, 0.9)
    run.draft(1, 1, SCHEDULE, {"kind: constant": "kind: one_cicle"})
    run.smoke(1, 1, failed="schedule.kind is 'one_cicle'")
    run.draft(1, 2, SCHEDULE, SCHEDULE_EDITS)
    run.smoke(1, 2)
    run.propose(1, SCHEDULE, SCHEDULE_EDITS)
    run.candidate(1, 0.1)
    run.propose(2, WIDE, {"hidden_irreps: 4x0e": "hidden_irreps: 16x0e"})
    return run


def test_every_candidate_is_told_with_its_verdict_and_every_failed_draft(made: SyntheticRun) -> None:
    lineage, state = made.lineage, replay(made.ledger.records)
    tried = TriedRecipes(lineage).by_digest(state)
    assert tried[recipe_identity(made.run.recipe)].startswith("iteration 0, accepted: the baseline")
    assert tried[recipe_identity(lineage.recipe(1))].startswith("iteration 1, reverted: ")
    assert tried[recipe_identity(lineage.recipe(2))] == "iteration 2, no verdict yet"
    failed = tried[tree_digest(lineage.revision(1, 1) / "recipe")]
    assert failed == "revision 1 of iteration 1, its smoke step failed: schedule.kind is 'one_cicle'"
    assert len(tried) == 4


def test_other_lineages_count_for_a_pilot_that_can_be_told_of_them(made: SyntheticRun) -> None:
    other, here = made.run.lineage(1), made.run.lineage(0)
    shutil.move(here.root, other.root)
    here.root.mkdir()
    state = replay(Ledger(here.ledger).records)
    everywhere = TriedRecipes(here)

    def heard() -> dict[str, str]:
        return everywhere.by_digest(state, listen(made.run, here))

    told = heard()[recipe_identity(other.recipe(1))]
    assert told.startswith("iteration 1 of lineage 1, reverted: ")
    assert everywhere.by_digest(state) == {}

    whole = other.ledger.read_bytes()
    other.ledger.write_bytes(whole + b'{"seq": 99, "torn')  # it is being written
    assert len(heard()) == 4
    other.ledger.write_bytes(whole.replace(b"reverted", b"accepted"))  # broken: nothing in it counts
    assert heard() == {}
