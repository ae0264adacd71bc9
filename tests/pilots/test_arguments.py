"""Arguments that a tool can take, and what is said of the others."""

from __future__ import annotations

from typing import Any

import pytest

from mlipilot.pilots.arguments import coerced, fault_of
from mlipilot.pilots.tools import PARAMETERS
from tests.pilots.test_tools import CLAIM

LOG, SUBMIT, WRITE = (PARAMETERS[name][1] for name in ("read_log", "submit_experiment", "write_file"))


@pytest.mark.parametrize(
    ("given", "schema", "taken"),
    [
        ({"iteration": "3"}, LOG, {"iteration": 3}),
        ({"iteration": 3}, LOG, {"iteration": 3}),
        ({"iteration": "three"}, LOG, {"iteration": "three"}),
        ({"iteration": "[3]"}, LOG, {"iteration": "[3]"}),
        ({"iteration": "true"}, LOG, {"iteration": "true"}),
        ({"iteration": "[" * 5000}, LOG, {"iteration": "[" * 5000}),
        ({"path": "a", "content": "3"}, WRITE, {"path": "a", "content": "3"}),
        ({"path": "a", "other": "3"}, WRITE, {"path": "a", "other": "3"}),
        (
            {"expected_effect": '[{"metric": "force_mae_mev_per_a", "direction": "decrease"}]'},
            SUBMIT,
            {"expected_effect": [{"metric": "force_mae_mev_per_a", "direction": "decrease"}]},
        ),
    ],
)
def test_a_string_is_read_as_json_only_where_another_type_is_wanted(
    given: dict[str, Any], schema: dict[str, Any], taken: dict[str, Any]
) -> None:
    assert coerced(given, schema) == taken


@pytest.mark.parametrize(
    ("given", "schema", "says"),
    [
        ({}, LOG, "arguments: 'iteration' is a required property"),
        ({"iteration": -1}, LOG, "iteration: -1 is less than the minimum of 0"),
        ({"iteration": "a"}, LOG, "iteration: 'a' is not of type 'integer'"),
        (
            CLAIM | {"expected_effect": [{"metric": "force_mae", "direction": "decrease"}]},
            SUBMIT,
            "did you mean 'force_slope' or 'force_mae_mev_per_a'",
        ),
    ],
)
def test_a_fault_is_named_with_its_place(given: dict[str, Any], schema: dict[str, Any], says: str) -> None:
    assert says in (fault_of(given, schema) or "")


def test_what_fits_has_no_fault() -> None:
    assert fault_of(CLAIM, SUBMIT) is None


def test_of_a_long_value_the_fault_is_told_all_the_same() -> None:
    claim = {"title": "abc", "hypothesis": "h" * 2001, "mechanism": "m" * 20, "expected_effect": []}
    effect = {"metric": "force_mae_mev_per_a", "direction": "decrease"}
    assert str(fault_of({**claim, "expected_effect": [effect]}, SUBMIT)).endswith(
        "… is too long (the limit is 2000)"
    )
    claim["hypothesis"] = "short enough"
    fault = str(fault_of({**claim, "expected_effect": [effect] * 40}, SUBMIT))
    assert fault.startswith("expected_effect: [{'metric'") and fault.endswith("too long (the limit is 32)")
