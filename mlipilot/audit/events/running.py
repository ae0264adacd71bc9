"""A lineage's sessions, its jobs and verdicts, and its end."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from mlipilot.audit.events.model import Cost, Count, Model, Number, Ordinal, Sha256, Variant
from mlipilot.audit.events.proposing import ExpectedEffect
from mlipilot.audit.surroundings import Isolation, Machine
from mlipilot.paths import JobKey, JobKind

Outcome = Literal[
    "ok", "failed", "time_limit", "protected_changed", "lost", "cancelled", "not_isolated", "not_storable"
]


class _Session(Model):
    """A controller takes the lineage up: where it was."""

    epoch: Count | None = None
    """Of the claim under which it writes."""
    cluster: str | None = None
    """Of its Slurm job; a local process is of none."""
    run: str | None = None
    """The run's directory, as it saw it."""


class CampaignStarted(_Session):
    """The lineage begins: every digest that it stands on, SHA-256 in hexadecimal digits."""

    kind: ClassVar[str] = "campaign_started"
    lineage: Number
    campaign: str
    profile: str
    pilot: str
    """Its label in the campaign."""
    backend: Literal["local", "slurm"] = "local"
    spec_sha256: Sha256
    scorecard_sha256: Sha256
    recipe_digest: Sha256
    """Of the starting recipe's tree."""
    data_manifest_sha256: Sha256
    protected_sha256: Sha256
    prompts_digest: Sha256
    versions: dict[str, str]
    """Of Python, this toolkit and the packages that results depend on, by name."""
    image_sha256: Sha256 | None = None
    """Of the image that it runs in; None for a run without one."""
    mlipilot: str | None = None
    """Said here before `versions` had it, like the two that follow."""
    python: str | None = None
    machine: str | None = None


class Resumed(_Session):
    """A controller takes the lineage up again."""

    kind: ClassVar[str] = "resumed"
    unattended: bool = False
    """Nobody asked for it: a successor, or a job that Slurm started again."""


class _OfJob(Model):
    iteration: Number
    seed: Count
    job: JobKind
    revision: Number = 0
    """Of a smoke step: which draft; 0 for every other kind."""
    fresh: bool = False
    """With a seed of the confirmation."""
    variant: Variant = ""
    """Of the candidate, as `JobKey` has it; empty: as it is."""
    attempt: Ordinal

    @property
    def key(self) -> JobKey:
        """The job that the record speaks of."""
        return JobKey(self.iteration, self.seed, self.job, self.revision, self.fresh, self.variant)

    @classmethod
    def of(cls, key: JobKey, attempt: int, **said: Any) -> Self:
        """What is said of an attempt of the job `key`."""
        named: dict[str, Any] = {"revision": key.revision} if key.kind == "smoke" else {}
        named |= {"fresh": True} if key.fresh else {}
        named |= {"variant": key.variant} if key.variant else {}
        return cls(iteration=key.iteration, seed=key.seed, job=key.kind, attempt=attempt, **named, **said)


class JobSubmitted(_OfJob):
    """An attempt of a job is in flight."""

    kind: ClassVar[str] = "job_submitted"
    order_sha256: Sha256 | None = None
    """Of its `job.json`, where it runs as a local process, in reach of what candidates run."""


class JobFinished(_OfJob):
    """An attempt is over: how it ended, and what it cost."""

    kind: ClassVar[str] = "job_finished"
    outcome: Outcome
    reason: str | None
    exit_status: int | None = None
    """Negative: ended by that signal."""
    job_id: str | None = None
    """The scheduler's, where there is one."""
    job_name: str | None = None
    node: str | None = None
    free: bool = False
    """Lost by the cluster's own fault: not counted among the attempts."""
    bad_node: str | None = None
    """Better avoided from now on."""
    cpu_s: Cost | None
    """None: could not be read."""
    gpu_s: Cost
    wall_s: Cost
    sealed_by: str | None = None
    """Who found the attempt when its own start had not sealed it."""
    dropped: str | None = None
    """What of its output was not expected and is not kept, in words."""
    isolation: Isolation | None = None
    machine: Machine | None = None
    manifest_sha256: Sha256 | None
    """None: it left no seal."""

    @property
    def counted_cpu_s(self) -> float:
        """The CPU time that it is counted with: where it is unknown, as if one core had been busy."""
        return self.wall_s if self.cpu_s is None else self.cpu_s


class CandidateDropped(Model):
    """A person has given up the candidate under way, which ends its iteration."""

    kind: ClassVar[str] = "candidate_dropped"
    iteration: Number
    why: str


class Weighed(Model):
    """The first seed of a candidate is measured, and says whether the others are worth a training."""

    kind: ClassVar[str] = "weighed"
    iteration: Number
    gain: float | None = None
    """Over the incumbent by that seed, in ln units; None where there is nothing to compare."""
    bound: float | None = None
    """Below which it has lost."""
    lost: str | None = None
    """Why it cannot win any more; None: it may."""


class GradedEffect(ExpectedEffect):
    """What became of it; the means over seeds in the metric's unit, None where it was not measured."""

    before: float | None
    after: float | None
    grade: Literal["held", "refuted", "unclear"]


class Verdict(Model):
    """The iteration is judged and sealed; violation, objective, gain and threshold in ln units."""

    kind: ClassVar[str] = "verdict"
    iteration: Number
    verdict: Literal["accepted", "reverted", "invalid"]
    reason: str
    violation: float | None
    log_objective: float | None
    gain: float | None
    threshold: float | None
    measure: Literal["violation", "objective"] | None
    """Of which of both gain and threshold are; None where they were not compared."""
    effects: list[GradedEffect]
    incumbent: Number | None
    """From now on."""
    manifest_sha256: Sha256
    verdict_sha256: Sha256
    """Of `verdict.json`."""


class Paused(Model):
    """The controller stops, and the lineage can go on later."""

    kind: ClassVar[str] = "paused"
    reason: str
    mends_by_itself: bool = False
    """Time, or another start elsewhere, may mend it; else a person has to."""


class Cancelled(Model):
    """Somebody asked for the end; the lineage can be resumed."""

    kind: ClassVar[str] = "cancelled"


class Finished(Model):
    """The lineage is over."""

    kind: ClassVar[str] = "finished"
    reason: str
    incumbent: Number | None


class LedgerRepaired(Model):
    """A torn last line, which a kill or a full disk left, was cut off."""

    kind: ClassVar[str] = "ledger_repaired"
    bytes_cut: Count
    sha256: Sha256
    """Of what was cut off."""


Event = (
    CampaignStarted
    | Resumed
    | JobSubmitted
    | JobFinished
    | CandidateDropped
    | Weighed
    | Verdict
    | Paused
    | Cancelled
    | Finished
    | LedgerRepaired
)
