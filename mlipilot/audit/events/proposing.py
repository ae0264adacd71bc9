"""What is asked and answered on the way to a candidate, and what is learnt from its verdict."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from mlipilot.audit.events.model import Cost, Count, LineageName, Model, Number, Ordinal, Sha256

Role = Literal["researcher", "reviewer", "analyst"]


class EndpointProbed(Model):
    """What was found out about a model at an address, and what that cost."""

    kind: ClassVar[str] = "endpoint_probed"
    base_url: str
    model: str
    mode: Literal["native", "json_schema", "json_object", "prompt"]
    """How it is made to call tools."""
    context_tokens: Count | None
    """For conversation and reply together; None when the endpoint does not say."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"]
    takes_system_role: bool
    why: str
    requests: Count
    prompt_tokens: Count
    completion_tokens: Count
    usd: Cost = 0.0


class Heard(Model):
    """What a role is about to be told of other lineages: how much of them there was."""

    kind: ClassVar[str] = "heard"
    iteration: Number
    role: Role
    findings: Count
    """Lines of the run's findings."""
    records: dict[LineageName, Count]
    """Records of other lineages' ledgers, by the lineage's number."""


class Exchange(Model):
    """A line of the transcript: a request to an endpoint and its reply."""

    kind: ClassVar[str] = "exchange"
    iteration: Number
    role: Role = "researcher"
    prompt_tokens: Count
    completion_tokens: Count
    estimated: list[Literal["prompt_tokens", "completion_tokens"]] = Field(default=[])
    """Which of both the endpoint did not say."""
    duration_s: Cost
    usd: Cost = 0.0
    line: Ordinal
    sha256: Sha256
    """Of the line without its break."""


class ExpectedEffect(Model):
    """One falsifiable expectation: this metric moves this way relative to the incumbent."""

    metric: str
    direction: Literal["decrease", "increase", "unchanged"]


class Claim(Model):
    """What a pilot states when it submits an experiment."""

    title: str
    hypothesis: str
    mechanism: str
    expected_effect: list[ExpectedEffect]


class _Published(Model):
    """What was published of a recipe: `patch.diff` is relative to the incumbent's."""

    iteration: Number
    title: str
    recipe_digest: Sha256
    patch_sha256: Sha256
    hypothesis_sha256: Sha256


class Drafted(_Published):
    """The pilot has submitted a revision of an iteration."""

    kind: ClassVar[str] = "drafted"
    revision: Ordinal
    hypothesis: Claim
    manifest_sha256: Sha256


class Reviewed(Model):
    """The reviewer's word on a draft."""

    kind: ClassVar[str] = "reviewed"
    iteration: Number
    revision: Ordinal
    approved: bool
    text: str


class Proposed(_Published):
    """A draft, or the baseline, is the iteration's candidate."""

    kind: ClassVar[str] = "proposed"
    revision: Ordinal | None = None
    hypothesis: Claim | None
    """None for the baseline."""


class NoProposal(Model):
    """The iteration ends without a candidate."""

    kind: ClassVar[str] = "no_proposal"
    iteration: Number
    reason: str


class GaveUp(Model):
    """The pilot has nothing more to try."""

    kind: ClassVar[str] = "gave_up"
    iteration: Number
    reason: str


class Lesson(Model):
    """What the analyst makes of a verdict; empty where that was nothing."""

    kind: ClassVar[str] = "lesson"
    iteration: Number
    text: str


Event = EndpointProbed | Heard | Exchange | Drafted | Reviewed | Proposed | NoProposal | GaveUp | Lesson
