import math

import pytest

from mlipilot.evaluation.results import Measurement, entry


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_a_failure_with_a_reason(value: float) -> None:
    found = entry("force_mae_mev_per_a", Measurement({"force_mae_mev_per_a": value}), 0.1)
    assert (found["status"], found["value"]) == ("failed", None)
    assert "not a finite number" in found["reason"]


def test_a_value_that_was_not_given_is_a_failure() -> None:
    found = entry("force_mae_mev_per_a", Measurement(), 0.1)
    assert (found["status"], found["value"], found["unit"]) == ("failed", None, "meV/Å")
    assert found["reason"]


def test_reasons_are_one_short_line_without_control_characters() -> None:
    hostile = "a\x1b[31mred\nline\u202e\x00" + "x" * 1000
    found = entry("force_mae_mev_per_a", Measurement(failures={"force_mae_mev_per_a": hostile}), 0.1)
    assert found["reason"].startswith("ared linexxx")
    assert len(found["reason"]) <= 300
    assert found["reason"].isprintable()
