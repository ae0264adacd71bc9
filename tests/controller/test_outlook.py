"""Whether a candidate can still win after its first seed, and what follows where it cannot."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from mlipilot.audit.events.running import Weighed
from mlipilot.controller.next_steps import next_step
from mlipilot.controller.outlook import outlook, weigh
from mlipilot.controller.recheck import recheck_records
from mlipilot.controller.state import replay
from mlipilot.controller.steps import AskPilot, AwaitJobs, Judge, SubmitJob, Weigh
from mlipilot.controller.verdict import Measurements
from mlipilot.evaluation.scorecard import GateResult, Score
from mlipilot.paths import JobKey
from tests.report.synthetic import SyntheticRun, make_spec

ALONE = make_spec(seeds=[1, 2, 3], budget={"iterations": 4, "optimizer_steps": 600, "first_seed_alone": True})


def _good(*objectives: float) -> list[Score]:
    return [Score(feasible=True, violation=0.0, log_objective=value, gates=[]) for value in objectives]


def _bad(*violations: float) -> list[Score]:
    gate = GateResult(metric="force_mae_mev_per_a", bound="<= 5", value=9.0, passed=False, violation=1.0)
    return [Score(feasible=False, violation=v, log_objective=None, gates=[gate]) for v in violations]


def test_a_gain_below_two_standard_deviations_has_lost() -> None:
    # Two candidates of spread 0.2 and 0.4: s² = (2·0.1² + 2·0.2²) / 2 = 0.05, so −2 s = −0.4472.
    groups = [_good(0.0, 0.2), _good(1.0, 1.4)]
    found = outlook(3, _good(0.0, 0.2), _good(0.5), groups)
    assert found.iteration == 3
    assert found.bound == pytest.approx(-2 * math.sqrt(0.05))
    assert found.gain == pytest.approx(-0.4) and found.lost is None
    lost = outlook(3, _good(0.0, 0.2), _good(0.56), groups)
    assert lost.gain == pytest.approx(-0.46)
    assert lost.lost is not None and lost.lost.startswith(
        "by its first seed the objective gains -0.460 ln units, below -0.447 (two standard deviations over 2"
    )
    assert lost.lost.endswith("over 2 degrees of freedom)")
    exact = [_good(0.0, 1.0, 2.0)]  # s = 1
    assert outlook(3, exact[0], _good(3.0), exact).lost is None, "what is as far is not below"
    assert outlook(3, exact[0], _good(3.01), [[], *exact, _bad(1.0)]).lost is not None


def test_between_two_that_fail_gates_the_violation_is_compared() -> None:
    found = outlook(1, _bad(2.0, 3.0), _bad(9.0), [_bad(2.0, 3.0)])
    assert found.bound == pytest.approx(-2 * math.sqrt(0.5)) and found.gain == pytest.approx(-6.5)
    assert found.lost is not None and found.lost.startswith(
        "by its first seed the total gate violation gains"
    )


def test_a_failed_gate_loses_against_one_that_passes_all_and_the_other_way_round_nothing_is_lost() -> None:
    found = outlook(1, _good(0.0, 0.1), _bad(0.001), [_good(0.0, 0.1)])
    assert found.lost == "its first seed fails gates that the incumbent passes: force_mae_mev_per_a"
    assert found.gain is None and found.bound is None
    assert outlook(1, _bad(2.0, 3.0), _good(9.0), [_bad(2.0, 3.0)]).lost is None


LAME = [Score(feasible=False, violation=2.0, log_objective=value, gates=[]) for value in (0.0, 0.1)]


@pytest.mark.parametrize(
    ("old", "new", "groups"),
    [
        (_good(0.0), _good(9.0), [_good(0.0)]),  # one seed a candidate: the noise is not known
        (_good(0.0, 0.1), _good(9.0), []),
        (_good(0.5, 0.5), _good(0.5 + 1e-16), [_good(0.5, 0.5)]),  # last digits are no noise
        (_good(0.0, 0.1), [], [_good(0.0, 0.1)]),
        (_good(0.0, 0.1), [Score(feasible=True, violation=0.0, log_objective=None, gates=[])], [_good(0, 1)]),
        (LAME, _good(9.0), [_good(0.0, 0.1), LAME]),  # it passes all, the other does not
        (
            [Score(feasible=True, violation=0.0, log_objective=None, gates=[])],
            _good(9.0),
            [_good(0.0, 0.1)],
        ),
    ],
)
def test_without_a_noise_or_an_objective_nobody_has_lost(
    old: list[Score], new: list[Score], groups: list[list[Score]]
) -> None:
    assert outlook(1, old, new, groups) == Weighed(iteration=1)


def test_an_equal_candidate_is_seldom_given_up_and_a_better_one_hardly_ever() -> None:
    dice = random.Random(7)

    def share_lost(gain: float, *, luckiest_of: int = 1) -> float:
        lost = 0
        for _ in range(2000):
            measured = [_good(dice.gauss(0, 0.25), dice.gauss(0, 0.25)) for _ in range(max(4, luckiest_of))]
            old = min(measured[:luckiest_of], key=lambda scores: sum(s.log_objective or 0.0 for s in scores))
            lost += outlook(1, old, _good(dice.gauss(-gain, 0.25)), measured).lost is not None
        return lost / 2000

    assert share_lost(0.0) < 0.11
    assert 0.2 < share_lost(0.0, luckiest_of=40) < 0.35, "the luck of who was kept counts against others"
    assert share_lost(0.5) < 0.005
    assert share_lost(-1.5) > 0.9, "what is far behind is spared"


def _candidate(made: SyntheticRun, number: int, quality: float) -> None:
    while isinstance(due := next_step(replay(made.ledger.records), made.spec), SubmitJob | Weigh):
        if isinstance(due, Weigh):
            measured = Measurements(made.lineage, made.spec, made.card)
            made.ledger.append(weigh(replay(made.ledger.records), due.iteration, measured))
        elif due.key.kind == "train":
            made.train_as(due.key, quality)
        else:
            made.evaluate_as(due.key, quality)
    assert due == Judge(number)
    made.judge(number)


def test_the_other_seeds_wait_for_the_first_and_are_spared_where_that_has_lost(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "cu_emt", ALONE)
    for number, quality in enumerate((0.9, 0.2, 0.99)):
        made.propose(number, None, {"learning_rate: 0.01": f"learning_rate: 0.0{number + 1}"})
        _candidate(made, number, quality)
    state = replay(made.ledger.records)
    trained = [(key.iteration, key.seed) for key in state.jobs if key.kind == "train"]
    assert trained == [(0, 1), (0, 2), (0, 3), (1, 1), (2, 1), (2, 2), (2, 3)]
    assert state.iterations[0].weighed is None, "the baseline is measured with every seed"
    verdicts = [iteration.verdict for iteration in state.iterations]
    assert verdicts[1] is not None and verdicts[1].verdict == "reverted"
    assert verdicts[1].reason.startswith("its first seed fails gates that the incumbent passes: ")
    assert verdicts[1].reason.endswith("; the other seeds were not trained")
    assert verdicts[2] is not None and verdicts[2].verdict == "accepted"
    kinds = [record.event.kind for record in made.ledger.records]
    assert kinds.count("weighed") == 2
    assert next_step(state, made.spec) == AskPilot(3)
    assert recheck_records(made.run, made.lineage) == []


def test_though_slots_are_free_the_first_seed_goes_alone(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "cu_emt", ALONE)
    made.propose(0, None, {})
    _candidate(made, 0, 0.9)
    made.propose(1, None, {"learning_rate: 0.01": "learning_rate: 0.02"})
    assert made.spec.jobs.attempts_in_flight > 1
    made.start(JobKey(1, 1, "train"))
    assert next_step(replay(made.ledger.records), made.spec) == AwaitJobs()


def test_where_seeds_do_not_wait_nothing_is_weighed(tmp_path: Path) -> None:
    spec = make_spec(seeds=[1, 2, 3])
    made = SyntheticRun(tmp_path / "cu_emt", spec)
    for number, quality in enumerate((0.9, 0.2)):
        made.propose(number, None, {"learning_rate: 0.01": f"learning_rate: 0.0{number + 1}"})
        _candidate(made, number, quality)
    assert "weighed" not in {record.event.kind for record in made.ledger.records}
    assert JobKey(1, 3, "evaluate") in replay(made.ledger.records).jobs


def test_a_weighing_that_says_another_thing_than_the_files_is_named(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "cu_emt", ALONE)
    made.propose(0, None, {})
    _candidate(made, 0, 0.9)
    made.propose(1, None, {"learning_rate: 0.01": "learning_rate: 0.02"})
    made.train(1, 1, 0.99)
    made.evaluate(1, 1, 0.99)
    measured = Measurements(made.lineage, made.spec, made.card)
    honest = weigh(replay(made.ledger.records), 1, measured)
    assert honest.lost is None and honest.gain is not None
    made.ledger.append(honest.model_copy(update={"lost": "because I say so"}))
    (said,) = recheck_records(made.run, made.lineage)
    assert "weighed.lost: it says" in said
