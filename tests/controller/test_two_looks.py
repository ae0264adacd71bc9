"""A confirmation in two planned looks: what each may spend, when another follows, and that alpha holds."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from pydantic import ValidationError

from mlipilot.audit.events.concluding import Confirmed
from mlipilot.campaign.extent import Confirmation
from mlipilot.controller.confirmation import Look, confirm, looks
from mlipilot.controller.next_steps import confirmation_jobs, next_step
from mlipilot.controller.state import replay
from mlipilot.controller.steps import Confirm, SubmitJob
from mlipilot.controller.verification import verify_run
from mlipilot.evaluation.scorecard import Score
from mlipilot.report.confirmation_rows import confirmation_sentences
from mlipilot.report.lineage_reading import load_lineage
from tests.controller.test_confirmation_recorded import searched
from tests.report.synthetic import make_spec

TWO = {"seeds": 3, "most_seeds": 6, "permuted_labels": False}
SPEC = make_spec(seeds=[1, 2], confirm=TWO)


def _good(*objectives: float) -> list[Score]:
    return [Score(feasible=True, violation=0.0, log_objective=value, gates=[]) for value in objectives]


def test_the_parts_of_alpha_are_of_the_square_of_the_share_of_seeds() -> None:
    first, second = looks(Confirmation(seeds=5, most_seeds=8, alpha=0.05))
    assert (first.seeds, first.more, second.seeds, second.more) == (5, 8, 8, None)
    assert first.alpha == pytest.approx(0.05 * 25 / 64) and first.alpha + second.alpha == pytest.approx(0.05)
    assert looks(Confirmation(seeds=5, alpha=0.1)) == [Look(5, 0.1, None)]


def test_more_seeds_are_more() -> None:
    for most in (2, 5):
        with pytest.raises(ValidationError, match="most_seeds"):
            Confirmation(seeds=5, most_seeds=most)
    assert Confirmation(seeds=5, most_seeds=6).most_seeds == 6


def _confirm(
    before: list[Score], after: list[Score], look: Look, first: Confirmed | None = None
) -> Confirmed:
    return confirm([0, 1], range(len(before)), [before, after], [None, None], 0.05, None, look, first)


def test_a_second_look_follows_where_a_word_is_near_and_only_there() -> None:
    look = Look(3, 0.0125, 6)
    strong = _confirm(_good(0.0, 0.1, 0.2), _good(-2.0, -1.9, -1.81), look)
    assert strong.whole.confirmed and strong.goes_on_to is None
    # Gains 0.1, 0.3, 0.2: t = 0.2 / (0.1 / √3) = 3.46, p = 0.037 of two degrees: near 0.0125.
    near = _confirm(_good(0.0, 0.3, 0.2), _good(-0.1, 0.0, 0.0), look)
    assert near.whole.p == pytest.approx(0.0371, abs=1e-4)
    assert not near.whole.confirmed and near.goes_on_to == 6
    # Gains 0.5, −0.5, 0.1: nothing is near.
    far = _confirm(_good(0.5, -0.5, 0.1), _good(0.0, 0.0, 0.0), look)
    assert not far.whole.confirmed and far.goes_on_to is None
    last = _confirm(_good(0.0, 0.3, 0.2), _good(-0.1, 0.0, 0.0), Look(3, 0.0375))
    assert last.whole.confirmed and last.goes_on_to is None, "of the last look nothing follows"


def test_what_the_first_look_has_said_stays_said_but_of_equal_weights() -> None:
    first = _confirm(_good(0.0, 0.1, 0.2), _good(-2.0, -1.9, -1.81), Look(3, 0.0125, 6))
    before, after = _good(0.0, 0.1, 0.2, 0.0), _good(-2.0, -1.9, -1.81, 3.0)
    second = _confirm(before, after, Look(4, 0.0375), first)
    assert second.whole.p > 0.1 and second.whole.confirmed and second.steps[0].confirmed
    assert second.incumbent == 1
    faults = [None, "seeds 1 and 2 gave the same weights"]
    found = confirm([0, 1], range(4), [before, after], faults, 0.05, None, Look(4, 0.0375), first)
    assert not found.whole.confirmed and found.incumbent == 0


def test_no_step_is_left_of_a_whole_that_a_second_look_takes_back() -> None:
    drawn = [_good(*values) for values in ([0.0, 0.1, 0.2], [-2.0, -1.9, -1.81], [-4.0, -3.91, -3.8])]
    kept, none = [0, 1, 2], [None] * 3
    first = confirm(kept, range(3), drawn, none, 0.05, None, Look(3, 0.0125, 6))
    assert [step.confirmed for step in first.steps] == [True, True]
    faults = [None, None, "seeds 1 and 2 gave the same weights"]
    found = confirm(kept, range(3), drawn, faults, 0.05, None, Look(3, 0.0375), first)
    assert not found.whole.confirmed and found.incumbent == 0
    assert [step.confirmed for step in found.steps] == [False, False]


def test_two_looks_hold_alpha_on_a_thousand_null_campaigns_and_find_more_than_the_first() -> None:
    dice = random.Random(11)
    asked = Confirmation(seeds=5, most_seeds=8, alpha=0.05)

    def run(gain: float) -> tuple[bool, bool]:
        drawn = [[dice.gauss(-gain * i, 0.25) for _ in range(8)] for i in range(3)]
        first = second = None
        for look in looks(asked):
            scores = [_good(*values[: look.seeds]) for values in drawn]
            kept, faults = [0, 1, 2], [None] * 3
            found = confirm(kept, range(look.seeds), scores, faults, 0.05, None, look, first)
            first, second = (first or found), found
            if found.goes_on_to is None:
                break
        assert first is not None and second is not None
        return first.whole.confirmed, second.whole.confirmed or any(step.confirmed for step in second.steps)

    null = [run(0.0) for _ in range(1000)]
    assert sum(second for _, second in null) <= 0.05 * 1000 + 2 * (1000 * 0.05 * 0.95) ** 0.5
    real = [run(0.2) for _ in range(300)]
    assert sum(second for _, second in real) > 1.2 * sum(first for first, _ in real)


def test_a_lineage_that_looks_twice_goes_on_with_more_of_the_same_seeds(tmp_path: Path) -> None:
    made = searched(tmp_path, 0.9, spec=SPEC)
    # Little better than the baseline: near, not confirmed by three.
    made.confirm({0: 0.5, 1: 0.525})
    first = replay(made.ledger.records)
    assert first.confirmed is not None and not first.confirmed.whole.confirmed
    assert first.confirmed.goes_on_to == 6, f"p = {first.confirmed.whole.p} is not near: take other qualities"
    assert first.confirmed.seeds == [key.seed for key in confirmation_jobs(first, SPEC)][:3]
    words = " ".join(confirmation_sentences(load_lineage(made.run, made.lineage)))
    assert "A second look follows, with 6 fresh seeds." in words
    assert isinstance(next_step(first, SPEC), SubmitJob)

    made.confirm({0: 0.5, 1: 0.6})
    second = replay(made.ledger.records)
    assert second.confirmed is not None and second.confirmed.goes_on_to is None
    assert len(second.confirmed.seeds) == 6 and second.confirmed.seeds[:3] == first.confirmed.seeds
    assert next_step(second, SPEC) != Confirm()
    made.lineage.incumbent.symlink_to(f"iterations/{second.incumbent:04d}")
    made.end("a test")
    assert verify_run(made.run).problems == []
