"""A person asks a lineage that is over for a confirmation: when that can be, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.campaign.extent import Confirmation
from mlipilot.controller.asking_confirmation import ask_confirmation
from mlipilot.controller.confirmation import asked_for
from mlipilot.controller.next_steps import next_step
from mlipilot.controller.recheck import recheck_records
from mlipilot.controller.state import replay
from mlipilot.controller.steps import SubmitJob
from mlipilot.controller.verification import verify_run
from mlipilot.errors import InputError
from mlipilot.report.confirmation_rows import PROVISIONAL, confirmation_sentences, standing
from mlipilot.report.lineage_reading import load_lineage
from tests.controller.test_confirmation_recorded import SPEC, searched
from tests.report.synthetic import SyntheticRun

ALONE = SPEC.model_copy(update={"confirm": None})
QUALITIES = {0: 0.1, 1: 0.6, 2: 0.9}


def over(root: Path) -> SyntheticRun:
    """A run that confirmed nothing, and is over."""
    made = searched(root, 0.6, 0.9, spec=ALONE)
    made.end("a test")
    made.lineage.incumbent.symlink_to("iterations/0002")
    return made


def ask(made: SyntheticRun, seeds: int = 3) -> None:
    ask_confirmation(made.run, 0, Confirmation(seeds=seeds))
    made.reread()


def test_a_lineage_that_is_over_trains_what_it_kept_again_once_it_is_asked(tmp_path: Path) -> None:
    made = over(tmp_path)
    first = replay(made.ledger.records)
    assert first.finished and first.confirmed is None and first.examined is None
    ask(made)
    state = replay(made.ledger.records)
    assert state.finished is None and state.sealed_check is None, "that was of the search's own seeds"
    assert asked_for(state, made.spec) == Confirmation(seeds=3)
    due = next_step(state, made.spec)
    assert isinstance(due, SubmitJob) and due.key.fresh and due.key.kind == "train"
    assert standing(load_lineage(made.run, made.lineage), 2) == PROVISIONAL

    made.confirm(QUALITIES)
    made.end("a test")
    view = load_lineage(made.run, made.lineage)
    kinds = [record.event.kind for record in view.records]
    assert kinds.count("finished") == kinds.count("sealed_check") == 2
    assert kinds[-3:] == ["sealed_check", "examined", "finished"]
    assert view.state.finished == first.finished
    assert confirmation_sentences(view)[0].startswith("3 fresh seeds confirm that iteration 2 is better")
    check = view.state.sealed_check
    assert check is not None and first.sealed_check is not None
    assert check.of(2) != first.sealed_check.of(2), "it is of the fresh seeds now"
    assert verify_run(made.run).problems == []


def test_what_is_asked_for_is_what_is_made_and_one_kept_step_is_enough(tmp_path: Path) -> None:
    made = searched(tmp_path, 0.6, spec=ALONE)
    made.end("a test")
    ask_confirmation(made.run, 0, Confirmation(seeds=4, alpha=0.01))
    made.reread()
    assert asked_for(replay(made.ledger.records), made.spec) == Confirmation(seeds=4, alpha=0.01)
    made.confirm({0: 0.1, 1: 0.6})
    confirmed = replay(made.ledger.records).confirmed
    assert confirmed is not None and (len(confirmed.seeds), confirmed.alpha) == (4, 0.01)


def _unfinished(root: Path) -> SyntheticRun:
    return searched(root, 0.6, spec=ALONE)


def _kept_nothing(root: Path) -> SyntheticRun:
    made = searched(root, 0.05, spec=ALONE)
    made.end("a test")
    return made


def _confirmed(root: Path) -> SyntheticRun:
    made = searched(root, 0.6)
    made.confirm({0: 0.1, 1: 0.6})
    made.end("a test")
    return made


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_unfinished, "the lineage is not over, and may be about to confirm what it kept: resume it first"),
        (_kept_nothing, "the lineage has kept no step: there is nothing to confirm"),
        (_confirmed, "the lineage is confirmed already, with 3 fresh seeds"),
    ],
)
def test_where_there_is_nothing_to_ask_it_is_refused_and_nothing_is_written(
    make: Callable[[Path], SyntheticRun], said: str, tmp_path: Path
) -> None:
    made = make(tmp_path)
    before = made.lineage.ledger.read_bytes()
    with pytest.raises(InputError, match=rf"ledger\.jsonl: {said}$"):
        ask_confirmation(made.run, 0, Confirmation(seeds=5))
    assert made.lineage.ledger.read_bytes() == before


def test_nobody_asks_twice(tmp_path: Path) -> None:
    made = over(tmp_path)
    ask(made)
    with pytest.raises(InputError, match="is not over"):
        ask_confirmation(made.run, 0, Confirmation(seeds=8))
    assert recheck_records(made.run, made.lineage) == []


def test_a_record_that_asks_while_the_search_goes_on_is_named(tmp_path: Path) -> None:
    made = _unfinished(tmp_path)
    finished = over(tmp_path / "other")
    ask(finished)
    made.ledger.append(finished.ledger.records[-1].event)
    assert any("confirmation_asked: the lineage is not over" in said for said in
               recheck_records(made.run, made.lineage))  # fmt: skip
