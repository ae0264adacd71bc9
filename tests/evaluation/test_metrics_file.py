"""One entry of `metrics.json`: a number, or a failure with its reason."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from mlipilot.evaluation.metrics_file import (
    REFUSED,
    Entry,
    Measurement,
    MetricsFile,
    ModelFacts,
    entry,
    percent_error,
)
from tests.shapes import TEXT, Shape, check, named, optional, word

FORCE = "force_mae_mev_per_a"


def test_an_entry_of_a_number_is_exactly_this() -> None:
    assert entry(FORCE, Measurement({FORCE: 7.25}), 0.123456).model_dump() == {
        "value": 7.25,
        "unit": "meV/Å",
        "status": "ok",
        "reason": None,
        "cost_s": 0.1235,
    }


def test_an_entry_of_a_failure_is_exactly_this() -> None:
    assert entry(FORCE, Measurement({FORCE: 7.25}, {FORCE: "no forces"}), 2.0).model_dump() == {
        "value": None,
        "unit": "meV/Å",
        "status": "failed",
        "reason": "no forces",
        "cost_s": 2.0,
    }


@pytest.mark.parametrize(("value", "text"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")])
def test_what_is_not_finite_is_a_failure_with_a_reason(value: float, text: str) -> None:
    found = entry(FORCE, Measurement({FORCE: value}), 0.1)
    assert (found.status, found.value) == ("failed", None)
    assert found.reason == f"the value is {text}, not a finite number"


def test_a_failures_own_reason_counts_more_than_what_is_wrong_with_its_number() -> None:
    assert entry(FORCE, Measurement({FORCE: math.nan}, {FORCE: "it broke"}), 0.1).reason == "it broke"


def test_a_value_that_was_not_given_is_a_failure() -> None:
    found = entry(FORCE, Measurement(), 0.1)
    assert (found.status, found.value, found.unit) == ("failed", None, "meV/Å")
    assert found.reason == "the measurement gave no value"


def test_a_measurement_without_numbers_has_no_curves_either() -> None:
    assert (Measurement().values, Measurement().failures, Measurement().curves) == ({}, {}, {})


def test_reasons_are_one_short_line_without_control_characters() -> None:
    hostile = "a\x1b[31mred\nline\u202e\x00" + "x" * 1000
    found = entry(FORCE, Measurement(failures={FORCE: hostile}), 0.1)
    assert found.reason is not None and found.reason.startswith("ared linexxx")
    assert len(found.reason) == 300
    assert found.reason.isprintable()


def test_the_exit_status_of_a_refused_handover_is_that_of_runs_on_disk() -> None:
    assert REFUSED == 3


def test_a_metrics_file_says_numbers_of_what_did_not_fail_and_forgives_keys_of_later_versions() -> None:
    ok = {"value": 1.5, "unit": "meV/Å", "status": "ok", "reason": None, "cost_s": 0.1}
    forged = {"value": 2.5, "unit": "meV/Å", "status": "failed", "reason": "it broke"}
    found = MetricsFile.model_validate({"metrics": {"a": ok, "b": forged}, "later": 1})
    assert found.values == {"a": 1.5, "b": None}
    assert MetricsFile.model_validate({"refused": "no weights"}).values == {}


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"format": "mlipilot-metrics/2"},
        {"metrics": {"a": 1.0}},
        {"metrics": {"a": {"value": 1.0}}},
        {"metrics": {"a": {"value": 1.0, "status": "fine"}}},
        {"metrics": {"a": {"value": "many", "status": "ok"}}},
        {"metrics": {"a": {"value": math.nan, "status": "ok"}}},
        {"metrics": {"a": {"value": -math.inf, "status": "failed"}}},
    ],
)
def test_what_is_no_metrics_file_is_refused(content: object) -> None:
    with pytest.raises(ValidationError):
        MetricsFile.model_validate(content)


WHOLE: dict[str, Any] = {
    "format": "mlipilot-metrics/1",
    "split": "sealed",
    "profile": "smoke",
    "scorecard_sha256": "5",
    "device": "cpu",
    "wall_s": 1.5,
    "cpu_s": 2.5,
    "versions": {"mace": "0.3.16"},
    "refused": None,
    "model": {
        "model_class": "MACE",
        "dtype": "float64",
        "arguments": {"r_max": 5.0},
        "parameter_count": 7,
        "weights_digest": "d",
        "later": [1],
    },
    "reference": {"source": "file", "settings_digest": "s"},
    "metrics": {FORCE: {"value": 7.25, "unit": "meV/Å", "status": "ok", "reason": None, "cost_s": 0.1}},
}


def test_a_whole_metrics_file_is_read_and_written_as_it_is() -> None:
    assert MetricsFile.model_validate(WHOLE).model_dump(mode="json") == WHOLE


FINITE = Shape((-2.5, 0.0), (None, "many", "1.5", True, [1.0], math.nan, math.inf))


def test_the_fields_of_a_metrics_file_hold_this_and_nothing_else() -> None:
    said, facts = WHOLE["metrics"][FORCE], WHOLE["model"]
    check(
        Entry,
        said,
        {
            "value": optional(FINITE),
            "unit": TEXT,
            "status": word("ok", "failed"),
            "reason": optional(TEXT),
            "cost_s": optional(FINITE),
        },
    )
    mapping = Shape(({}, {"r_max": 5.0, "deep": [{}]}), (None, "x", [], {1: 2}))
    whole = Shape((0, 7), (None, "many", "7", True, 0.5))
    texts = dict.fromkeys(("model_class", "dtype", "weights_digest"), optional(TEXT))
    check(ModelFacts, facts, texts | {"arguments": mapping, "parameter_count": optional(whole)})
    source = Shape(
        ({}, {"source": "file"}, {"settings_digest": "s"}), ("x", [], {"other": "x"}, {"source": 1})
    )
    check(
        MetricsFile,
        WHOLE,
        dict.fromkeys(("profile", "scorecard_sha256", "device", "refused"), optional(TEXT))
        | {
            "format": word("mlipilot-metrics/1"),
            "split": optional(word("test", "sealed")),
            "wall_s": optional(FINITE),
            "cpu_s": optional(FINITE),
            "versions": named(TEXT),
            "model": Shape((facts,), (None, "x", [], {"dtype": 1})),
            "reference": optional(source),
            "metrics": named(Shape((said,), (None, "x", {"value": 1.0}))),
        },
    )


def test_what_a_hostile_model_says_of_itself_is_read_as_one_line() -> None:
    def said(text: str) -> dict[str, Any]:
        failed = {"value": None, "unit": text, "status": "failed", "reason": text, "cost_s": None}
        facts = {"model_class": text, "dtype": text, "weights_digest": text}
        return {"versions": {text: text}, "refused": text, "model": facts, "metrics": {FORCE: failed}}

    found = MetricsFile.model_validate(said("a\x1b[31mb\nc"))
    assert found.model_dump(exclude_unset=True) == said("ab c")


def test_what_a_metrics_file_does_not_say_is_this() -> None:
    model: dict[str, Any] = {
        "model_class": None,
        "dtype": None,
        "arguments": {},
        "parameter_count": None,
        "weights_digest": None,
    }
    said = dict.fromkeys(WHOLE) | {
        "format": "mlipilot-metrics/1",
        "versions": {},
        "model": model,
        "metrics": {},
    }
    assert MetricsFile().model_dump(mode="json") == said
    bare = MetricsFile.model_validate({"metrics": {FORCE: {"value": 1.0, "status": "ok"}}}).metrics[FORCE]
    assert (bare.unit, bare.reason, bare.cost_s) == ("", None, None)


def test_a_failure_without_words_is_one() -> None:
    found = entry(FORCE, Measurement({FORCE: 1.0}, {FORCE: ""}), 0.1)
    assert (found.status, found.value, found.reason) == ("failed", None, "")


@pytest.mark.parametrize(
    ("value", "truth", "percent"),
    [(3.0, 4.0, 25.0), (5.0, 4.0, 25.0), (-3.0, -4.0, 25.0), (2.0, -4.0, 150.0)],
)
def test_an_error_in_percent_is_of_the_truth(value: float, truth: float, percent: float) -> None:
    assert percent_error(value, truth) == pytest.approx(percent)
