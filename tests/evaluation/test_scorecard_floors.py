"""Floors, the gate that a model which says nothing fails, and what a run must begin with."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from mlipilot.errors import InputError
from mlipilot.evaluation.catalog import CATALOG, SPREAD
from mlipilot.evaluation.scorecard import (
    Gate,
    Objective,
    Score,
    Scorecard,
    gates_on,
    load_new_scorecard,
    load_scorecard,
    score,
)

from .test_scorecard import DONE, ENERGY, FORCE, SHIPPED, TERMS, card_of, file_of, log_of, metrics_with

(SAYS,) = SPREAD


def test_each_term_contributes_by_its_weight() -> None:
    """ln 2 with one weight of four, 3·ln 8 with three; two terms of one metric are one contribution."""
    ln2 = 0.6931471805599453
    values: dict[str, float | None] = {ENERGY: 2.0, FORCE: 24.0}
    objective = Objective.model_validate({"terms": TERMS})
    assert objective.log_terms(values) == pytest.approx({ENERGY: ln2 / 4, FORCE: 9 * ln2 / 4})
    twice = Objective.model_validate({"terms": [*TERMS, {"metric": ENERGY, "weight": 4, "scale": 4}]})
    assert twice.log_terms(values) == pytest.approx({ENERGY: (ln2 - 4 * ln2) / 8, FORCE: 9 * ln2 / 8})


@pytest.mark.parametrize(
    ("value", "counted"), [(3.0, 3.0), (0.25, 0.25), (0.2, 0.25), (1e-300, 0.25), (0.0, 0.25), (-1.0, 0.25)]
)
def test_a_value_below_the_floor_counts_as_the_floor(value: float, counted: float) -> None:
    """Else a metric that comes to zero would take the whole product with it."""
    term = {"metric": ENERGY, "weight": 2, "scale": 0.5, "floor": 0.25}
    found = log_of(Objective.model_validate({"terms": [term]}), {ENERGY: value})
    assert found == pytest.approx(math.log(counted / 0.5), abs=1e-15)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_was_not_measured_is_not_on_the_floor(value: float | None) -> None:
    term = {"metric": ENERGY, "weight": 2, "scale": 0.5, "floor": 0.25}
    assert Objective.model_validate({"terms": [term]}).log_terms({ENERGY: value}) is None


CARD = """\
name: x
dataset: cu_emt
settings: {}
gates:
  - {metric: force_mae_mev_per_a, max: 4}
objective:
  terms:
    - {metric: energy_mae_mev_per_atom, weight: 1, scale: 1, floor: 0.1}
    - metric: force_mae_mev_per_a
      weight: 1
      scale: 1
      floor: 0.1
accept: {max_term_gain: 0.5}
"""
NO_FLOOR = (
    "9: the term force_mae_mev_per_a has no floor\n"
    "  mend: add `floor:`, how finely force_mae_mev_per_a is measured: what is below it is no gain"
)
NO_CAP = (
    "13: accept has no max_term_gain\n"
    "  mend: add it: what one term gives to a gain at most, in ln units of the objective, such as 0.5"
)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("      floor: 0.1\n", "", NO_FLOOR),
        ("{max_term_gain: 0.5}", "{min_gain: 0.1}", NO_CAP),
        ("accept: {max_term_gain: 0.5}\n", "", NO_CAP.replace("13", "1")),
        ("gates:", "gate:", "4: unknown key 'gate'"),
    ],
)
def test_a_run_begins_with_floors_and_a_cap_and_is_read_without(
    old: str, new: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "card.yaml"
    path.write_text(CARD)
    assert load_new_scorecard(path) == load_scorecard(path)
    path.write_text(CARD.replace(old, new))
    with pytest.raises(InputError) as refused:
        load_new_scorecard(path)
    assert str(refused.value).startswith(f"{path}:{said}")
    if "unknown" not in said:
        assert str(refused.value) == f"{path}:{said}"
        assert load_scorecard(path).name == "x"


def _silent_card() -> Scorecard:
    return card_of(
        gates=[{"metric": FORCE, "max": 4}, {"metric": SAYS, "min": 0.5}, {"metric": DONE, "min": 1}],
        accept={"failed_gate_violation": 3},
    )


@pytest.mark.parametrize("says", [0.0, 0.49, -7.0, None])
def test_no_gate_holds_for_a_model_that_says_nothing(says: float | None) -> None:
    """It counts as one of which nothing was measured, however well it does: no model can be worse."""
    found = score(_silent_card(), metrics_with(**{FORCE: 1.0, DONE: 1.0, ENERGY: 1.0, SAYS: says}))
    assert [(gate.passed, gate.violation) for gate in found.gates] == [(False, 3.0)] * 3
    assert [gate.value for gate in found.gates] == [1.0, says, 1.0]
    why = f"nothing is shown where {SAYS} is not ≥ 0.5"
    assert [gate.reason for gate in found.gates] == [why, why if says is not None else "not measured", why]
    refused = score(_silent_card(), file_of({"refused": "no weights"}))
    assert not found.feasible and found.violation == refused.violation == 9.0
    assert [gate.reason for gate in refused.gates] == ["no weights"] * 3


def test_gates_are_judged_one_by_one_where_a_model_says_something() -> None:
    found = score(_silent_card(), metrics_with(**{FORCE: 8.0, DONE: 1.0, ENERGY: 1.0, SAYS: 0.5}))
    assert [gate.passed for gate in found.gates] == [False, True, True]
    assert [gate.reason for gate in found.gates] == [None] * 3
    assert found.violation == pytest.approx(math.log(2))


def test_a_score_has_the_terms_of_its_objective_and_does_not_write_them() -> None:
    found = score(card_of(), metrics_with(**{FORCE: 24.0, ENERGY: 2.0}))
    assert found.terms == card_of().objective.log_terms({FORCE: 24.0, ENERGY: 2.0})
    assert found.log_objective == sum(found.terms.values())
    assert "terms" not in found.model_dump() and "terms" not in found.model_dump_json()
    assert score(card_of(), metrics_with(**{FORCE: 24.0})).terms == {}
    assert Score.model_validate(found.model_dump()).terms == {}
    wrong: list[object] = [[], {1: 0.5}, {FORCE: "much"}]
    for terms in wrong:
        with pytest.raises(ValidationError, match="terms"):
            Score.model_validate(found.model_dump() | {"terms": terms})


def test_every_shipped_card_has_a_gate_that_a_model_that_says_nothing_fails() -> None:
    for path in SHIPPED:
        assert SPREAD & {gate.metric for gate in load_scorecard(path).gates}, path
    assert CATALOG[SAYS].spread and not CATALOG[FORCE].spread


COST, NOISE = "relative_cost", "relative_cost_noise"


@pytest.mark.parametrize(
    ("cost", "noise", "passes"),
    [
        (4.1, 0.0, False),
        (4.1, 0.049, False),
        (4.1, 0.051, True),
        (4.39, 10.0, True),  # a tenth of the bound at most, however busy the machine
        (4.41, 10.0, False),
        (3.9, 10.0, True),
        (4.1, None, False),
    ],
)
def test_a_cost_that_its_own_noise_may_have_put_beyond_the_bound_passes(
    cost: float, noise: float | None, passes: bool
) -> None:
    card = card_of(gates=[{"metric": COST, "max": 4}])
    told = {COST: cost} if noise is None else {COST: cost, NOISE: noise}
    (gate,) = score(card, metrics_with(**told, **dict.fromkeys(("energy_mae_mev_per_atom",), 1.0))).gates
    assert gate.passed == passes and gate.value == cost
    assert gate.violation == pytest.approx(0.0 if passes else math.log(cost / 4))


def test_a_bound_from_below_has_the_same_room_and_other_metrics_have_none() -> None:
    least = Gate.model_validate({"metric": COST, "min": 4.0})
    assert [least.violation(3.9, 5.0, 0.051), least.violation(3.59, 5.0, 10.0)] == pytest.approx(
        [0.0, math.log(4 / 3.59)]
    )
    assert CATALOG[COST].noise == NOISE
    assert [name for name, metric in CATALOG.items() if metric.noise] == [COST]


def test_a_value_two_errors_from_its_bound_is_within_and_without_a_known_error_none_is() -> None:
    most = Gate.model_validate({"metric": COST, "max": 4.0})
    assert [most.violation(4.25, 5.0, noise) for noise in (0.125, 0.1249)] == [
        0.0,
        pytest.approx(math.log(4.25 / 4)),
    ]
    assert most.violation(4.25, 5.0) == pytest.approx(math.log(4.25 / 4))


def test_of_a_file_of_other_data_those_gates_are_asked_whose_metrics_it_has() -> None:
    card = card_of(accept={"failed_gate_violation": 3})
    found = gates_on(card, metrics_with(**{FORCE: 8.0, ENERGY: 1.0}))
    assert [(gate.metric, gate.value, gate.passed) for gate in found] == [(FORCE, 8.0, False)]
    assert found[0].violation == pytest.approx(math.log(2))
    (failed,) = gates_on(card, metrics_with(**{DONE: None}))
    assert (failed.metric, failed.violation) == (DONE, 3.0)
    assert gates_on(card, metrics_with(**{ENERGY: 1.0})) == []
