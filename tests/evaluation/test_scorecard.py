"""The scorecard as law: each formula against a number worked out here, each refusal by a wrong card."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mlipilot.evaluation.metrics_file import MetricsFile
from mlipilot.evaluation.scorecard import (
    AcceptRule,
    Gate,
    Objective,
    Scorecard,
    load_new_scorecard,
    load_scorecard,
    merge,
    score,
)

ENERGY, FORCE, DONE = "energy_mae_mev_per_atom", "force_mae_mev_per_a", "nve_completed_fraction"
TERMS = [{"metric": ENERGY, "weight": 1, "scale": 1}, {"metric": FORCE, "weight": 3, "scale": 3}]
SHIPPED = sorted((Path(__file__).parents[2] / "scorecards").glob("*.yaml"))


def card_of(**changes: Any) -> Scorecard:
    fields = {
        "name": "x",
        "dataset": "cu_emt",
        "settings": {"lattice": {"points": 7, "max_abs_strain": 0.01}},
        "gates": [{"metric": FORCE, "max": 4}, {"metric": DONE, "min": 1}],
        "objective": {"terms": TERMS},
    }
    return Scorecard.model_validate(fields | changes)


def log_of(objective: Objective, values: dict[str, float | None]) -> float | None:
    terms = objective.log_terms(values)
    return None if terms is None else sum(terms.values())


def file_of(told: dict[str, Any]) -> MetricsFile:
    return MetricsFile.model_validate(told)


def metrics_with(**values: float | None) -> MetricsFile:
    entries = {
        name: {"value": value, "status": "failed" if value is None else "ok"}
        for name, value in values.items()
    }
    return file_of({"metrics": entries})


@pytest.mark.parametrize("bounds", [{}, {"max": 1, "min": 1}, {"max": None, "min": None}])
def test_a_gate_has_exactly_one_of_max_and_min(bounds: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="Value error, give exactly one of 'max' and 'min'"):
        Gate.model_validate({"metric": FORCE} | bounds)


@pytest.mark.parametrize("bound", ["max", "min"])
def test_a_bound_is_positive(bound: str) -> None:
    assert getattr(Gate.model_validate({"metric": FORCE, bound: 0.5}), bound) == 0.5
    for value in (0, -1):
        with pytest.raises(ValidationError, match="greater than 0"):
            Gate.model_validate({"metric": FORCE, bound: value})


def test_a_bound_is_written_as_people_write_it() -> None:
    assert Gate(metric=FORCE, max=5.0).text == "≤ 5"
    assert Gate(metric=DONE, min=0.25).text == "≥ 0.25"
    assert Gate(metric=FORCE, max=5.0).why == ""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("force_mae_mev_per_b", "Value error, unknown metric; did you mean 'force_mae_mev_per_a'?"),
        ("beauty", "Value error, unknown metric"),
    ],
)
def test_a_metric_that_nobody_measures_is_refused(name: str, said: str) -> None:
    for model, fields in ((Gate, {"max": 1}), (Objective, None)):
        wrong = {"metric": name} | (fields or {"weight": 1, "scale": 1})
        with pytest.raises(ValidationError) as refused:
            model.model_validate(wrong if fields else {"terms": [wrong]})
        assert refused.value.errors()[0]["msg"] == said


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (10.0, 0.9162907318741551),  # ln(10/4)
        (4.0, 0.0),
        (3.9, 0.0),
        (0.0, 0.0),
        (-7.0, 0.0),
        (4.0 * math.e**3, 3.0),
        (4e9, 3.0),  # never more than a metric that failed
        (None, 3.0),
        (math.nan, 3.0),
        (math.inf, 3.0),
        (-math.inf, 3.0),
    ],
)
def test_a_violation_of_a_maximum_is_the_natural_log_of_value_over_limit(
    value: float | None, expected: float
) -> None:
    assert Gate(metric=FORCE, max=4.0).violation(value, 3.0) == pytest.approx(expected, abs=1e-15)


def test_a_violation_of_a_small_maximum_is_as_relative() -> None:
    assert Gate(metric=FORCE, max=1e-3).violation(2e-3, 3.0) == pytest.approx(0.6931471805599453)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, 1.3862943611198906),  # ln(2/0.5)
        (2.0, 0.0),
        (2.5, 0.0),
        (1e-9, 3.0),
        (0.0, 3.0),
        (-1.0, 3.0),
        (None, 3.0),
        (math.inf, 3.0),
    ],
)
def test_a_violation_of_a_minimum_is_the_natural_log_of_limit_over_value(
    value: float | None, expected: float
) -> None:
    assert Gate(metric=DONE, min=2.0).violation(value, 3.0) == pytest.approx(expected, abs=1e-15)


def test_the_objective_is_the_weighted_geometric_mean_over_the_scales() -> None:
    """(2/1)^1 · (24/3)^3 = 1024, and its fourth root 4·sqrt(2)."""
    objective = Objective.model_validate({"terms": TERMS})
    found = log_of(objective, {ENERGY: 2.0, FORCE: 24.0})
    assert found is not None and math.exp(found) == pytest.approx(4 * math.sqrt(2))
    found = log_of(objective, {ENERGY: 0.5, FORCE: 1.5})  # below one, where a logarithm is negative
    assert found is not None and math.exp(found) == pytest.approx(0.5)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, 0.0, -1.0])
def test_an_objective_without_a_positive_value_of_each_term_is_none(value: float | None) -> None:
    objective = Objective.model_validate({"terms": TERMS})
    assert log_of(objective, {ENERGY: 2.0, FORCE: value}) is None
    assert log_of(objective, {FORCE: 2.0}) is None


@pytest.mark.parametrize(
    "wrong",
    [{"weight": 0}, {"scale": 0}, {"weight": -1}, {"scale": -1}, {"floor": 0}, {"floor": -1}, {"more": 1}],
)
def test_weights_scales_and_floors_are_positive(wrong: dict[str, float]) -> None:
    half = {"metric": ENERGY, "weight": 0.5, "scale": 0.5, "floor": 0.5}
    assert Objective.model_validate({"terms": [half]}).terms[0].model_dump() == half
    with pytest.raises(ValidationError):
        Objective.model_validate({"terms": [half | wrong]})


def test_the_accept_rule_without_a_word_is_this_one() -> None:
    rule = AcceptRule()
    assert (rule.confidence, rule.min_gain, rule.failed_gate_violation) == (0.95, 0.02, 5.0)
    assert rule.max_term_gain is None
    assert card_of().accept == rule


@pytest.mark.parametrize(
    "wrong",
    [
        {"confidence": 0.5},
        {"confidence": 1.0},
        {"min_gain": -0.01},
        {"min_gain": 1.0},
        {"failed_gate_violation": 0.0},
        {"max_term_gain": 0.0},
        {"confidense": 0.9},
    ],
)
def test_an_accept_rule_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    AcceptRule(confidence=0.51, min_gain=0.0, failed_gate_violation=0.5, max_term_gain=0.1)
    with pytest.raises(ValidationError):
        AcceptRule.model_validate(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"gates": []},
        {"objective": {"terms": []}},
        {"profiles": {"long": {}}},
        {"profiles": {"full": {"gates": []}}},
        {"gate": []},
        {"settings": {"nvee": {}}},
    ],
)
def test_a_card_that_lacks_something_or_has_a_stranger_is_refused(wrong: dict[str, Any]) -> None:
    card_of(gates=[{"metric": FORCE, "max": 4}], objective={"terms": TERMS[:1]})
    with pytest.raises(ValidationError):
        card_of(**wrong)


def test_the_law_does_not_change_once_it_is_read() -> None:
    card = card_of(profiles={"full": {}})
    terms, profile = card.objective.terms[0], card.profiles["full"]
    result = score(card, metrics_with())
    for model in (card, card.gates[0], card.accept, card.objective, terms, profile, result, result.gates[0]):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(model, next(iter(type(model).model_fields)), None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"gates": [{"metric": FORCE, "max": 4}, {"metric": "frequency_mae_per_cm", "max": 1}]},
        {"objective": {"terms": [*TERMS, {"metric": "frequency_mae_per_cm", "weight": 1, "scale": 1}]}},
    ],
)
def test_a_metric_of_another_system_is_refused(wrong: dict[str, Any]) -> None:
    said = "frequency_mae_per_cm does not exist where settings.system is 'crystal'"
    with pytest.raises(ValidationError) as refused:
        card_of(**wrong)
    assert [error["msg"] for error in refused.value.errors()] == [f"Value error, {said}"]


def test_wrong_settings_are_the_only_fault_that_is_told() -> None:
    with pytest.raises(ValidationError) as refused:
        card_of(settings={"nvee": {}})
    assert [error["loc"] for error in refused.value.errors()] == [("settings", "nvee")]


def test_a_profile_lays_its_settings_over_the_common_ones_and_changes_no_system() -> None:
    card = card_of(profiles={"full": {"settings": {"lattice": {"points": 15}}}})
    assert card.settings_for("smoke") == card.settings
    full = card.settings_for("full")
    assert (full.lattice.points, full.lattice.max_abs_strain) == (15, 0.01)
    with pytest.raises(ValidationError) as refused:
        card_of(
            settings={},
            gates=[{"metric": FORCE, "max": 4}],
            profiles={"full": {"settings": {"system": "molecules"}}},
        )
    said = "the profile full may not change 'system', which decides the gates"
    assert refused.value.errors()[0]["msg"] == f"Value error, {said}"


def test_common_settings_that_were_not_given_are_not_of_a_profile_either() -> None:
    """A section of another system is refused where it is given, and a default is not given."""
    gates = [{"metric": FORCE, "max": 4}]
    card = card_of(settings={"system": "molecules"}, gates=gates, profiles={"full": {}})
    assert card.settings_for("full") == card.settings
    assert card.settings_for("full").model_fields_set == {"system"}


def test_the_metrics_of_a_card_are_its_gates_then_its_terms_each_once() -> None:
    assert card_of().metrics == [FORCE, DONE, ENERGY]


def test_a_mapping_is_laid_over_another_at_any_depth() -> None:
    base = {"a": {"b": {"c": 1, "d": 2}, "e": 3}, "f": {"g": 4}, "h": 5}
    over = {"a": {"b": {"c": 9}}, "f": 7, "h": {"i": 8}, "j": 6}
    expected = {"a": {"b": {"c": 9, "d": 2}, "e": 3}, "f": 7, "h": {"i": 8}, "j": 6}
    assert merge(base, over) == expected
    assert base == {"a": {"b": {"c": 1, "d": 2}, "e": 3}, "f": {"g": 4}, "h": 5}


def test_values_are_those_of_metrics_that_did_not_fail() -> None:
    entries = {"a": {"value": 1.5, "status": "ok"}, "b": {"value": 2.5, "status": "failed"}}
    assert file_of({"metrics": entries}).values == {"a": 1.5, "b": None}
    assert file_of({"refused": "no weights"}).values == {}


def test_a_score_sums_the_violations_and_tells_of_each_gate() -> None:
    """ln(8/4) + ln(1/0.25) = 3·ln 2, and the objective ((2/1)·(8/3)³)^(1/4)."""
    found = score(card_of(), metrics_with(**{FORCE: 8.0, DONE: 0.25, ENERGY: 2.0}))
    ln2 = 0.6931471805599453
    assert [(gate.metric, gate.bound, gate.value, gate.passed) for gate in found.gates] == [
        (FORCE, "≤ 4", 8.0, False),
        (DONE, "≥ 1", 0.25, False),
    ]
    assert [gate.violation for gate in found.gates] == pytest.approx([ln2, 2 * ln2])
    assert [gate.reason for gate in found.gates] == [None, None]
    assert not found.feasible
    assert found.violation == pytest.approx(3 * ln2)
    assert found.log_objective is not None
    assert math.exp(found.log_objective) == pytest.approx((2 * (8 / 3) ** 3) ** 0.25)


def test_a_model_is_feasible_when_it_passes_every_gate() -> None:
    good = metrics_with(**{FORCE: 4.0, DONE: 1.0, ENERGY: 1.0})
    found = score(card_of(), good)
    assert (found.feasible, found.violation) == (True, 0.0)
    assert [gate.passed for gate in found.gates] == [True, True]
    for worse in ({FORCE: 4.01}, {DONE: 0.99}, {FORCE: None}):
        values = {FORCE: 4.0, DONE: 1.0, ENERGY: 1.0} | worse
        assert not score(card_of(), metrics_with(**values)).feasible


def test_a_metric_without_a_value_counts_as_the_largest_violation_with_its_reason() -> None:
    card = card_of(accept={"failed_gate_violation": 3})
    failed = {"metrics": {FORCE: {"value": None, "status": "failed", "reason": "it broke"}}}
    found = score(card, file_of(failed))
    assert [(gate.value, gate.violation, gate.passed) for gate in found.gates] == [(None, 3.0, False)] * 2
    assert [gate.reason for gate in found.gates] == ["it broke", "not measured"]
    assert (found.violation, found.log_objective) == (6.0, None)
    refused = score(card, file_of({"refused": "no weights"}))
    assert [gate.reason for gate in refused.gates] == ["no weights", "no weights"]
    assert (refused.feasible, refused.violation) == (False, 6.0)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.stem))
def test_the_shipped_cards_are_read(path: Path) -> None:
    assert load_scorecard(path).name == load_new_scorecard(path).name == path.stem
    assert load_scorecard(path) == load_new_scorecard(path)


def test_a_gate_below_every_rounding_is_one_all_the_same() -> None:
    gate = Gate.model_validate({"metric": FORCE, "max": 1e-9})
    assert gate.violation(2e-9, 5.0) == pytest.approx(math.log(2))
    assert gate.violation(1e-9, 5.0) == 0.0
    least = Gate.model_validate({"metric": FORCE, "min": 1e-6})
    assert least.violation(1e-7, 5.0) == pytest.approx(math.log(10))


def test_a_hair_beyond_the_bound_fails() -> None:
    found = score(card_of(), metrics_with(**{FORCE: 4.0 * (1 + 1e-12), DONE: 1.0, ENERGY: 1.0}))
    assert [gate.passed for gate in found.gates] == [False, True]
    assert not found.feasible
