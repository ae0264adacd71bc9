"""What each confirmed step is worth: the jobs of an ablation, its record, and what is made of both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.audit.files import tree_digest
from mlipilot.controller.ablation import compute_ablation
from mlipilot.controller.asking_ablation import ask_ablation
from mlipilot.controller.next_steps import next_step
from mlipilot.controller.recheck import recheck_records
from mlipilot.controller.state import replay
from mlipilot.controller.steps import Ablate, SubmitJob
from mlipilot.controller.variants import make_variant
from mlipilot.controller.verdict import Measurements
from mlipilot.controller.verification import verify_run
from mlipilot.errors import InputError
from mlipilot.paths import JobKey
from mlipilot.report.confirmation_rows import worth_rows
from mlipilot.report.lineage_reading import load_lineage
from mlipilot.report.status_json import status_dict
from tests.controller.test_asking_confirmation import over
from tests.controller.test_confirmation_recorded import SPEC, searched
from tests.report.ablating import ablate
from tests.report.synthetic import SyntheticRun

RATE, BATCH = {"learning_rate: 0.01": "learning_rate: 0.02"}, {"batch_size: 4": "batch_size: 5"}
RATE_AGAIN = {"learning_rate: 0.01": "learning_rate: 0.03"}
QUALITIES = (0.1, 0.85, 0.95)


def confirmed(root: Path, *edits: dict[str, str]) -> SyntheticRun:
    """A run that is over, whose steps made these edits, one on the other, and were confirmed."""
    made = SyntheticRun(root / "cu_emt", SPEC)
    so_far: dict[str, str] = {}
    for number, edit in enumerate(({}, *edits)):
        so_far = so_far | edit
        made.propose(number, None, so_far)
        made.candidate(number, QUALITIES[number])
    made.confirm(dict(enumerate(QUALITIES)))
    made.lineage.incumbent.symlink_to(f"iterations/{len(edits):04d}")
    made.end("a test")
    return made


@pytest.fixture(scope="module")
def ablated(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    made = confirmed(tmp_path_factory.mktemp("ablated"), RATE, BATCH)
    ablate(made, {1: 0.87})
    made.end("a test")
    return made


def test_each_step_is_taken_out_and_what_has_been_trained_is_not_trained_again(ablated: SyntheticRun) -> None:
    state = replay(ablated.ledger.records)
    assert state.confirmed is not None and state.finished is not None
    trained = [key for key in state.jobs if key.variant.startswith("without") and key.kind == "train"]
    wanted = [JobKey(2, s, "train", fresh=True, variant="without-0001") for s in state.confirmed.seeds]
    assert trained == wanted, "without the last step it is the one before, which fresh seeds have had"
    text = (ablated.lineage.recipe_of(trained[0]) / "recipe.yaml").read_text()
    assert "learning_rate: 0.01" in text and "batch_size: 5" in text


def test_what_a_step_is_worth_is_a_mean_over_seeds_with_its_interval(ablated: SyntheticRun) -> None:
    state = replay(ablated.ledger.records)
    assert state.ablated is not None and state.confirmed is not None
    one, two = state.ablated.steps
    assert (one.iteration, one.measure, one.passed, one.fault) == (1, "objective", 3, None)
    assert one.worth is not None and one.half_width is not None and 0 < one.half_width < one.worth
    # Without the last step: the same seeds of the same two models as in the confirmation.
    last = state.confirmed.steps[-1]
    assert two.worth == pytest.approx(last.gain)
    assert two.half_width == pytest.approx(4.302652729 * last.sd / 3**0.5)  # t(0.975, 2) of a table


def test_it_verifies_and_people_read_it(ablated: SyntheticRun) -> None:
    assert verify_run(ablated.run).problems == []
    view = load_lineage(ablated.run, ablated.lineage)
    rows = worth_rows(view)
    assert [row.what for row in rows] == ["iteration 1", "iteration 2"]
    assert rows[0].passed == "3 of 3" and rows[0].worth.startswith("+") and rows[0].word == ""
    assert status_dict(view)["ablated"]["steps"][0]["iteration"] == 1


def test_a_step_whose_lines_a_later_one_changed_is_said_to_be_so(tmp_path: Path) -> None:
    made = confirmed(tmp_path, RATE, RATE_AGAIN)
    ablate(made, {})
    made.end("a test")
    state = replay(made.ledger.records)
    assert state.ablation_asked is not None and state.ablated is not None
    assert [step.recipe_digest is None for step in state.ablation_asked.steps] == [True, False]
    assert state.ablated.steps[0].fault == "later steps have changed its lines"
    assert worth_rows(load_lineage(made.run, made.lineage))[0].worth == "—"
    assert verify_run(made.run).problems == []


def test_killed_between_recipe_and_record_it_makes_the_same_again(tmp_path: Path) -> None:
    made = confirmed(tmp_path, RATE, BATCH)
    asked = ask_ablation(made.run, 0)
    made.reread()
    due = next_step(state := replay(made.ledger.records), made.spec)
    assert isinstance(due, SubmitJob) and due.key.without == 1
    for left in ("", "nonsense"):
        make_variant(made.run, made.lineage, made.spec, state, due.key)
        recipe = made.lineage.recipe_of(due.key)
        assert tree_digest(recipe) == asked.steps[0].recipe_digest
        (recipe / "recipe.yaml").write_text(left)
        assert next_step(replay(made.ledger.records), made.spec) == due
    make_variant(made.run, made.lineage, made.spec, state, due.key)
    assert tree_digest(recipe) == asked.steps[0].recipe_digest
    assert verify_run(made.run).problems == [], "an open lineage's recipe is not on record yet"


def test_a_recipe_that_is_not_the_one_on_record_is_found(ablated: SyntheticRun) -> None:
    (path,) = ablated.lineage.confirmation.glob("*.without-0001/recipe/recipe.yaml")
    before = path.read_bytes()
    path.write_bytes(before.replace(b"batch_size: 5", b"batch_size: 6"))
    assert any("is not the recipe that the ledger has without step 1" in said
               for said in verify_run(ablated.run).problems)  # fmt: skip
    path.write_bytes(before)


def _unfinished(root: Path) -> SyntheticRun:
    return searched(root, 0.6)


def _unconfirmed(root: Path) -> SyntheticRun:
    made = searched(root, 0.6)
    made.confirm({0: 0.1, 1: 0.1})
    made.end("a test")
    return made


def _twice(root: Path) -> SyntheticRun:
    made = confirmed(root, RATE, BATCH)
    ablate(made, {1: 0.87})
    made.end("a test")
    return made


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_unfinished, "the lineage is not over: resume it first"),
        (over, "no fresh seeds have confirmed anything: `mlipilot confirm` asks for that"),
        (_unconfirmed, "fresh seeds confirmed no step: there is nothing to take out"),
        (_twice, "the lineage has been ablated already"),
    ],
)
def test_where_there_is_nothing_to_take_out_it_is_refused_and_nothing_is_written(
    make: Callable[[Path], SyntheticRun], said: str, tmp_path: Path
) -> None:
    made = make(tmp_path)
    before = made.lineage.ledger.read_bytes()
    with pytest.raises(InputError, match=rf"ledger\.jsonl: {said}$"):
        ask_ablation(made.run, 0)
    assert made.lineage.ledger.read_bytes() == before


def test_a_record_that_says_another_worth_is_named(ablated: SyntheticRun, tmp_path: Path) -> None:
    made = confirmed(tmp_path, RATE, BATCH)
    other = replay(ablated.ledger.records)
    assert other.ablated is not None and other.ablation_asked is not None
    made.ledger.append(other.ablation_asked)
    assert recheck_records(made.run, made.lineage) == []
    made.ledger.append(other.ablated)
    said = recheck_records(made.run, made.lineage)
    assert any("ablated: it was not due; SubmitJob was" in each for each in said)
    assert any("ablated.steps" in each for each in said)
    assert Ablate() != next_step(replay(made.ledger.records), made.spec)


def test_what_cannot_be_trained_without_a_step_has_no_worth(tmp_path: Path) -> None:
    made = confirmed(tmp_path, RATE, BATCH)
    ask_ablation(made.run, 0)
    made.reread()
    while isinstance(due := next_step(replay(made.ledger.records), made.spec), SubmitJob):
        made.train_as(due.key, 0.9, "NameError: name 'factor' is not defined")
    assert due == Ablate()
    measured = Measurements(made.lineage, made.spec, made.card)
    made.ledger.append(compute_ablation(replay(made.ledger.records), measured))
    made.end("a test")
    state = replay(made.ledger.records)
    assert state.ablated is not None and state.ablated.steps[0].worth is None
    row = worth_rows(load_lineage(made.run, made.lineage))[0]
    assert (row.worth, row.passed) == ("—", "—") and row.word.endswith("name 'factor' is not defined")
    assert verify_run(made.run).problems == []


def test_who_asks_for_more_opens_the_place_of_that_and_no_other(tmp_path: Path) -> None:
    made = confirmed(tmp_path, RATE, BATCH)
    ask_ablation(made.run, 0)
    for name in ("evil.sh", "iterations/0007/x.py", "drafts/x"):
        path = made.lineage.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
        assert any(f"{path}: no record speaks" in said for said in verify_run(made.run).problems), name
        path.unlink()
    (made.lineage.confirmation / "x").write_text("being made")
    assert verify_run(made.run).problems == []
