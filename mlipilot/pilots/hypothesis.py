"""A hypothesis: what will change, by which mechanism, and which metrics should move which way.

It is recorded before the job runs and graded afterwards, from the metrics, by code.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from mlipilot.evaluation.catalog import CATALOG

Direction = Literal["decrease", "increase", "unchanged"]
Grade = Literal["held", "refuted", "unclear"]


class ExpectedEffect(BaseModel, extra="forbid", frozen=True):
    """One falsifiable expectation: this metric moves this way relative to the incumbent."""

    metric: str = Field(json_schema_extra={"enum": [*sorted(CATALOG)]})
    direction: Direction


class Hypothesis(BaseModel, extra="forbid", frozen=True):
    """What a pilot states when it submits an experiment."""

    title: str = Field(min_length=3, max_length=100)
    hypothesis: str = Field(min_length=10, max_length=2000)
    mechanism: str = Field(min_length=10, max_length=2000)
    expected_effect: list[ExpectedEffect] = Field(min_length=1, max_length=32)
