"""Judging an iteration: from metrics files and the ledger's state to `verdict.json`, by arithmetic only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mlipilot.audit.events.concluding import Errors, SealedCheck
from mlipilot.audit.files import read_regular, sha256_bytes
from mlipilot.audit.manifest import MANIFEST, read_manifest
from mlipilot.campaign.spec import CampaignSpec
from mlipilot.controller.accept import Judgement, failed_gates, feasible, judge, mean_of_all
from mlipilot.controller.hypothesis_grading import grade_effects
from mlipilot.controller.state import Iteration, State
from mlipilot.errors import PausedError
from mlipilot.evaluation.curves_file import read_curves
from mlipilot.evaluation.lazily import Array
from mlipilot.evaluation.metrics_file import MetricsFile
from mlipilot.evaluation.scorecard import Score, Scorecard, score
from mlipilot.jobs.job_files import read_json
from mlipilot.paths import CURVES, METRICS, JobKey, JobKind, LineagePaths

_LONGEST = 2**26
_NOTHING_RESTORES_IT = "put it back from a copy of the run and resume; nothing else gives what was measured"


class Measurements:
    """The metrics files of a lineage's candidates, read once each, and each held to its attempt's seal.

    On local processes a candidate can rewrite what was measured before. Its own numbers are then none, and it
    is invalid. Those of a candidate that was accepted are what others are judged by, and nothing in the run
    can restore them: that pauses the run until somebody puts the file back.
    """

    def __init__(self, lineage: LineagePaths, spec: CampaignSpec, card: Scorecard) -> None:
        self.lineage, self.spec, self.card = lineage, spec, card
        self._read: dict[JobKey, MetricsFile] = {}

    def metrics(self, state: State, key: JobKey) -> MetricsFile | None:
        """A finished evaluation's metrics file, or None where it did not end well or the file is another.

        Raises PausedError for another file where the candidate was accepted.
        """
        attempt = state.last(key)
        if attempt is None or attempt.outcome != "ok":
            return None
        if key not in self._read:
            if (changed := self.changed(state, key)) is not None:
                if _is_accepted(state, key.iteration):
                    raise PausedError(f"{self.lineage.root}/{changed}: {_NOTHING_RESTORES_IT}")
                return None
            found = read_json(self.lineage.metrics(key, attempt.number))
            self._read[key] = MetricsFile.model_validate(found)
        return self._read[key]

    def changed(self, state: State, key: JobKey, name: str = METRICS) -> str | None:
        """Why a finished evaluation's metrics file is not the one that the ledger has the end of, or None.

        `name`: of another file that the evaluator wrote beside it.
        """
        attempt = state.last(key)
        is_read = name == METRICS and key in self._read
        if is_read or attempt is None or attempt.ended is None or attempt.outcome != "ok":
            return None
        directory = self.lineage.attempt(key, attempt.number)
        path = self.lineage.metrics(key, attempt.number).with_name(name)
        try:
            manifest = sha256_bytes(read_regular(directory / MANIFEST, _LONGEST))
            found = sha256_bytes(read_regular(path, _LONGEST))
            sealed = read_manifest(directory).get(path.relative_to(directory).as_posix())
            is_measured = (manifest, found) == (attempt.ended.manifest_sha256, sealed)
        except (OSError, ValueError):  # it is gone, or no file
            is_measured = False
        where = path.relative_to(self.lineage.root).as_posix()  # as in a run that is moved
        return None if is_measured else f"{where} is not the file that was measured"

    def curves(self, state: State, key: JobKey) -> Mapping[str, Array]:
        """A finished evaluation's arrays by name; none where it did not end well.

        Raises PausedError where the file is not the one that was measured.
        """
        attempt = state.last(key)
        if attempt is None or attempt.outcome != "ok":
            return {}
        if (changed := self.changed(state, key, CURVES)) is not None:
            raise PausedError(f"{self.lineage.root}/{changed}: {_NOTHING_RESTORES_IT}")
        return read_curves(self.lineage.metrics(key, attempt.number).with_name(CURVES))

    def of_iteration(self, state: State, number: int, kind: JobKind = "evaluate") -> list[MetricsFile]:
        """The metrics files of all seeds; fewer than the seeds when some could not be measured."""
        keys = [JobKey(number, seed, kind) for seed in self.spec.seeds]
        return [found for key in keys if (found := self.metrics(state, key)) is not None]

    def by_seed(self, state: State, number: int) -> dict[int, Score]:
        """The scorecard's word on each seed of a candidate that was measured."""
        keys = [JobKey(number, seed, "evaluate") for seed in self.spec.seeds]
        found = {key.seed: self.metrics(state, key) for key in keys}
        return {seed: score(self.card, metrics) for seed, metrics in found.items() if metrics is not None}

    def scores(self, state: State, number: int) -> list[Score]:
        """The same, in the order of the seeds."""
        return list(self.by_seed(state, number).values())


def compute_verdict(state: State, iteration: Iteration, measured: Measurements) -> dict[str, Any]:
    """The content of `verdict.json`: the verdict, why, the scores of each seed and the graded effects."""
    number = iteration.number
    scores = measured.scores(state, number)
    body: dict[str, Any] = {
        "iteration": number,
        "title": iteration.title,
        "scores": {str(seed): s.model_dump() for seed, s in measured.by_seed(state, number).items()},
        "violation": mean_of_all([s.violation for s in scores]),
        "log_objective": mean_of_all([s.log_objective for s in scores]),
        "effects": [],
    }
    fault = iteration.dropped or _fault(state, number) or _rewritten(state, number, measured)
    lost = iteration.weighed and iteration.weighed.lost
    if fault is None and len(scores) < len(measured.spec.seeds) and not lost:
        fault = "a budget was used up before every seed was measured"
    keys = [JobKey(number, seed, "evaluate") for seed in measured.spec.seeds]
    fault = fault or same_weights({key.seed: measured.metrics(state, key) for key in keys})
    if fault is not None:
        judgement = Judgement("invalid", fault)
    elif lost and iteration.weighed is not None:
        judgement = Judgement("reverted", f"{lost}; the other seeds were not trained", iteration.weighed.gain)
    elif number == 0:
        judgement = Judgement("accepted", "the baseline; " + _feasibility(scores))
    else:
        judgement = _against_incumbent(state, iteration, measured, body)
    body |= asdict(judgement)
    body["incumbent"] = number if judgement.verdict == "accepted" else state.incumbent
    return body


def _against_incumbent(
    state: State, iteration: Iteration, measured: Measurements, body: dict[str, Any]
) -> Judgement:
    if state.incumbent is None:
        raise AssertionError("a candidate is judged only against an incumbent")
    rule = measured.card.accept
    old, new = state.incumbent, iteration.number
    if iteration.hypothesis is not None:
        before, after = ([m.values for m in measured.of_iteration(state, n)] for n in (old, new))
        graded = grade_effects(rule, iteration.hypothesis.expected_effect, before, after)
        body["effects"] = [effect.model_dump() for effect in graded]
    return judge(rule, measured.scores(state, old), measured.scores(state, new))


def _fault(state: State, number: int) -> str | None:
    """Why a candidate cannot be judged by its metrics: the first job that ended by its own fault."""
    for key, attempts in sorted(state.jobs.items()):
        last = attempts[-1]
        of_candidate = key.iteration == number and key.kind in ("train", "evaluate")
        if of_candidate and last.ended is not None and last.outcome != "ok":
            verb = "training" if key.kind == "train" else "evaluation"
            return f"{verb} with seed {key.seed}: {last.ended.reason}"
    return None


def _rewritten(state: State, number: int, measured: Measurements) -> str | None:
    keys = [JobKey(number, seed, "evaluate") for seed in measured.spec.seeds]
    return next((why for key in keys if (why := measured.changed(state, key)) is not None), None)


def _is_accepted(state: State, number: int) -> bool:
    verdict = state.iterations[number].verdict if number < len(state.iterations) else None
    return verdict is not None and verdict.verdict == "accepted"


def same_weights(measured: Mapping[int, MetricsFile | None]) -> str | None:
    """Why the seeds of a candidate say nothing of noise: two of them gave the same weights; or None."""
    seed_of: dict[str, int] = {}
    for seed, found in measured.items():
        digest = None if found is None else found.model.weights_digest
        other = seed if digest is None else seed_of.setdefault(digest, seed)
        if other != seed:
            return f"seeds {other} and {seed} gave the same weights: a training must begin from its --seed"
    return None


def _feasibility(scores: list[Score]) -> str:
    return "it passes every gate" if feasible(scores) else "it fails: " + failed_gates(scores)


def sealed_summary(state: State, measured: Measurements) -> SealedCheck:
    """Errors of baseline and incumbent on the sealed split, averaged over seeds, beside those on test."""
    summary: dict[str, dict[str, Errors]] = {}
    fresh = state.confirmed is not None
    for number in sorted({0, state.incumbent or 0}):
        of_it = [
            key for key in state.jobs if (key.kind, key.iteration, key.fresh) == ("sealed", number, fresh)
        ]
        sealed, test = (
            [m.values for key in of_it if (m := measured.metrics(state, key.beside(kind))) is not None]
            for kind in ("sealed", "evaluate")
        )
        names = sorted(sealed[0]) if sealed else []
        summary[str(number)] = {
            name: Errors(
                sealed=mean_of_all([seed.get(name) for seed in sealed]),
                test=mean_of_all([seed.get(name) for seed in test]),
            )
            for name in names
        }
    return SealedCheck(summary)
