"""Numbers as people read them: no false precision, no lost sign."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlipilot.evaluation.catalog import CATALOG, metric_unit
from mlipilot.report.text import count, duration, joined, mean_sd, metric_label, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "—"),
        (0.0, "0"),
        (1.0, "1"),
        (9.996, "10.0"),
        (57.94, "57.9"),
        (0.00123, "0.00123"),
        (1.2e-11, "1.20 × 10⁻¹¹"),
        (123456.7, "1.23 × 10⁵"),
        (-0.5, "−0.500"),
        (math.inf, "∞"),
        (math.nan, "not a number"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], "—"),
        ([57.9], "57.9"),
        ([1.0, 1.0], "1"),
        ([57.9, 61.2, 54.6], "58 ± 3"),
        ([9.99, 10.01], "10.000 ± 0.014"),
        ([0.152, 0.161], "0.157 ± 0.006"),
        ([1.2e-11, 1.3e-11], "(1.25 ± 0.07) × 10⁻¹¹"),
    ],
)
def test_a_mean_is_shown_to_its_deviation(values: list[float], text: str) -> None:
    assert mean_sd(values) == text


@given(st.lists(st.floats(-1e12, 1e12), max_size=5))
def test_any_finite_values_can_be_written(values: list[float]) -> None:
    assert mean_sd(values)
    for value in values:
        shown = number(value).replace("−", "-")
        if "×" not in shown and shown != "0":
            assert float(shown) == pytest.approx(value, rel=0.01)


def test_every_metric_has_a_label_without_its_unit() -> None:
    labels = {name: metric_label(name) for name in CATALOG}
    assert labels["force_mae_mev_per_a"] == "force MAE"
    assert labels["nve_drift_mev_per_atom_per_ps"] == "NVE drift"
    assert labels["c44_gpa"] == "C44"
    assert labels["relaxation_rmsd_a"] == "relaxation RMSD"
    assert labels["frequency_mae_per_cm"] == "frequency MAE"
    assert not any("_" in label or "mev" in label or "gpa" in label for label in labels.values())
    assert len(set(labels.values())) == len(labels)


def test_a_pure_number_has_no_unit() -> None:
    assert metric_unit("relative_cost") == ""
    assert metric_unit("force_mae_mev_per_a") == "meV/Å"


def test_words() -> None:
    assert [duration(s) for s in (0.04, 59, 59.7, 3599, 7260)] == [
        "0.0 s",
        "59 s",
        "1 min 0 s",
        "59 min 59 s",
        "2 h 1 min",
    ]
    assert count(1, "gate") == "1 gate"
    assert count(23400, "token") == "23\u202f400 tokens"
    assert joined(["a", "b", "c"]) == "a, b and c"
