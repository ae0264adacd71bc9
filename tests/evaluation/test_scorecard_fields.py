"""The fields of a scorecard and of what it says of a model: what each may hold and what it may not."""

from __future__ import annotations

from mlipilot.evaluation.scorecard import (
    AcceptRule,
    Gate,
    GateResult,
    Objective,
    ObjectiveTerm,
    ProfileOverride,
    Score,
    Scorecard,
)
from tests.shapes import TEXT, Shape, check, inner, listed, named, optional, word

ENERGY, FORCE = "energy_mae_mev_per_atom", "force_mae_mev_per_a"
METRIC = Shape((FORCE, ENERGY), TEXT.refused)
REAL = Shape((-2.5, 0.0), (None, "many", [1.0]))
POSITIVE = Shape((1e-9, 4.0), (*REAL.refused, 0, -1))
FLAG = Shape((False, True), (None, 2, "perhaps"))
SETTINGS = Shape(({}, {"lattice": {"points": 7}}), (None, "x", [], {1: 2}))
TERM = {"metric": FORCE, "weight": 1.0, "scale": 3.0, "floor": 0.5}
RESULT = {"metric": FORCE, "bound": "≤ 4", "value": 8.0, "passed": False, "violation": 0.7, "reason": None}
ACCEPT = {"confidence": 0.9, "min_gain": 0.1, "max_term_gain": 0.5, "failed_gate_violation": 3.0}


def test_a_gate_has_one_positive_bound_on_a_metric_that_is_measured() -> None:
    absent = Shape((None,), POSITIVE.refused[1:])
    shapes = {"metric": METRIC, "max": POSITIVE, "min": absent, "why": TEXT}
    some = Shape(POSITIVE.kept, POSITIVE.refused[1:])
    check(Gate, {"metric": FORCE, "max": 4.0}, shapes | {"max": some})
    check(Gate, {"metric": FORCE, "min": 4.0}, shapes | {"max": absent, "min": some})


def test_an_objective_has_terms() -> None:
    shapes = {"metric": METRIC, "weight": POSITIVE, "scale": POSITIVE, "floor": optional(POSITIVE)}
    check(ObjectiveTerm, TERM, shapes)
    terms = listed(inner(TERM))
    check(Objective, {"terms": [TERM]}, {"terms": Shape(terms.kept[1:], (*terms.refused, []))})


def test_an_accept_rule_has_these_numbers() -> None:
    confidence = Shape((0.51, 0.999), (*REAL.refused, 0.5, 1))
    min_gain = Shape((0.0, 0.99), (*REAL.refused, -0.1, 1))
    shapes = {"confidence": confidence, "min_gain": min_gain, "max_term_gain": optional(POSITIVE)}
    check(AcceptRule, ACCEPT, {**shapes, "failed_gate_violation": POSITIVE})


def test_a_card_has_these_parts() -> None:
    check(ProfileOverride, {}, {"settings": SETTINGS})
    gate = {"metric": FORCE, "max": 4.0, "min": None, "why": ""}
    gates, objective = listed(inner(gate)), {"terms": [TERM]}
    check(
        Scorecard,
        {"name": "x", "dataset": "d", "settings": {}, "gates": [gate], "objective": objective},
        {
            "name": TEXT,
            "dataset": TEXT,
            "settings": Shape((), (None, "x", [], {"stranger": {}})),
            "gates": Shape(gates.kept[1:], (*gates.refused, [])),
            "objective": inner(objective),
            "accept": inner(ACCEPT),
            "profiles": named(inner({"settings": {}}), word("smoke", "full")),
        },
    )


def test_what_a_card_says_of_a_model_has_these_parts() -> None:
    check(
        GateResult,
        RESULT,
        {
            "metric": TEXT,
            "bound": TEXT,
            "value": optional(REAL),
            "passed": FLAG,
            "violation": REAL,
            "reason": optional(TEXT),
        },
    )
    check(
        Score,
        {"feasible": False, "violation": 0.7, "log_objective": None, "gates": [RESULT]},
        {
            "feasible": FLAG,
            "violation": REAL,
            "log_objective": optional(REAL),
            "gates": listed(inner(RESULT)),
        },
    )
