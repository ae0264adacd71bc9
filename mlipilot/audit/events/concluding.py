"""What is said of a lineage once its search is over: the confirmation, the sealed check and the exam."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, RootModel, model_validator

from mlipilot.audit.events.model import Count, Model, Number, Sha256, Share, Spread


class ConfirmationAsked(Model):
    """A person asks that a lineage which is over confirms what it kept."""

    kind: ClassVar[str] = "confirmation_asked"
    seeds: Annotated[int, Field(ge=2, le=64)]
    alpha: Annotated[float, Field(gt=0, lt=1)]
    most_seeds: Annotated[int, Field(ge=3, le=64)] | None = None
    """To as many it may go on."""
    permuted_labels: bool = False
    """Whether the last kept step is to be trained on labels of other structures, too."""
    leave_out: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Of the training structures, for each seed others."""

    @model_validator(mode="after")
    def _goes_on_to_more(self) -> ConfirmationAsked:
        if self.most_seeds is not None and self.most_seeds <= self.seeds:
            raise ValueError("most_seeds are not more than seeds")
        return self


class ConfirmedStep(Model):
    """What fresh seeds say of a kept candidate beside an earlier one; gain and its spread in ln units."""

    iteration: Number
    before: Number
    """What it is compared with, seed by seed."""
    measure: Literal["violation", "objective"]
    gain: float
    """The mean over seeds."""
    sd: Spread
    p: Share
    level: Share
    """What p must be below; 0: it was not asked, since something before it did not hold."""
    confirmed: bool
    passed: Count
    """Fresh seeds with which it passes every gate."""
    fault: str | None
    """Why its seeds say nothing of a gain, where they do not."""


class LabelControl(Model):
    """How much of the forces' variance the last kept candidate explains without its labels."""

    seed: Count
    explained: float | None
    """Trained on permuted labels; None where it could not be measured."""
    of_true: float | None
    """With the same seed, trained on its own labels."""
    labels_explain: float
    """How much the permuted labels explain by themselves: where that is much, the control shows nothing."""
    fault: str | None
    """Why it could not be trained so."""


class Confirmed(Model):
    """The search is over, and fresh seeds have said what of it holds."""

    kind: ClassVar[str] = "confirmed"
    seeds: list[Count]
    alpha: Share
    """The chance of any false word among all."""
    baseline_passed: Count
    """Fresh seeds with which the baseline passes every gate."""
    whole: ConfirmedStep
    """The last kept candidate beside the baseline."""
    steps: list[ConfirmedStep]
    """Each kept candidate beside the one before."""
    incumbent: Number
    """From now on: the last kept candidate where the whole is confirmed, else the baseline."""
    pass_rate_at_least: Share
    """Of its trainings, with 95 % confidence."""
    control: LabelControl | None = None
    """None: none was asked for."""
    goes_on_to: Count | None = None
    """As many seeds a second look will have; None: this is the last word."""


class StepToTakeOut(Model):
    """A confirmed step, and the model that stands without it."""

    iteration: Number
    recipe_digest: Sha256 | None
    """Of the recipe; None: later steps have changed what it had changed."""


class AblationAsked(Model):
    """A person asks what each confirmed step is worth in the model that stands."""

    kind: ClassVar[str] = "ablation_asked"
    steps: list[StepToTakeOut]


class StepWorth(Model):
    """What the model that stands loses without a step, over fresh seeds, in ln units."""

    iteration: Number
    measure: Literal["violation", "objective"] | None = None
    worth: float | None = None
    """The mean over seeds, of which the 95 % interval reaches as far as this to both sides."""
    half_width: Spread | None = None
    passed: Count | None = None
    """Fresh seeds with which the model without it passes every gate."""
    fault: str | None
    """Why nothing can be said of it."""


class Ablated(Model):
    """Each confirmed step was taken out of the model that stands."""

    kind: ClassVar[str] = "ablated"
    steps: list[StepWorth]


class Errors(Model):
    """A metric's means over seeds on two splits, in its unit; None where a seed has no value."""

    sealed: float | None
    test: float | None


class SealedCheck(RootModel[dict[str, dict[str, Errors]]], frozen=True, strict=True):
    """Baseline and incumbent on data that no verdict has used: errors by iteration and metric."""

    kind: ClassVar[str] = "sealed_check"

    def of(self, iteration: int | None) -> dict[str, Errors]:
        """Those of one iteration by metric; none where it was not compared."""
        return self.root.get(str(iteration), {})


class CommitteeResult(Model):
    """What the spread of a candidate's seeds says of their error, by `evaluation/committee.py`."""

    on: str
    """Which structures."""
    force_mae_mev_per_a: Spread
    """Of the members' mean, like the next."""
    force_rmse_mev_per_a: Spread
    force_spread_mev_per_a: Spread
    spearman: float | None
    ence: Spread | None
    miscalibration_area: Share


class ExamResult(Model):
    """How the fresh seeds of one candidate did on what no verdict has used."""

    iteration: Number
    passed: Count
    """Fresh seeds with which it passes every gate that the sealed split can be asked for."""
    failed: list[str]
    """The metrics of the gates that some seed misses there."""
    committee: list[CommitteeResult]


class Examined(Model):
    """The baseline and what stands were examined with fresh seeds, after the confirmation."""

    kind: ClassVar[str] = "examined"
    results: list[ExamResult]


Event = ConfirmationAsked | Confirmed | SealedCheck | Examined | AblationAsked | Ablated
