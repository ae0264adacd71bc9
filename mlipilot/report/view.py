"""What there is to show of a lineage, as plain data: every table, figure and sentence is made from this."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from operator import add
from pathlib import Path
from typing import Literal

from mlipilot.audit.ledger import Record
from mlipilot.audit.places import clusters_of
from mlipilot.campaign.spec import CampaignSpec
from mlipilot.controller.accept import mean_of_all
from mlipilot.controller.state import State
from mlipilot.evaluation.metrics_file import Entry
from mlipilot.evaluation.scorecard import Gate, GateResult, Score, Scorecard
from mlipilot.jobs.inflight import InFlight
from mlipilot.jobs.successors import Waiting
from mlipilot.paths import LineagePaths, RunPaths
from mlipilot.report.billing import Billing
from mlipilot.report.training_curves import TrainingCurve

Status = Literal["accepted", "reverted", "invalid", "no proposal", "running"]


@dataclass(frozen=True)
class SeedView:
    """A candidate trained with one seed."""

    seed: int
    metrics: Mapping[str, Entry] = field(default_factory=dict)
    """Empty until the evaluation ended well."""
    score: Score | None = None
    weights_digest: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the software that measured."""
    curve: TrainingCurve = field(default_factory=TrainingCurve)
    curves_files: Sequence[Path] = ()
    """The evaluator's `curves.npz`, the exam's after the other."""
    exam: Mapping[str, Entry] = field(default_factory=dict)
    """What is measured at the lineage's end alone; empty until then."""
    handover: Path | None = None
    """The directory `model/` of a training that ended well."""
    training_s: float | None = None
    """What that training took: GPU-seconds in a campaign on GPUs, else CPU-seconds."""
    faults: list[str] = field(default_factory=list)
    """Jobs that did not end well, and why."""
    log_tail: str = ""
    """The end of a failed training's error output, cleaned."""


@dataclass(frozen=True)
class EffectView:
    """What a hypothesis expected of a metric and what was measured: means over seeds."""

    metric: str
    direction: str
    grade: str | None
    """held, refuted or unclear; None before the verdict."""
    before: float | None = None
    after: float | None = None


@dataclass(frozen=True)
class Cost:
    """What was spent. CPU and GPU time of jobs; `wall_s` sums over jobs that may have run side by side.

    `cpu_unknown` jobs could not tell their CPU time: their wall time stands in `cpu_s` for it.
    """

    cpu_s: float = 0.0
    gpu_s: float = 0.0
    wall_s: float = 0.0
    jobs: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    exchanges: int = 0
    usd: float = 0.0
    cpu_unknown: int = 0

    @property
    def tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Cost) -> Cost:
        return Cost(*map(add, astuple(self), astuple(other)))


@dataclass(frozen=True)
class RevisionView:
    """One draft of an iteration, on its way to the candidate or back to the pilot."""

    number: int
    title: str
    objection: str | None
    """What the reviewer objected; empty when it agreed, None when it was not asked."""
    smoke: str | None
    """How its smoke step ended, as an outcome of a job; None before the end, or without one."""
    smoke_reason: str = ""
    smoke_cpu_s: float = 0.0
    """Of all attempts."""


@dataclass(frozen=True)
class IterationView:
    """One hypothesis, what was tried for it and what came of it. All texts are cleaned."""

    number: int
    title: str
    status: Status
    reason: str
    hypothesis: str = ""
    mechanism: str = ""
    effects: list[EffectView] = field(default_factory=list)
    diff: str = ""
    seeds: list[SeedView] = field(default_factory=list)
    gain: float | None = None
    """Over the incumbent, ln units of `measure`; None where the two were not compared by a number."""
    threshold: float | None = None
    """What the gain had to exceed."""
    measure: Literal["violation", "objective"] | None = None
    incumbent_after: int | None = None
    """The lineage's incumbent once this iteration was judged."""
    recipe_digest: str | None = None
    cost: Cost = Cost()
    revisions: list[RevisionView] = field(default_factory=list)
    lesson: str = ""
    """What the analyst made of the outcome."""

    @property
    def scores(self) -> list[Score]:
        """Scores of the seeds measured so far."""
        return [seed.score for seed in self.seeds if seed.score is not None]

    @property
    def measured(self) -> bool:
        """Whether every seed has its score."""
        return bool(self.seeds) and len(self.scores) == len(self.seeds)

    @property
    def feasible(self) -> bool:
        """Whether every seed was measured and passes every gate."""
        return self.measured and all(score.feasible for score in self.scores)

    @property
    def violations(self) -> list[float]:
        """Total gate violation by seed, ln units."""
        return [score.violation for score in self.scores]

    @property
    def log_objectives(self) -> list[float]:
        """ln of the objective by seed, where it could be computed."""
        return [score.log_objective for score in self.scores if score.log_objective is not None]

    @property
    def objectives(self) -> list[float]:
        """The objective by seed, where it could be computed."""
        return [math.exp(value) for value in self.log_objectives]

    @property
    def objective(self) -> float | None:
        """The geometric mean over seeds, or None while a seed lacks one."""
        log = mean_of_all([seed.score.log_objective if seed.score else None for seed in self.seeds])
        return None if log is None else math.exp(log)

    def values(self, metric: str) -> list[float]:
        """A metric's value by seed, where there is one."""
        return [value for value in self._by_seed(metric) if value is not None]

    def mean_value(self, metric: str) -> float | None:
        """The mean over all seeds, or None when one of them lacks the metric."""
        return mean_of_all(self._by_seed(metric))

    def _by_seed(self, metric: str) -> list[float | None]:
        found = [seed.metrics.get(metric) for seed in self.seeds]
        return [entry.value if entry else None for entry in found]

    def gate_results(self, index: int) -> list[GateResult]:
        """The scorecard's gate number `index` applied to each measured seed."""
        return [score.gates[index] for score in self.scores]


@dataclass(frozen=True)
class LineageView:
    """Everything that is shown of a lineage."""

    run: RunPaths
    lineage: LineagePaths
    spec: CampaignSpec
    card: Scorecard
    state: State
    records: list[Record]
    iterations: list[IterationView]
    isolation: list[dict[str, str]] = field(default_factory=list)
    """Each kind of isolation that jobs ran under."""
    open_doors: list[str] = field(default_factory=list)
    """What that isolation left open, in words."""
    machines: list[dict[str, str]] = field(default_factory=list)
    """Each kind of machine that jobs ran on."""
    controller: str | None = None
    """Who holds the lineage now."""
    handed_back: Waiting | None = None
    """Who goes on, and when, where the last controller handed its core back and nobody holds the lineage."""
    in_flight: list[InFlight] = field(default_factory=list)
    """Jobs of which the ledger has no end yet."""
    fresh: dict[int, IterationView] = field(default_factory=dict)
    """The baseline and what was kept, as measured with fresh seeds, once these have had their say."""
    confirmation_cost: Cost = Cost()
    """Of training and measuring with fresh seeds."""
    sealed_cost: Cost = Cost()
    probe_cost: Cost = Cost()
    """Of finding out how the pilot's endpoints call tools."""
    pending_cost: Cost = Cost()
    """Of a turn of the pilot that has led to no iteration yet."""
    billing: Billing | None = None
    """What Slurm's accounts say of the jobs; None where they were not asked."""
    problems: list[str] = field(default_factory=list)
    """What could not be read, or is not what it should be."""

    @property
    def baseline(self) -> IterationView | None:
        """Iteration 0; with fresh seeds where there were any."""
        return self.fresh.get(0, self.iterations[0]) if self.iterations else None

    @property
    def incumbent(self) -> IterationView | None:
        """The best iteration that stands, the baseline included; with fresh seeds where there were any."""
        number = self.state.incumbent
        return None if number is None else self.fresh.get(number, self.iterations[number])

    @property
    def feasible(self) -> bool:
        """Whether the incumbent passes every gate on every seed, and on the sealed split, if asked."""
        if self.incumbent is None or not self.incumbent.feasible:
            return False
        results = self.state.examined.results if self.state.examined else []
        of_it = [result.passed for result in results if result.iteration == self.state.incumbent]
        return all(passed == len(self.incumbent.seeds) for passed in of_it)

    @property
    def incumbents(self) -> list[int]:
        """The incumbent's number after each iteration; one that is not judged yet changes nothing."""
        found = [0]
        for iteration in self.iterations:
            after = iteration.incumbent_after
            found.append(found[-1] if after is None else after)
        return found[1:]

    @property
    def confirmed_steps(self) -> set[int]:
        """The iterations that fresh seeds confirmed, each by itself."""
        found = self.state.confirmed
        return {step.iteration for step in found.steps if step.confirmed} if found is not None else set()

    @property
    def improved(self) -> bool:
        """Whether some hypothesis was accepted."""
        return bool(self.state.incumbent)

    @property
    def clusters(self) -> list[str]:
        """Those on which its controllers ran, in order; none for local processes."""
        return clusters_of(self.records)

    @property
    def versions(self) -> dict[str, str]:
        """Of what results depend on, by name, as the lineage began with them."""
        return self.state.started.versions if self.state.started else {}

    @property
    def gates(self) -> list[Gate]:
        """The scorecard's gates."""
        return self.card.gates

    @property
    def phase(self) -> str:
        """One word: preparing, running, waiting, interrupted, paused, cancelled or finished."""
        phase = self.state.phase
        if phase in ("open", "preparing") and self.controller is None:
            if self.handed_back is not None and self.handed_back.fate != "lost":
                return "waiting"
            return "interrupted" if self.state.started else "preparing"
        return "running" if phase == "open" else phase

    @property
    def total_cost(self) -> Cost:
        """What everything cost: iterations, the endpoint's probe, what followed, the turn under way."""
        apart = self.probe_cost + self.confirmation_cost + self.sealed_cost + self.pending_cost
        return sum((i.cost for i in self.iterations), apart)

    def gates_passed(self, iteration: IterationView | None) -> int | None:
        """How many gates hold on every seed; None for a candidate that is not fully measured."""
        if iteration is None or not iteration.measured:
            return None
        passed = [all(g.passed for g in iteration.gate_results(i)) for i in range(len(self.gates))]
        return sum(passed)
