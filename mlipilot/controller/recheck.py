"""What a ledger says, computed again from the run's files, field by field, as `verify` does.

For the fields that cannot be, nothing but the chain speaks: tests/runs/test_forgery.py lists them, and why.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from mlipilot.audit.events import Event
from mlipilot.audit.events.concluding import Ablated, AblationAsked, Confirmed, Examined, SealedCheck
from mlipilot.audit.events.reporting import Reported
from mlipilot.audit.events.running import (
    CampaignStarted,
    CandidateDropped,
    Finished,
    JobFinished,
    JobSubmitted,
    Resumed,
    Verdict,
    Weighed,
)
from mlipilot.audit.files import sha256_file
from mlipilot.audit.ledger import LedgerError, Record, read_open_ledger
from mlipilot.audit.manifest import check_manifest, is_finished
from mlipilot.campaign.spec import load_locked
from mlipilot.controller.ablation import compute_ablation, to_take_out
from mlipilot.controller.comparable import first_measured, not_comparable
from mlipilot.controller.confirmation import asked_for, fresh_seeds, looks
from mlipilot.controller.confirming import compute_confirmation
from mlipilot.controller.examining import compute_exam
from mlipilot.controller.job_submission import NOTHING_SPENT, how_it_ended, other_order
from mlipilot.controller.next_steps import next_step
from mlipilot.controller.outlook import weigh
from mlipilot.controller.planting import NOT_BEGUN
from mlipilot.controller.prepare import starting
from mlipilot.controller.recheck_pilot import (
    PilotRecords,
    current_iteration,
    drafts_of_current,
    nearest,
)
from mlipilot.controller.recheck_sessions import Sessions
from mlipilot.controller.record_order import WITHIN_A_TURN, why_not_due
from mlipilot.controller.sameness import same
from mlipilot.controller.spending import elapsed_s, machine_seconds, training_limit_s
from mlipilot.controller.state import NO_RESULT, State, advance
from mlipilot.controller.steps import Finish, Step
from mlipilot.controller.variants import other_variant
from mlipilot.controller.verdict import Measurements, compute_verdict, sealed_summary
from mlipilot.errors import MlipilotError
from mlipilot.evaluation.metrics_file import MetricsFile
from mlipilot.evaluation.scorecard import load_scorecard
from mlipilot.jobs.job_files import read_json, read_order, result_if_any
from mlipilot.paths import ORDER, LineagePaths, RunPaths
from mlipilot.untrusted import one_line

_OF_THE_START = (
    "lineage",
    "campaign",
    "profile",
    "pilot",
    "backend",
    "recipe_digest",
    "data_manifest_sha256",
)
"""Fields that no other check holds to the run's files."""
_UNTOLD: dict[str, Any] = dict.fromkeys(("sealed_by", "dropped", "isolation", "machine"))
"""What only an attempt's result says of its end."""


def recheck_records(run: RunPaths, lineage: LineagePaths) -> list[str]:
    """One line for each field of a record, or verdict.json, that is not what the run's files give.

    A last line that is torn or being written is left out. Raises InputError or LedgerError when the run
    cannot be read.
    """
    records, _torn = read_open_ledger(lineage.ledger)
    files, state, problems = _Files(run, lineage, records), State(), list[str]()
    due, goes_on = list[Step](), False
    for record in records:
        place = f"{lineage.ledger}:{record.seq + 1}: {record.event.kind}"
        try:
            problems += [f"{place}{said}" for said in files.faults(record, state)]
            # A step that had begun goes on, whatever is used up meanwhile; a kill may have ended it.
            due = [*due * goes_on, *files.due(record, state)]
            goes_on = isinstance(record.event, WITHIN_A_TURN)
            if state.started is not None and (why := why_not_due(record.event, state, due)) is not None:
                problems.append(f"{place}: {why}")
        except (OSError, LookupError, ValueError, MlipilotError) as error:
            problems.append(f"{place}: it cannot be computed again: {error}")
        try:
            advance(state, record)
        except LedgerError as error:
            return [*problems, f"{lineage.ledger}: {error}"]
    return problems


class _Files:
    """The files of a run, and what they give for the records of one lineage."""

    def __init__(self, run: RunPaths, lineage: LineagePaths, records: Sequence[Record]) -> None:
        self.run, self.lineage, self.records = run, lineage, records
        self.spec = load_locked(run.spec).for_lineage(lineage.number)
        self.measured = Measurements(lineage, self.spec, load_scorecard(run.scorecard))
        self.of_pilot = PilotRecords(lineage, self.spec, records)
        self.sessions = Sessions(lineage, self.spec, records)

    def faults(self, record: Record, before: State) -> list[str]:
        """What is wrong with a record, in a lineage that stood at `before`."""
        found = [f": {said}" for said in _missing(record.event, before)]
        found += [f": {said}" for said in self.sessions.faults(record, before)]
        if found:  # what follows would be computed from too little
            return found
        if isinstance(record.event, JobFinished):
            found += [f": {said}" for said in self._wrong_order(record.event, before)]
        for name, value in self._computed(record, before).items():
            said, again = to_jsonable_python(getattr(record.event, name)), to_jsonable_python(value)
            if not same(said, again):
                told = [one_line(json.dumps(each, ensure_ascii=False), 100) for each in (said, again)]
                found.append(f".{name}: it says {told[0]}, computed again from the files it is {told[1]}")
        if isinstance(record.event, Verdict):
            path = self.lineage.verdict(number := record.event.iteration)
            again = compute_verdict(before, before.iterations[number], self.measured)
            if not same(_verdict_file(path), to_jsonable_python(again)):
                found.append(f": {path} is not what metrics and scorecard give when computed again")
        return found

    def due(self, record: Record, before: State) -> list[Step]:
        """What was to do when a record was written, or right after the one before: time is a budget, too."""
        times = map(datetime.fromisoformat, (before.last_time or record.time, record.time))
        return [next_step(before, self.spec, elapsed_s(before, time)) for time in times]

    def _computed(self, record: Record, before: State) -> Mapping[str, Any]:
        """The fields of a record's event that the files and the records before it give."""
        event, said = record.event, record.event.model_dump()
        current = current_iteration(before)
        match event:
            case CampaignStarted():
                begun = starting(self.run, self.spec, self.lineage.number, Resumed()).model_dump()
                known: dict[str, Any] = {name: begun[name] for name in _OF_THE_START}
                if versions := self._measured_with():
                    known |= {"versions": versions} | dict.fromkeys(versions.keys() & {"mlipilot", "python"})
                return known if before.started is None else known | {"lineage": None}
            case JobSubmitted():
                return self._submitted(event, before)
            case JobFinished():
                return self._finished(event, before)
            case Weighed():
                return weigh(before, event.iteration, self.measured).model_dump()
            case Verdict():
                path = self.lineage.verdict(event.iteration)
                written = {name: value for name, value in _verdict_file(path).items() if name in said}
                digest = {"verdict_sha256": sha256_file(path)}
                return written | digest | {"iteration": current}
            case Confirmed():
                return compute_confirmation(before, self.measured).model_dump()
            case SealedCheck():
                return {"root": sealed_summary(before, self.measured).root}
            case Examined():
                return compute_exam(before, self.measured).model_dump()
            case AblationAsked():
                return to_take_out(before, self.lineage).model_dump()
            case Ablated():
                return compute_ablation(before, self.measured).model_dump()
            case Finished():
                ends = [
                    {"reason": step.reason} for step in self.due(record, before) if isinstance(step, Finish)
                ]
                return nearest({"reason": event.reason}, ends) | {"incumbent": before.incumbent}
            case CandidateDropped():
                return {"iteration": current_iteration(before)}
            case _:
                return self.of_pilot.computed(record, before)

    def _wrong_order(self, event: JobFinished, before: State) -> Iterator[str]:
        """What a training was told, and what it took of the machine beside the baseline's."""
        limit_s = training_limit_s(before, self.spec, event.key)
        attempt = self.lineage.attempt(event.key, event.attempt)
        is_there = is_finished(attempt) and (attempt / ORDER).is_file()  # its manifest would miss it
        if is_there and read_order(attempt).machine_limit_s != limit_s:
            yield f"{attempt / ORDER} does not have the machine_limit_s that the baseline gives, {limit_s}"
        spent_s = machine_seconds(event, self.spec)
        if event.outcome == "ok" and limit_s is not None and spent_s >= limit_s:
            yield f"the training took {spent_s:.1f} machine seconds, and the baseline gives it {limit_s:.1f}"
        yield from other_variant(self.run, self.lineage, self.spec, before, event)

    def _finished(self, event: JobFinished, before: State) -> Mapping[str, Any]:
        attempt = self.lineage.attempt(event.key, event.attempt)
        flying = {(key, each.number): each for key, each in before.in_flight()}
        if (event.key, event.attempt) not in flying:
            raise LookupError(f"{attempt} was not in flight")
        if is_finished(attempt):
            # Whether its files are as they were sealed is for their digests to say.
            changed = other_order(attempt, flying[event.key, event.attempt].order_sha256)
            if event.outcome == "protected_changed" and not changed:
                changed = check_manifest(attempt)
            first = first_measured(self.lineage, before)
            changed = changed or not_comparable(self.run, event.key, attempt, first)
            ended = how_it_ended(event.key, attempt, changed)
            # An earlier version may have asked the job's log for a better reason, or not.
            result = result_if_any(attempt)
            if changed or result is None or event.reason == result.reason:
                del ended["reason"]
            return _UNTOLD | self._scheduled(is_free=False) | ended
        # An attempt in whose way something lay did not begin, and that was removed.
        unsealed = (*NO_RESULT, "protected_changed")
        outcome = event.outcome if event.outcome in unsealed else NO_RESULT[0]
        is_free = outcome == "lost" and event.reason in NOT_BEGUN and not os.path.lexists(attempt)
        return _UNTOLD | self._scheduled(is_free=is_free) | NOTHING_SPENT | {"outcome": outcome}

    def _scheduled(self, *, is_free: bool) -> dict[str, Any]:
        """What there is to say of a scheduler where there is none: whether an attempt counts."""
        if self.spec.jobs.backend != "local":
            return {}
        return {"job_name": None, "node": None, "bad_node": None, "free": is_free}

    def _measured_with(self) -> Mapping[str, str]:
        """The versions that the first evaluation names which the controller that began had made, if one does.

        Whoever took the lineage up again may have had another environment.
        """
        for record in self.records[1:]:
            match event := record.event:
                case Resumed():
                    return {}
                case JobFinished(job="evaluate", outcome="ok"):
                    path = self.lineage.metrics(event.key, event.attempt)
                    return MetricsFile.model_validate(read_json(path)).versions
        return {}

    def _submitted(self, event: JobSubmitted, before: State) -> Mapping[str, Any]:
        """An attempt's number is the next; what it is about is what the lineage was at."""
        earlier = before.jobs.get(event.key, [])
        current = current_iteration(before)
        trained = before.last(event.key.beside("train"))
        has_model = trained is not None and trained.outcome == "ok"
        seeds, is_after = self.spec.seeds, event.fresh or (event.job == "sealed" and has_model)
        if event.fresh and (asked := asked_for(before, self.spec)):
            seeds = fresh_seeds(before, self.spec.seeds, looks(asked)[-1].seeds)
        return {
            "attempt": len(earlier) + 1 if all(a.ended for a in earlier) else None,
            "iteration": event.iteration if is_after else current,
            "seed": event.seed if event.seed in seeds else None,
            "job": event.job if has_model == (event.job in ("evaluate", "sealed")) else None,
            "revision": drafts_of_current(before) if event.job == "smoke" else 0,
        }


def _missing(event: Event, before: State) -> Iterator[str]:
    """Which records there must be before this one, and are not; or that its place is elsewhere."""
    if isinstance(event, Verdict | Confirmed | SealedCheck | Ablated | Finished):
        for key, attempt in before.in_flight():
            yield f"no record says how attempt {attempt.number} of {key.text} ended"
    if isinstance(event, Reported):
        yield "it is no event of a lineage"
    if isinstance(event, CandidateDropped) and event.iteration >= len(before.iterations):
        yield "no candidate is under way"
    if isinstance(event, Verdict):
        if not before.iterations[event.iteration].proposed:
            yield f"no record proposes the candidate of iteration {event.iteration}"
        if event.iteration > 0 and before.incumbent is None:
            yield "no record judges the baseline"


def _verdict_file(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{path} is no verdict")
    return found
