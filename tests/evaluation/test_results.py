import math

import pytest
from pydantic import ValidationError

from mlipilot.evaluation.results import Measurement, MetricsFile, entry


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_a_failure_with_a_reason(value: float) -> None:
    found = entry("force_mae_mev_per_a", Measurement({"force_mae_mev_per_a": value}), 0.1)
    assert (found.status, found.value) == ("failed", None)
    assert "not a finite number" in str(found.reason)


def test_a_value_that_was_not_given_is_a_failure() -> None:
    found = entry("force_mae_mev_per_a", Measurement(), 0.1)
    assert (found.status, found.value, found.unit) == ("failed", None, "meV/Å")
    assert found.reason


def test_reasons_are_one_short_line_without_control_characters() -> None:
    hostile = "a\x1b[31mred\nline\u202e\x00" + "x" * 1000
    found = entry("force_mae_mev_per_a", Measurement(failures={"force_mae_mev_per_a": hostile}), 0.1)
    assert found.reason is not None and found.reason.startswith("ared linexxx")
    assert len(found.reason) <= 300
    assert found.reason.isprintable()


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
    ],
)
def test_what_is_no_metrics_file_is_refused(content: object) -> None:
    with pytest.raises(ValidationError):
        MetricsFile.model_validate(content)
