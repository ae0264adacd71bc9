"""Reading a lineage for display: at any moment of a run, and wary of every text that an agent wrote."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mlipilot.audit.events.proposing import Drafted, EndpointProbed, Exchange
from mlipilot.audit.events.running import JobFinished
from mlipilot.audit.files import sha256_file
from mlipilot.audit.ledger import Record, of_kind, read_open_ledger
from mlipilot.audit.lock import holder
from mlipilot.audit.surroundings import Isolation, Machine
from mlipilot.campaign.spec import CampaignSpec, load_locked
from mlipilot.controller.isolation_words import doors_of
from mlipilot.controller.spending import machine_seconds
from mlipilot.controller.state import Iteration, State, replay
from mlipilot.evaluation.catalog import EXAM
from mlipilot.evaluation.metrics_file import MetricsFile
from mlipilot.evaluation.scorecard import Scorecard, load_scorecard, score
from mlipilot.jobs.inflight import InFlight, read_in_flight
from mlipilot.jobs.job_files import read_json
from mlipilot.jobs.spool import Spool
from mlipilot.jobs.successors import read_waiting
from mlipilot.paths import CURVES, PATCH, STDERR, STDOUT, JobKey, LineagePaths, RunPaths
from mlipilot.report.agent_texts import diff_text, log_end, prose
from mlipilot.report.billing import load_billing
from mlipilot.report.training_curves import read_training_curve
from mlipilot.report.view import Cost, EffectView, IterationView, LineageView, RevisionView, SeedView, Status
from mlipilot.untrusted import one_line

_MAX_TITLE = 120
_MAX_REASON = 1200


def load_lineage(run: RunPaths, lineage: LineagePaths) -> LineageView:
    """All that there is to show of a lineage, however far it has come.

    Raises InputError when `run` is no run, LedgerError when the ledger's chain is broken. Anything else that
    is missing or unreadable is left out and named in `problems`.
    """
    spec = load_locked(run.spec).for_lineage(lineage.number)
    card = load_scorecard(run.scorecard)
    records, torn = read_open_ledger(lineage.ledger)
    cut_short = "the ledger's last line is not whole: a write was cut short, or is going on now"
    problems = [cut_short] if torn else []
    state = replay(records)
    if state.started is not None and state.started.spec_sha256 != sha256_file(run.spec):
        problems.append(
            f"its ledger speaks of another {run.spec.name} than that of the run: `mlipilot verify`"
        )
    reader = _Reader(lineage, spec, card, state, problems)
    costs = _costs(records)
    iterations = [reader.iteration(i, costs.pop(i.number, Cost())) for i in state.iterations]
    controller: str | None = None
    with suppress(OSError):  # an archive that cannot be written to has no controller
        controller = holder(lineage.root)
    is_open = controller is None and state.phase == "open"
    return LineageView(
        run=run,
        lineage=lineage,
        spec=spec,
        card=card,
        state=state,
        records=records,
        iterations=iterations,
        isolation=_kinds(ended.isolation for _, ended in of_kind(records, JobFinished)),
        open_doors=doors_of(records),
        machines=_kinds(ended.machine for _, ended in of_kind(records, JobFinished)),
        controller=controller,
        handed_back=read_waiting(run.spool, lineage.number) if is_open else None,
        in_flight=_in_flight(run, lineage, state),
        fresh=reader.fresh(iterations),
        confirmation_cost=costs.pop(_CONFIRMATION, Cost()),
        sealed_cost=costs.pop(_SEALED, Cost()),
        probe_cost=costs.pop(_PROBES, Cost()),
        pending_cost=sum(costs.values(), Cost()),
        billing=load_billing(run, lineage, records),
        problems=problems,
    )


class _Reader:
    """Reads what belongs to each iteration of one lineage."""

    def __init__(
        self, lineage: LineagePaths, spec: CampaignSpec, card: Scorecard, state: State, problems: list[str]
    ) -> None:
        self.lineage, self.spec, self.card, self.state, self.problems = lineage, spec, card, state, problems

    def iteration(self, iteration: Iteration, cost: Cost) -> IterationView:
        verdict, stated = iteration.verdict, iteration.hypothesis
        reason = iteration.no_proposal or (verdict and verdict.reason) or ""
        seeds = self.spec.seeds if iteration.proposed else ()
        return IterationView(
            number=iteration.number,
            title=one_line(iteration.title or "no proposal", _MAX_TITLE),
            status=_status(iteration),
            reason=one_line(reason, _MAX_REASON),
            hypothesis=prose(stated.hypothesis if stated else ""),
            mechanism=prose(stated.mechanism if stated else ""),
            effects=_effects(iteration),
            diff=self._diff(iteration),
            seeds=[self._seed(iteration.number, seed) for seed in seeds],
            gain=verdict.gain if verdict else None,
            threshold=verdict.threshold if verdict else None,
            measure=verdict.measure if verdict else None,
            incumbent_after=verdict.incumbent if verdict else None,
            recipe_digest=iteration.recipe_digest,
            cost=cost,
            revisions=[self._revision(iteration, draft) for draft in iteration.drafts],
            lesson=one_line(iteration.lesson or "", _MAX_REASON),
        )

    def _revision(self, iteration: Iteration, draft: Drafted) -> RevisionView:
        ends = [a.ended for a in self.state.smoke_attempts(iteration.number, draft.revision)]
        last = ends[-1] if ends else None
        review = iteration.reviews.get(draft.revision)
        return RevisionView(
            number=draft.revision,
            title=one_line(draft.title, _MAX_TITLE),
            objection=None if review is None else "" if review.approved else _objection(review.text),
            smoke=last.outcome if last else None,
            smoke_reason=one_line((last and last.reason) or "", _MAX_REASON),
            smoke_cpu_s=sum(ended.counted_cpu_s for ended in ends if ended is not None),
        )

    def _diff(self, iteration: Iteration) -> str:
        path = self.lineage.iteration(iteration.number) / PATCH
        if not iteration.proposed and iteration.drafts:
            newest = iteration.drafts[-1].revision
            path = self.lineage.revision(iteration.number, newest) / PATCH
        return diff_text(path, str(path.relative_to(self.lineage.root)))

    def fresh(self, iterations: list[IterationView]) -> dict[int, IterationView]:
        """The baseline and what was kept, with the seeds of the confirmation; none before it."""
        found = self.state.confirmed
        if found is None:
            return {}
        kept = [0, *(step.iteration for step in found.steps)]
        return {
            n: replace(iterations[n], seeds=[self._seed(n, seed, fresh=True) for seed in found.seeds])
            for n in kept
        }

    def _seed(self, number: int, seed: int, *, fresh: bool = False) -> SeedView:
        train = JobKey(number, seed, "train", fresh=fresh)
        evaluate = train.beside("evaluate")
        view = SeedView(seed=seed, faults=self._faults([train, evaluate]))
        trained, evaluated = self.state.last(train), self.state.last(evaluate)
        if trained is not None:
            directory = self.lineage.attempt(train, trained.number)
            ok = trained.outcome == "ok"
            view = replace(
                view,
                curve=read_training_curve(directory / STDOUT),
                handover=self.lineage.handover(train, trained.number) if ok else None,
                training_s=machine_seconds(trained.ended, self.spec) if ok and trained.ended else None,
                log_tail=log_end(directory / STDERR) if trained.ended and not ok else "",
            )
        if evaluated is not None and evaluated.outcome == "ok":
            view = self._measured(view, self.lineage.metrics(evaluate, evaluated.number))
        return self._examined(view, train.beside("sealed"))

    def _examined(self, view: SeedView, key: JobKey) -> SeedView:
        last = self.state.last(key)
        if last is None or last.outcome != "ok":
            return view
        path = self.lineage.metrics(key, last.number)
        if (found := self._read(path)) is None:
            return view
        exam = {name: entry for name, entry in found.metrics.items() if name in EXAM}
        return replace(view, exam=exam, curves_files=(*view.curves_files, path.parent / CURVES))

    def _read(self, path: Path) -> MetricsFile | None:
        try:
            return MetricsFile.model_validate(read_json(path))
        except ValueError as error:
            problem = one_line(f"{path.relative_to(self.lineage.root)}: {error}", _MAX_REASON)
            self.problems.append(problem)
            return None

    def _measured(self, view: SeedView, path: Path) -> SeedView:
        if (found := self._read(path)) is None:
            return replace(view, faults=[*view.faults, "its metrics file cannot be read"])
        return replace(
            view,
            metrics=found.metrics,
            score=score(self.card, found),
            weights_digest=found.model.weights_digest,
            versions=found.versions,
            curves_files=(path.parent / CURVES,),
        )

    def _faults(self, keys: list[JobKey]) -> list[str]:
        faults = []
        for key in keys:
            last = self.state.last(key)
            if last is not None and last.ended is not None and last.outcome != "ok":
                verb = "training" if key.kind == "train" else "evaluation"
                faults.append(one_line(f"{verb} with seed {key.seed}: {last.ended.reason}", _MAX_REASON))
        return faults


def _status(iteration: Iteration) -> Status:
    if iteration.no_proposal is not None:
        return "no proposal"
    return "running" if iteration.verdict is None else iteration.verdict.verdict


def _effects(iteration: Iteration) -> list[EffectView]:
    if iteration.verdict is not None and (graded := iteration.verdict.effects):
        return [EffectView(e.metric, e.direction, e.grade, e.before, e.after) for e in graded]
    stated = iteration.hypothesis.expected_effect if iteration.hypothesis else []
    return [EffectView(e.metric, e.direction, None) for e in stated]


def _objection(text: str) -> str:
    return one_line(text, _MAX_REASON) or "for no stated reason"


_SEALED, _PROBES, _CONFIRMATION = -1, -2, -3


def _costs(records: list[Record]) -> dict[int, Cost]:
    """What each iteration cost, by its number; what belongs to none by the numbers above."""
    costs: defaultdict[int, Cost] = defaultdict(Cost)
    for record in records:
        match record.event:
            case Exchange() as asked:
                costs[asked.iteration] += _asking_cost(asked, 1)
            case EndpointProbed() as asked:
                costs[_PROBES] += _asking_cost(asked, asked.requests)
            case JobFinished() as ended:
                number = _CONFIRMATION if ended.fresh else ended.iteration
                number = _SEALED if ended.job == "sealed" else number
                unknown = int(ended.cpu_s is None)
                costs[number] += Cost(
                    ended.counted_cpu_s, ended.gpu_s, ended.wall_s, jobs=1, cpu_unknown=unknown
                )
    return dict(costs)


def _asking_cost(asked: Exchange | EndpointProbed, exchanges: int) -> Cost:
    return Cost(
        prompt_tokens=asked.prompt_tokens,
        completion_tokens=asked.completion_tokens,
        exchanges=exchanges,
        usd=asked.usd,
    )


def _kinds(found: Iterable[Isolation | Machine | None]) -> list[dict[str, str]]:
    """The kinds of isolation or machine that the jobs' results name, each once, in order of appearance."""
    return [dict(items) for items in dict.fromkeys(_said(kind) for kind in found if kind is not None)]


def _said(kind: Isolation | Machine) -> tuple[tuple[str, str], ...]:
    """What a result says of a kind, as text; what it does not say is left out."""
    texts = {
        name: "; ".join(value) if isinstance(value, list) else "yes" if value is True else str(value)
        for name, value in kind.model_dump(exclude_unset=True).items()
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
