"""The confirmation of a lineage: its jobs, its record, and what `verify` and the report make of both."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mlipilot.campaign.spec import CampaignSpec
from mlipilot.controller.confirmation import fresh_seeds
from mlipilot.controller.next_steps import confirmation_jobs, next_step
from mlipilot.controller.recheck import recheck_records
from mlipilot.controller.state import replay
from mlipilot.controller.steps import Confirm, SubmitJob
from mlipilot.controller.verification import verify_run
from mlipilot.paths import JobKey, RunPaths
from mlipilot.report.confirmation_rows import PROVISIONAL, confirmation_sentences, standing, step_rows
from mlipilot.report.lineage_reading import load_lineage
from tests.controller.test_recheck import Body, Forger, forger
from tests.report.synthetic import SyntheticRun, make_spec

SPEC = make_spec(seeds=[1, 2], confirm={"seeds": 3})
LEARNING_RATES = ("0.02", "0.03", "0.04")


def searched(root: Path, *qualities: float, spec: CampaignSpec = SPEC) -> SyntheticRun:
    """A run whose search is over: the baseline, and candidates of these qualities."""
    made = SyntheticRun(root / "cu_emt", spec)
    for number, quality in enumerate((0.1, *qualities)):
        rate = {"learning_rate: 0.01": f"learning_rate: {LEARNING_RATES[number - 1]}"}
        made.propose(number, None, rate if number else {})
        made.candidate(number, quality)
    made.give_up("a test")
    return made


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    made = searched(tmp_path_factory.mktemp("confirmed"), 0.6, 0.3, 0.9)
    made.confirm({0: 0.1, 1: 0.6, 3: 0.9})
    made.lineage.incumbent.symlink_to("iterations/0003")
    made.sealed_check()
    made.end("a test")
    return made.run


@pytest.fixture
def forge(confirmed: RunPaths, tmp_path: Path) -> Forger:
    return forger(confirmed, tmp_path)


def test_baseline_and_kept_steps_are_trained_with_fresh_seeds_apart_from_the_search(
    confirmed: RunPaths,
) -> None:
    state = replay(load_lineage(confirmed, confirmed.lineage(0)).records)
    fresh = [key for key in state.jobs if key.fresh and key.kind != "sealed"]
    assert {key.iteration for key in fresh} == {0, 1, 3}, "a reverted one has nothing to confirm"
    assert state.confirmed is not None and {key.seed for key in fresh} == {*state.confirmed.seeds}
    assert not {*state.confirmed.seeds} & {*SPEC.seeds}
    folder = confirmed.lineage(0).confirmation
    assert {confirmed.lineage(0).job(key).parents[1].parent for key in fresh} == {folder}
    sealed = [key for key in state.jobs if key.kind == "sealed"]
    assert {(key.iteration, key.seed) for key in sealed} == {
        (n, s) for n in (0, 3) for s in state.confirmed.seeds
    }


def test_an_honest_one_verifies(confirmed: RunPaths) -> None:
    assert verify_run(confirmed).problems == []


STEP = {"iteration": 1, "before": 0, "measure": "violation", "sd": 0.0, "passed": 3, "fault": None}
STEP |= {"gain": 9.0, "p": 0.0, "level": 0.05, "confirmed": True}


@pytest.mark.parametrize(
    "said",
    [
        {"seeds": [1, 2, 3]},
        {"alpha": 0.5},
        {"baseline_passed": 3},
        {"whole": STEP},
        {"steps": [STEP]},
        {"pass_rate_at_least": 0.99},
    ],
    ids=lambda said: next(iter(said)),
)
def test_a_record_that_does_not_follow_from_the_files_is_named(said: Body, forge: Forger) -> None:
    found, line = forge("confirmed", said)
    name = next(iter(said))
    assert any(f"ledger.jsonl:{line}: confirmed.{name}: it says" in problem for problem in found)


def test_another_incumbent_than_the_confirmed_one_is_named(forge: Forger) -> None:
    with pytest.raises(AssertionError, match="does not point at iterations/0001, the ledger's incumbent"):
        forge("confirmed", {"incumbent": 1})


def test_a_job_with_another_seed_than_the_fresh_ones_is_named(forge: Forger) -> None:
    found, line = forge("job_submitted", {"seed": 12345})
    assert any(f"ledger.jsonl:{line}" in problem for problem in found)


def test_a_confirmation_that_was_taken_out_is_missed(confirmed: RunPaths, tmp_path: Path) -> None:
    run = RunPaths(Path(shutil.copytree(confirmed.root, tmp_path / "run", symlinks=True)))
    shutil.rmtree(run.lineage(0).confirmation / "0003")
    assert any("confirmation/0003" in problem for problem in verify_run(run).problems)


def test_killed_after_any_record_it_asks_for_the_same_jobs(confirmed: RunPaths) -> None:
    records = load_lineage(confirmed, confirmed.lineage(0)).records
    whole = replay(records)
    last = max(record.seq for record in records if record.event.kind == "verdict")
    until = next(record.seq for record in records if record.event.kind == "confirmed")
    for seq in range(last + 1, until):
        state = replay(records[: seq + 1])
        assert fresh_seeds(state, SPEC.seeds, 3) == whole.confirmed.seeds if whole.confirmed else None
        due = next_step(state, SPEC)
        if isinstance(due, SubmitJob) and due.key.fresh:
            assert state.last(due.key) is None and due.key in whole.jobs and due.attempt == 1


def test_a_fresh_training_that_fails_says_so_of_its_step_and_ends_nothing(tmp_path: Path) -> None:
    made = searched(tmp_path, 0.9)
    made.confirm({0: 0.1, 1: 0.9}, failed="the loss is nan")
    state = replay(made.ledger.records)
    assert state.confirmed is not None
    failed = [key for key, (last,) in state.jobs.items() if last.outcome == "failed"]
    assert failed == [JobKey(0, state.confirmed.seeds[0], "train", fresh=True)]
    gates = len(made.card.gates) * made.card.accept.failed_gate_violation
    assert state.confirmed.whole.measure == "violation" and state.confirmed.whole.gain > gates / 3
    made.sealed_check()
    made.end("a test")
    assert recheck_records(made.run, made.lineage) == []


def test_where_nothing_was_kept_or_nothing_is_to_be_confirmed_there_are_no_jobs(tmp_path: Path) -> None:
    made = searched(tmp_path, 0.05)
    state = replay(made.ledger.records)
    assert confirmation_jobs(state, SPEC) == []
    kept = searched(tmp_path / "kept", 0.9)
    state = replay(kept.ledger.records)
    assert confirmation_jobs(state, SPEC.model_copy(update={"confirm": None})) == []
    assert len(confirmation_jobs(state, SPEC)) == 2 * 3 + 1, "and one on permuted labels"
    assert next_step(state, SPEC) != Confirm()


def test_what_chance_kept_is_given_up_for_the_baseline(tmp_path: Path) -> None:
    made = searched(tmp_path, 0.9)
    made.confirm({0: 0.5, 1: 0.5})
    state = replay(made.ledger.records)
    assert state.confirmed is not None and not state.confirmed.whole.confirmed
    assert state.incumbent == 0
    view = load_lineage(made.run, made.lineage)
    (said,) = confirmation_sentences(view)
    assert "do not confirm that iteration 1 is better" in said and "the baseline stands" in said
    assert standing(view, 1) == "not confirmed"


def test_the_report_is_of_the_fresh_seeds_alone(confirmed: RunPaths) -> None:
    view = load_lineage(confirmed, confirmed.lineage(0))
    assert view.state.confirmed is not None and view.baseline is not None and view.incumbent is not None
    for shown in (view.baseline, view.incumbent):
        assert [seed.seed for seed in shown.seeds] == view.state.confirmed.seeds
        assert all(f"/confirmation/{shown.number:04d}/" in str(seed.handover) for seed in shown.seeds)
    assert [seed.seed for seed in view.iterations[3].seeds] == SPEC.seeds, "the history is the search's"
    words = " ".join(confirmation_sentences(view))
    assert "3 fresh seeds confirm that iteration 3 is better than the baseline" in words
    assert [row.what for row in step_rows(view)] == [
        "baseline",
        "iteration 1",
        "iteration 3",
        "the whole: iteration 3",
    ]
    assert [bool(standing(view, n)) for n in range(4)] == [False, True, False, True]


def test_until_then_what_was_kept_is_provisional(tmp_path: Path) -> None:
    made = searched(tmp_path, 0.9)
    view = load_lineage(made.run, made.lineage)
    assert standing(view, 1) == PROVISIONAL and step_rows(view) == []
    assert "provisional until fresh seeds confirm it" in " ".join(confirmation_sentences(view))
    old = SyntheticRun(tmp_path / "old" / "cu_emt", make_spec(seeds=[1]))
    for number, quality in enumerate((0.1, 0.9)):
        rate = {"learning_rate: 0.01": "learning_rate: 0.02"}
        old.propose(number, None, rate if number else {})
        old.candidate(number, quality)
    view = load_lineage(old.run, old.lineage)
    assert standing(view, 1) == ""
    assert "No fresh seeds have confirmed this" in " ".join(confirmation_sentences(view))
