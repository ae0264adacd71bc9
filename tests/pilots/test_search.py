"""The search pilots turn by turn, and the numbers that a hybrid pilot leaves to TPE."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlipilot.errors import InputError
from mlipilot.pilots.draft_files import DraftFiles
from mlipilot.pilots.edit_matching import RefusedError
from mlipilot.pilots.history_told import Room
from mlipilot.pilots.outcomes import Feedback, GaveUp, Outcome, Proposal, TurnInput
from mlipilot.pilots.pilot_settings import Kind
from mlipilot.pilots.prompt_texts import first_messages
from mlipilot.pilots.recipe_identity import recipe_identity
from mlipilot.pilots.sampling import Search
from mlipilot.pilots.search import ATTEMPTS, hold_numbers, next_fresh, propose
from mlipilot.pilots.space import Parameter, Space, values_in
from mlipilot.yaml_places import with_values
from tests.pilots.conftest import RECIPE_YAML, history_entry

MakeTurn = Callable[..., TurnInput]
GOLDEN = Path(__file__).with_name("golden_search.json")
KINDS: tuple[Kind, ...] = ("random", "tpe", "cma-es")
SPACE: Space = {
    "loss.forces": Parameter(low=1, high=1000, log=True),
    "loss.stage_two.stress": Parameter(low=0, high=1000),
    "model.hidden_irreps": Parameter(choices=["4x0e", "8x0e + 8x1o"]),
    "ema.decay": Parameter(choices=[0.0, 0.9, 0.99]),
}


def search(kind: Kind, space: Space = SPACE) -> Search:
    return Search(kind, space, [31, 32], 12, ["force_mae_mev_per_a", "stress_mae_gpa"])


def trials(number: int) -> list[dict[str, Any]]:
    """A history in which heavier forces were better."""
    history = [history_entry(0, "baseline", parameters=values_in(RECIPE_YAML, SPACE))]
    for iteration in range(1, number + 1):
        values = search("random").suggest(history)
        score = {"violation": 1000 / float(values["loss.forces"]), "log_objective": None}
        title = f"Random search, suggestion {iteration}"
        history.append(history_entry(iteration, title, parameters=values, score=score))
    return history


def play(kind: Kind, turn: TurnInput, space: Space = SPACE) -> Outcome:
    return propose(search(kind, space), turn)


@pytest.mark.parametrize("kind", KINDS)
def test_a_turn_ends_in_a_proposal_with_every_parameter_set_and_comments_kept(
    make_turn: MakeTurn, draft: Path, kind: Kind
) -> None:
    history = trials(6)
    outcome = play(kind, make_turn(history=history))
    assert isinstance(outcome, Proposal)
    text = (draft / "recipe.yaml").read_text()
    assert values_in(text, SPACE) == search(kind).suggest(history)
    assert "# weight of the forces\n" in text and "kind: constant" in text
    claim = outcome.hypothesis
    assert claim.title.endswith(", suggestion 7") and "after 7 trials" in claim.hypothesis
    assert f"loss.forces = {values_in(text, SPACE)['loss.forces']}" in claim.hypothesis
    assert claim.mechanism.startswith("None is claimed")
    assert [effect.metric for effect in claim.expected_effect] == ["force_mae_mev_per_a", "stress_mae_gpa"]


def test_a_long_history_reaches_it_whole(make_turn: MakeTurn) -> None:
    history = [one | {"diff": "+ x\n" * 700} for one in trials(80)]
    outcome = play("random", make_turn(history=history))
    assert isinstance(outcome, Proposal)
    assert "after 81 trials" in outcome.hypothesis.hypothesis


def test_a_claim_says_when_tpe_still_draws_at_random(make_turn: MakeTurn) -> None:
    outcome = play("tpe", make_turn(history=trials(0)))
    assert isinstance(outcome, Proposal)
    assert "It still draws at random: it waits for 5 trials." in outcome.hypothesis.hypothesis
    assert "drawn from the declared space" in outcome.hypothesis.mechanism


def test_a_recipe_that_was_tried_is_followed_by_another_suggestion(
    make_turn: MakeTurn, draft: Path, tmp_path: Path
) -> None:
    history, tried = trials(3), {}
    for attempt in (0, 1):
        text = with_values(RECIPE_YAML, search("tpe").suggest(history, attempt))
        copy = Path(shutil.copytree(draft, tmp_path / f"tried-{attempt}"))
        (copy / "recipe.yaml").write_text(text or "")
        tried[recipe_identity(copy)] = "iteration 3 of lineage 1: reverted"
    assert isinstance(play("tpe", make_turn(history=history, tried=tried)), Proposal)
    assert values_in((draft / "recipe.yaml").read_text(), SPACE) == search("tpe").suggest(history, attempt=2)


def test_it_gives_up_when_no_suggestion_is_new(make_turn: MakeTurn, draft: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(draft, tmp_path / "tried"))
    (copy / "recipe.yaml").write_text(RECIPE_YAML.replace("decay: 0.0", "decay: 0.9"))
    turn = make_turn(history=trials(0), tried={recipe_identity(copy): "iteration 1: reverted"})
    outcome = play("random", turn, space={"ema.decay": Parameter(choices=[0.0, 0.9])})
    assert isinstance(outcome, GaveUp)
    assert outcome.reason.startswith(
        "Random search: none of 10 suggestions is new; of the last it was said: "
    )
    assert "error: this recipe was tried: iteration 1: reverted" in outcome.reason


def test_a_draft_that_comes_back_with_a_suggestion_gets_the_next_one() -> None:
    history = trials(4)
    made = [search("tpe").suggest(history, attempt) for attempt in range(ATTEMPTS)]
    incumbent = values_in(RECIPE_YAML, SPACE)
    assert next_fresh(made, [incumbent]) == made[0]
    assert next_fresh(made, [made[0]]) == made[1]
    assert next_fresh(made, [made[1], incumbent]) == made[2]
    assert next_fresh(made, [made[-1]]) == made[0]
    assert next_fresh(made, made) is None


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        (None, "there is no file 'recipe.yaml'; the files are: train.py"),
        ("loss: {forces: 1}\n", "no longer has each value of the space on a line of its own"),
        ("\x00", "recipe.yaml is binary"),
    ],
)
def test_a_recipe_that_it_cannot_edit_is_said_so(
    make_turn: MakeTurn, draft: Path, recipe: str | None, says: str
) -> None:
    (draft / "recipe.yaml").unlink()
    if recipe is not None:
        (draft / "recipe.yaml").write_text(recipe)
    outcome = play("random", make_turn(history=trials(1)))
    assert isinstance(outcome, GaveUp)
    assert outcome.reason.startswith("Random search: ") and says in outcome.reason


def test_a_missing_package_is_told_before_anything_is_edited(
    make_turn: MakeTurn, draft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(InputError, match=r"mlipilot\[hpo\]"):
        play("cma-es", make_turn())
    assert (draft / "recipe.yaml").read_text() == RECIPE_YAML


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seeds_give_the_proposals_that_they_ever_gave(
    make_turn: MakeTurn, draft: Path, incumbent: Path, kind: Kind
) -> None:
    """As recorded when searches spoke over HTTP: a run begun then goes on as it would have."""
    history = trials(0)
    recorded = json.loads(GOLDEN.read_text(encoding="utf-8"))[kind]
    for iteration, expected in enumerate(recorded, start=1):
        shutil.copytree(incumbent, draft, dirs_exist_ok=True)
        outcome = play(kind, make_turn(iteration=iteration, history=history))
        assert isinstance(outcome, Proposal)
        claim = outcome.hypothesis
        assert [claim.title, claim.hypothesis, claim.mechanism] == expected
        values = values_in((draft / "recipe.yaml").read_text(), SPACE)
        score = {"violation": 1000 / float(values["loss.forces"]), "log_objective": None}
        history.append(history_entry(iteration, claim.title, parameters=values, score=score))


def test_a_hybrid_turn_begins_with_tpes_numbers_and_tells_the_model(make_turn: MakeTurn, draft: Path) -> None:
    history = trials(6)
    turn = hold_numbers(make_turn(history=history), search("hybrid"))
    suggested = search("tpe").suggest(history)
    assert turn.held == suggested == values_in((draft / "recipe.yaml").read_text(), SPACE)
    task = first_messages(turn, {}, Room())[1]["content"]
    assert "not yours in this campaign" in task
    assert f"model.hidden_irreps = {json.dumps(suggested['model.hidden_irreps'])}\n" in task
    assert "not yours in this campaign" not in first_messages(make_turn(), {}, Room())[1]["content"]


def test_what_is_held_cannot_be_edited_and_all_else_can(make_turn: MakeTurn, draft: Path) -> None:
    turn = hold_numbers(make_turn(history=trials(2)), search("hybrid"))
    bench = DraftFiles(turn.draft, turn.held)
    forces = turn.held["loss.forces"]
    with pytest.raises(RefusedError, match=rf"loss\.forces is not yours to edit: TPE has set it to {forces}"):
        bench.replace("recipe.yaml", f"forces: {forces} ", "forces: 7.5 ")
    with pytest.raises(RefusedError, match=r"is not yours to edit"):
        bench.write("./recipe.yaml", "loss: {stress: 1.0}\n")
    irreps = turn.held["model.hidden_irreps"]
    folded = f"model:\n  hidden_irreps: >-\n    {irreps}\nloss:\n"  # the same, where it cannot be set again
    text = bench.read("recipe.yaml")
    with pytest.raises(RefusedError, match=r"model\.hidden_irreps is not yours to edit"):
        bench.write("recipe.yaml", folded + text.partition("loss:\n")[2])
    bench.replace("recipe.yaml", "kind: constant", "kind: cosine")
    bench.write("train.py", "print('mine')\n")
    assert values_in((draft / "recipe.yaml").read_text(), SPACE) == turn.held


def test_a_hybrid_draft_that_comes_back_keeps_its_numbers(make_turn: MakeTurn, draft: Path) -> None:
    held = hold_numbers(make_turn(history=trials(2)), search("hybrid")).held
    text = (draft / "recipe.yaml").read_text()
    back = make_turn(history=trials(2), feedback=Feedback(1, "mine", "reviewer", "no"))
    assert hold_numbers(back, search("hybrid")).held == held
    assert (draft / "recipe.yaml").read_text() == text
