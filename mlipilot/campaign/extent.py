"""How far a lineage goes: what it may spend, and with how many fresh seeds it confirms what it kept."""

from __future__ import annotations

from pydantic import BaseModel, Field, model_validator


class Budget(BaseModel, extra="forbid", frozen=True):
    """What a lineage may spend. Training is budgeted in optimiser steps, so that a seed fixes its result.

    Steps are what the recipe says; what a training takes of the machine is measured.

    A budget is looked at before each call of the pilot, each job and each hypothesis: what was begun is
    carried to its end, so a lineage may spend one reply or the jobs in flight more. The baseline and, at the
    end, the confirmation and the sealed check are always made.
    """

    iterations: int = Field(ge=0, description="hypotheses after the baseline")
    optimizer_steps: int = Field(gt=0, description="of one training")
    training_seconds_over_baseline: float | None = Field(
        default=4.0,
        ge=1,
        description="CPU-seconds (`device` cuda: GPU-seconds) of a candidate's training, times the mean of "
        "the baseline's; null: bound by jobs.train_wall_limit_s alone",
    )
    first_seed_alone: bool = Field(
        default=False,
        description="the other seeds of a candidate, where it has any, wait until its first is measured, and "
        "are spared where that has lost; takes longer where slots are free",
    )
    cpu_seconds: float | None = Field(default=None, gt=0, description="of all jobs")
    gpu_seconds: float | None = Field(default=None, gt=0, description="of all jobs: GPUs held × time")
    wall_seconds: float | None = Field(default=None, gt=0, description="of the lineage, pauses included")
    prompt_tokens: int | None = Field(default=None, gt=0, description="sent to the pilot, all roles")
    completion_tokens: int | None = Field(default=None, gt=0, description="received from it, all roles")
    usd: float | None = Field(default=None, gt=0, description="by the prices under pilot:")


class Confirmation(BaseModel, extra="forbid", frozen=True):
    """How the steps that a search kept are tried again at its end: `controller/confirmation.py`."""

    seeds: int = Field(default=3, ge=2, le=64, description="fresh ones, with which each is trained once more")
    most_seeds: int | None = Field(
        default=None,
        ge=3,
        le=64,
        description="to as many it goes on where a word is near; null: what `seeds` say is all",
    )
    alpha: float = Field(default=0.05, gt=0, lt=1, description="the chance of any false word of it")
    permuted_labels: bool = Field(
        default=True,
        description="trains the last kept step once more on labels of other structures: what it then knows "
        "of the true ones did not come from its data",
    )
    leave_out: float = Field(
        default=0.1,
        ge=0,
        le=0.5,
        description="the share of the training structures that each fresh seed is trained without, "
        "another one for each; 0: all have them all",
    )

    @model_validator(mode="after")
    def _goes_on_to_more(self) -> Confirmation:
        if self.most_seeds is not None and self.most_seeds <= self.seeds:
            raise ValueError(f"most_seeds: more than seeds, which are {self.seeds}, or null")
        return self
