"""Reading a lineage for display: at any moment of a run, and wary of every text that an agent wrote."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mlipilot.audit.files import sha256_file
from mlipilot.audit.ledger import Record, read_open_ledger
from mlipilot.audit.lock import holder
from mlipilot.campaign.spec import CampaignSpec, load_locked
from mlipilot.controller.isolation_words import doors_of
from mlipilot.controller.state import Draft, Iteration, State, counted_cpu_s, replay
from mlipilot.evaluation.scorecard import Scorecard, load_scorecard, score
from mlipilot.jobs.inflight import InFlight, read_in_flight
from mlipilot.jobs.order import read_json
from mlipilot.jobs.spool import Spool
from mlipilot.jobs.successors import read_waiting
from mlipilot.paths import JobKey, LineagePaths, RunPaths
from mlipilot.report.agent_texts import diff_text, log_end, prose
from mlipilot.report.billing import load_billing
from mlipilot.report.training_curves import read_training_curve
from mlipilot.report.view import (
    Cost,
    EffectView,
    IterationView,
    LineageView,
    MetricView,
    RevisionView,
    SeedView,
    Status,
)
from mlipilot.untrusted import one_line

_MAX_TITLE = 120
_MAX_REASON = 1200

Line = Annotated[str, AfterValidator(one_line)]


class _Entry(BaseModel):
    """One metric as the evaluator wrote it."""

    value: float | None
    unit: Line = ""
    status: Literal["ok", "failed"]
    reason: Line | None = None


class _Model(BaseModel):
    """What a metrics file says of the model."""

    model_config = ConfigDict(extra="allow")

    weights_digest: Line | None = None


class _MetricsFile(BaseModel):
    """The parts of `metrics.json` that are shown."""

    metrics: dict[str, _Entry] = Field(default_factory=dict)
    refused: Line | None = None
    model: _Model = _Model()
    versions: dict[Line, Line] = Field(default_factory=dict)


def load_lineage(run: RunPaths, lineage: LineagePaths) -> LineageView:
    """All that there is to show of a lineage, however far it has come.

    Raises InputError when `run` is no run, LedgerError when the ledger's chain is broken. Anything else that
    is missing or unreadable is left out and named in `problems`.
    """
    spec = load_locked(run.spec).for_lineage(lineage.number)
    card = load_scorecard(run.scorecard)
    records, problems = read_records(lineage.ledger)
    state = replay(records)
    if (state.started or {}).get("spec_sha256") not in (None, sha256_file(run.spec)):
        problems.append(
            f"its ledger speaks of another {run.spec.name} than that of the run: `mlipilot verify`"
        )
    reader = _Reader(lineage, spec, card, state, problems)
    costs = _costs(records)
    iterations = [reader.iteration(i, costs.pop(i.number, Cost())) for i in state.iterations]
    controller = _controller(lineage)
    is_open = controller is None and state.phase == "open"
    return LineageView(
        run=run,
        lineage=lineage,
        spec=spec,
        card=card,
        state=state,
        records=records,
        iterations=iterations,
        isolation=_kinds(records, "isolation"),
        open_doors=doors_of(records),
        machines=_kinds(records, "machine"),
        controller=controller,
        handed_back=read_waiting(run.spool, lineage.number) if is_open else None,
        in_flight=_in_flight(run, lineage, state),
        sealed_cost=costs.pop(_SEALED, Cost()),
        probe_cost=costs.pop(_PROBES, Cost()),
        pending_cost=sum(costs.values(), Cost()),
        billing=load_billing(run, lineage, records),
        problems=problems,
    )


def read_records(path: Path) -> tuple[list[Record], list[str]]:
    """The records without a torn last line, and what is wrong. Raises LedgerError for a broken chain."""
    records, torn = read_open_ledger(path)
    problem = "the ledger's last line is not whole: a write was cut short, or is going on now"
    return records, [problem] if torn else []


class _Reader:
    """Reads what belongs to each iteration of one lineage."""

    def __init__(
        self, lineage: LineagePaths, spec: CampaignSpec, card: Scorecard, state: State, problems: list[str]
    ) -> None:
        self.lineage, self.spec, self.card, self.state, self.problems = lineage, spec, card, state, problems

    def iteration(self, iteration: Iteration, cost: Cost) -> IterationView:
        verdict = iteration.verdict or {}
        stated = iteration.hypothesis or {}
        reason = iteration.no_proposal or verdict.get("reason") or ""
        return IterationView(
            number=iteration.number,
            title=one_line(iteration.title or "no proposal", _MAX_TITLE),
            status=_status(iteration),
            reason=one_line(str(reason), _MAX_REASON),
            hypothesis=prose(stated.get("hypothesis")),
            mechanism=prose(stated.get("mechanism")),
            effects=_effects(verdict, stated),
            diff=self._diff(iteration),
            seeds=[self._seed(iteration.number, seed) for seed in self.spec.seeds]
            if iteration.proposed
            else [],
            incumbent_after=verdict.get("incumbent"),
            recipe_digest=iteration.recipe_digest,
            cost=cost,
            revisions=[self._revision(iteration.number, draft) for draft in iteration.drafts],
            lesson=one_line(iteration.lesson or "", _MAX_REASON),
        )

    def _revision(self, number: int, draft: Draft) -> RevisionView:
        attempts = self.state.smoke_attempts(number, draft.revision)
        last = attempts[-1] if attempts else None
        review = draft.review or {"approved": True, "text": ""}
        return RevisionView(
            number=draft.revision,
            title=one_line(draft.title, _MAX_TITLE),
            objection=None if draft.review is None else "" if review["approved"] else _objection(review),
            smoke=last.outcome if last else None,
            smoke_reason=one_line(str((last.ended or {}).get("reason") or ""), _MAX_REASON) if last else "",
            smoke_cpu_s=sum(counted_cpu_s(a.ended) for a in attempts if a.ended is not None),
        )

    def _diff(self, iteration: Iteration) -> str:
        path = self.lineage.iteration(iteration.number) / "patch.diff"
        if not iteration.proposed and iteration.drafts:
            newest = iteration.drafts[-1].revision
            path = self.lineage.revision(iteration.number, newest) / "patch.diff"
        return diff_text(path, str(path.relative_to(self.lineage.root)))

    def _seed(self, number: int, seed: int) -> SeedView:
        train, evaluate = JobKey(number, seed, "train"), JobKey(number, seed, "evaluate")
        view = SeedView(seed=seed, faults=self._faults([train, evaluate]))
        trained, evaluated = self.state.last(train), self.state.last(evaluate)
        if trained is not None:
            directory = self.lineage.attempt(train, trained.number)
            ok = trained.outcome == "ok"
            view = replace(
                view,
                curve=read_training_curve(directory / "stdout.log"),
                handover=self.lineage.handover(train, trained.number) if ok else None,
                log_tail=log_end(directory / "stderr.log") if trained.ended and not ok else "",
            )
        if evaluated is not None and evaluated.outcome == "ok":
            return self._measured(view, self.lineage.metrics(evaluate, evaluated.number))
        return view

    def _measured(self, view: SeedView, path: Path) -> SeedView:
        try:
            raw = read_json(path)
            found = _MetricsFile.model_validate(raw)
            scored = score(self.card, found.model_dump())
        except (ValueError, ValidationError) as error:
            problem = one_line(f"{path.relative_to(self.lineage.root)}: {error}", _MAX_REASON)
            self.problems.append(problem)
            return replace(view, faults=[*view.faults, "its metrics file cannot be read"])
        model = raw.get("model") if isinstance(raw, Mapping) else None
        return replace(
            view,
            metrics={
                name: MetricView(entry.value if entry.status == "ok" else None, entry.unit, entry.reason)
                for name, entry in found.metrics.items()
            },
            score=scored,
            weights_digest=found.model.weights_digest,
            model=model if isinstance(model, Mapping) else {},
            versions=found.versions,
            curves_file=path.parent / "curves.npz",
        )

    def _faults(self, keys: list[JobKey]) -> list[str]:
        faults = []
        for key in keys:
            last = self.state.last(key)
            if last is not None and last.ended is not None and last.outcome != "ok":
                verb = "training" if key.kind == "train" else "evaluation"
                faults.append(one_line(f"{verb} with seed {key.seed}: {last.ended['reason']}", _MAX_REASON))
        return faults


def _status(iteration: Iteration) -> Status:
    if iteration.no_proposal is not None:
        return "no proposal"
    word = (iteration.verdict or {}).get("verdict")
    return word if word in ("accepted", "reverted", "invalid") else "running"


def _effects(verdict: dict[str, Any], stated: dict[str, Any]) -> list[EffectView]:
    graded = verdict.get("effects") or []
    if graded:
        return [EffectView(e["metric"], e["direction"], e["grade"], e["before"], e["after"]) for e in graded]
    return [EffectView(e["metric"], e["direction"], None) for e in stated.get("expected_effect", [])]


def _objection(review: dict[str, Any]) -> str:
    return one_line(str(review["text"]), _MAX_REASON) or "for no stated reason"


_SEALED, _PROBES = -1, -2


def _costs(records: list[Record]) -> dict[int, Cost]:
    """What each iteration cost; that of the sealed check under _SEALED, that of the probes under _PROBES."""
    costs: defaultdict[int, Cost] = defaultdict(Cost)
    for record in records:
        body = record.body
        if record.kind == "exchange":
            costs[body["iteration"]] += Cost(
                prompt_tokens=body["prompt_tokens"],
                completion_tokens=body["completion_tokens"],
                exchanges=1,
                usd=body["usd"],
            )
        elif record.kind == "endpoint_probed":
            costs[_PROBES] += Cost(
                prompt_tokens=body["prompt_tokens"],
                completion_tokens=body["completion_tokens"],
                exchanges=body["requests"],
                usd=body["usd"],
            )
        elif record.kind == "job_finished":
            number = _SEALED if body["job"] == "sealed" else body["iteration"]
            unknown = int(body["cpu_s"] is None)
            costs[number] += Cost(
                counted_cpu_s(body), body["gpu_s"], body["wall_s"], jobs=1, cpu_unknown=unknown
            )
    return dict(costs)


def _kinds(records: list[Record], what: str) -> list[dict[str, str]]:
    """The kinds of isolation or machine that the jobs' results name, each once, in order of appearance."""
    found = [record.body.get(what) for record in records if record.kind == "job_finished"]
    return [dict(items) for items in dict.fromkeys(_said(kind) for kind in found if kind)]


def _said(kind: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """What a result says of a kind, as text; what it does not say is left out."""
    texts = {
        name: "; ".join(value) if isinstance(value, list) else "yes" if value is True else str(value)
        for name, value in kind.items()
        if value not in (None, False, [])
    }
    return tuple(sorted(texts.items()))


def _in_flight(run: RunPaths, lineage: LineagePaths, state: State) -> list[InFlight]:
    spool = Spool(run.spool)
    queue = spool.queue()
    return [
        read_in_flight(spool, lineage.attempt(key, attempt.number), key.text, attempt.number, queue)
        for key, attempt in state.in_flight()
    ]


def _controller(lineage: LineagePaths) -> str | None:
    try:
        return holder(lineage.root)
    except OSError:  # an archive that cannot be written to has no controller
        return None
