"""The fields of every kind of record: what each may say and what it may not, in these tests' own words."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from mlipilot.audit.events import KINDS
from mlipilot.audit.events.concluding import (
    CommitteeResult,
    ConfirmedStep,
    Errors,
    ExamResult,
    LabelControl,
    SealedCheck,
    StepToTakeOut,
    StepWorth,
)
from mlipilot.audit.events.proposing import Claim, ExpectedEffect
from mlipilot.audit.events.running import GradedEffect
from tests.audit.test_events import written
from tests.events import CLAIM
from tests.shapes import TEXT, Shape, check, inner, listed, named, optional, word

NO_NUMBER = (None, True, "1", [1])
FLAG = Shape((False, True), (None, 0, 1, "true"))
WHOLE = Shape((-9, 0, 10**9), (*NO_NUMBER, 0.5))
COUNT = Shape((0, 10**9), (*NO_NUMBER, 0.5, -1))
NUMBER = Shape((0, 999_999), (*NO_NUMBER, 0.5, -1, 10**6))
ORDINAL = Shape((1, 999_999), (*NO_NUMBER, 1.5, 0, 10**6))
REAL = Shape((-2.5, 0.0), (*NO_NUMBER, math.nan, math.inf))
COST = Shape((0.0, 0.25), (*NO_NUMBER, math.nan, math.inf, -0.25))
SHARE = Shape((0.0, 0.25, 1.0), (*NO_NUMBER, math.nan, math.inf, -0.25, 1.25))
SHA = Shape(("0123456789abcdef" * 4,), (None, 1, "", "ab" * 31, "ab" * 33, "AB" * 32, "ab" * 32 + "\n"))
ROLE = word("researcher", "reviewer", "analyst")
DIRECTION = word("decrease", "increase", "unchanged")
LINEAGE = Shape(("0", "999999999"), ("", "one", "-1", "1" * 10, 1))
VARIANT = Shape(
    ("", "permuted-labels", "without-0003", "without-123456"),
    (None, 1, "permuted", "without-3", "without-1234567", "without-0003 ", "../permuted-labels", "x"),
)
EFFECT = {"metric": "m", "direction": "decrease"}
GRADED = {**EFFECT, "before": 2.5, "after": None, "grade": "held"}
STEP = written("confirmed")["steps"][0]
CONTROL = {"seed": 7, "explained": -0.5, "of_true": 0.99, "labels_explain": -1.0, "fault": None}
TAKEN_OUT = written("ablation_asked")["steps"][0]
WORTH = written("ablated")["steps"][0]
RESULT = written("examined")["results"][1]
MACHINE = {"processor": "EPYC", "gpu": None}
ISOLATION = written("job_finished")["isolation"]

SESSION = {"epoch": optional(COUNT), "cluster": optional(TEXT), "run": optional(TEXT)}
JOB = {
    "iteration": NUMBER,
    "seed": COUNT,
    "job": word("smoke", "train", "evaluate", "sealed"),
    "revision": NUMBER,
    "fresh": FLAG,
    "variant": VARIANT,
    "attempt": ORDINAL,
}
PUBLISHED = {
    "iteration": NUMBER,
    "title": TEXT,
    "recipe_digest": SHA,
    "patch_sha256": SHA,
    "hypothesis_sha256": SHA,
}
FIELDS: dict[str, dict[str, Shape]] = {
    "campaign_started": SESSION
    | dict.fromkeys(("campaign", "profile", "pilot"), TEXT)
    | dict.fromkeys(("spec_sha256", "scorecard_sha256", "data_manifest_sha256", "protected_sha256"), SHA)
    | dict.fromkeys(("recipe_digest", "prompts_digest"), SHA)
    | dict.fromkeys(("mlipilot", "python", "machine"), optional(TEXT))
    | {"lineage": NUMBER, "backend": word("local", "slurm"), "versions": named(TEXT)}
    | {"image_sha256": optional(SHA)},
    "resumed": SESSION | {"unattended": FLAG},
    "job_submitted": JOB | {"order_sha256": optional(SHA)},
    "job_finished": JOB
    | dict.fromkeys(("reason", "job_id", "job_name", "node", "bad_node"), optional(TEXT))
    | dict.fromkeys(("sealed_by", "dropped"), optional(TEXT))
    | {
        "outcome": word(
            *("ok", "failed", "time_limit", "protected_changed"),
            *("lost", "cancelled", "not_isolated", "not_storable"),
        ),
        "exit_status": optional(WHOLE),
        "free": FLAG,
        "cpu_s": optional(COST),
        "gpu_s": COST,
        "wall_s": COST,
        "isolation": optional(inner(ISOLATION)),
        "machine": optional(inner(MACHINE)),
        "manifest_sha256": optional(SHA),
    },
    "candidate_dropped": {"iteration": NUMBER, "why": TEXT},
    "verdict": dict.fromkeys(("violation", "log_objective", "gain", "threshold"), optional(REAL))
    | {
        "iteration": NUMBER,
        "verdict": word("accepted", "reverted", "invalid"),
        "reason": TEXT,
        "measure": optional(word("violation", "objective")),
        "effects": listed(inner(GRADED)),
        "incumbent": optional(NUMBER),
        "manifest_sha256": SHA,
        "verdict_sha256": SHA,
    },
    "confirmed": {
        "seeds": listed(COUNT),
        "alpha": SHARE,
        "baseline_passed": COUNT,
        "whole": inner(STEP),
        "steps": listed(inner(STEP)),
        "incumbent": NUMBER,
        "pass_rate_at_least": SHARE,
        "control": optional(inner(CONTROL)),
        "goes_on_to": optional(COUNT),
    },
    "confirmation_asked": {
        "seeds": Shape((2, 64), (*NO_NUMBER, 2.5, 1, 65)),
        "alpha": Shape((0.25, 0.75), (*NO_NUMBER, math.nan, math.inf, -0.25, 0.0, 1.0)),
        "most_seeds": optional(Shape((4, 64), (*NO_NUMBER, 3.5, 2, 65))),
        "permuted_labels": FLAG,
        "leave_out": Shape((0.0, 0.1, 0.5), (*NO_NUMBER, math.nan, math.inf, -0.25, 0.51)),
    },
    "ablation_asked": {"steps": listed(inner(TAKEN_OUT))},
    "ablated": {"steps": listed(inner(WORTH))},
    "weighed": {"iteration": NUMBER, "gain": optional(REAL), "bound": optional(REAL)}
    | {"lost": optional(TEXT)},
    "examined": {"results": listed(inner(RESULT))},
    "paused": {"reason": TEXT, "mends_by_itself": FLAG},
    "cancelled": {},
    "finished": {"reason": TEXT, "incumbent": optional(NUMBER)},
    "ledger_repaired": {"bytes_cut": COUNT, "sha256": SHA},
    "endpoint_probed": dict.fromkeys(("base_url", "model", "why"), TEXT)
    | dict.fromkeys(("requests", "prompt_tokens", "completion_tokens"), COUNT)
    | {
        "mode": word("native", "json_schema", "json_object", "prompt"),
        "context_tokens": optional(COUNT),
        "max_tokens_field": word("max_tokens", "max_completion_tokens"),
        "takes_system_role": FLAG,
        "usd": COST,
    },
    "heard": {"iteration": NUMBER, "role": ROLE, "findings": COUNT, "records": named(COUNT, LINEAGE)},
    "exchange": {
        "iteration": NUMBER,
        "role": ROLE,
        "prompt_tokens": COUNT,
        "completion_tokens": COUNT,
        "estimated": listed(word("prompt_tokens", "completion_tokens")),
        "duration_s": COST,
        "usd": COST,
        "line": ORDINAL,
        "sha256": SHA,
    },
    "drafted": PUBLISHED | {"revision": ORDINAL, "hypothesis": inner(CLAIM), "manifest_sha256": SHA},
    "reviewed": {"iteration": NUMBER, "revision": ORDINAL, "approved": FLAG, "text": TEXT},
    "proposed": PUBLISHED | {"revision": optional(ORDINAL), "hypothesis": optional(inner(CLAIM))},
    "no_proposal": {"iteration": NUMBER, "reason": TEXT},
    "gave_up": {"iteration": NUMBER, "reason": TEXT},
    "lesson": {"iteration": NUMBER, "text": TEXT},
    "reported": {"manifest_sha256": SHA, "heads": named(SHA, LINEAGE)},
}


def test_every_kind_is_looked_at() -> None:
    assert {*FIELDS, "sealed_check"} == KINDS.keys()


@pytest.mark.parametrize("kind", FIELDS)
def test_a_record_says_what_it_may_and_nothing_else(kind: str) -> None:
    check(KINDS[kind], written(kind), FIELDS[kind])


def test_more_seeds_than_the_first_are_asked_for() -> None:
    body = written("confirmation_asked")
    for most in (body["seeds"], 3):
        with pytest.raises(ValidationError, match="most_seeds are not more than seeds"):
            KINDS["confirmation_asked"].model_validate(body | {"most_seeds": most})


def test_so_does_what_stands_inside_of_a_record() -> None:
    effect = {"metric": TEXT, "direction": DIRECTION}
    step = dict.fromkeys(("iteration", "before"), NUMBER) | dict.fromkeys(("p", "level"), SHARE)
    step |= {"measure": word("violation", "objective"), "gain": REAL, "sd": COST, "confirmed": FLAG}
    check(ConfirmedStep, STEP, step | {"passed": COUNT, "fault": optional(TEXT)})
    values = {"seed": COUNT, "explained": optional(REAL), "of_true": optional(REAL)}
    check(LabelControl, CONTROL, values | {"labels_explain": REAL, "fault": optional(TEXT)})
    check(StepToTakeOut, TAKEN_OUT, {"iteration": NUMBER, "recipe_digest": optional(SHA)})
    worth = {"iteration": NUMBER, "measure": optional(step["measure"]), "worth": optional(REAL)}
    worth |= {"half_width": optional(COST), "passed": optional(COUNT), "fault": optional(TEXT)}
    check(StepWorth, WORTH, worth)
    check(
        ExamResult,
        RESULT,
        {"iteration": NUMBER, "passed": COUNT, "failed": listed(TEXT)}
        | {"committee": listed(inner(RESULT["committee"][0]))},
    )
    errors = dict.fromkeys(("force_mae_mev_per_a", "force_rmse_mev_per_a", "force_spread_mev_per_a"), COST)
    figures = {"spearman": optional(REAL), "ence": optional(COST), "miscalibration_area": SHARE}
    check(CommitteeResult, RESULT["committee"][0], {"on": TEXT} | errors | figures)
    mean = optional(REAL)
    check(ExpectedEffect, EFFECT, effect)
    grades = word("held", "refuted", "unclear")
    check(GradedEffect, GRADED, effect | {"before": mean, "after": mean, "grade": grades})
    words = dict.fromkeys(("title", "hypothesis", "mechanism"), TEXT)
    check(Claim, CLAIM, words | {"expected_effect": listed(inner(EFFECT))})
    check(Errors, {"sealed": 1.5, "test": 2.5}, {"sealed": mean, "test": mean})


def test_a_sealed_check_has_errors_by_iteration_and_metric() -> None:
    errors = inner({"sealed": 1.5, "test": None})
    shape = named(named(errors))
    for value in shape.kept:
        assert SealedCheck.model_validate(value).model_dump(mode="json") == value
    for value in (*shape.refused, {b"0": {}}):
        with pytest.raises(ValidationError):
            SealedCheck.model_validate(value)


@pytest.mark.parametrize("kind", KINDS)
def test_what_happened_does_not_change(kind: str) -> None:
    event = KINDS[kind].model_validate(written(kind))
    for name in type(event).model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(event, name, getattr(event, name))
