"""What a pilot is told for a turn, gathered from the ledger's state and the files that it vouches for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlipilot.campaign.spec import CampaignSpec
from mlipilot.controller.accept import mean_of_all
from mlipilot.controller.other_lineages import Heard, listen
from mlipilot.controller.smoke import smoke_feedback
from mlipilot.controller.state import Iteration, State
from mlipilot.controller.tried import TriedRecipes
from mlipilot.controller.verdict import Measurements
from mlipilot.datasets import DATASETS
from mlipilot.evaluation.catalog import metrics_before_the_exam
from mlipilot.evaluation.scorecard import Scorecard
from mlipilot.jobs.logs import job_events
from mlipilot.paths import PATCH, STDERR, STDOUT, JobKey, LineagePaths, RunPaths
from mlipilot.pilots.outcomes import Feedback, TurnInput, log_key
from mlipilot.pilots.pilot_settings import LANGUAGE_MODELS, SEARCHES
from mlipilot.pilots.sampling import Search
from mlipilot.pilots.space import RECIPE, Scalar, values_in
from mlipilot.untrusted import clean

_MOST_LESSONS = 50


@dataclass(eq=False)
class Briefing:
    """Turns of one lineage, as far as its pilot may see."""

    run: RunPaths
    lineage: LineagePaths
    spec: CampaignSpec
    card: Scorecard
    measurements: Measurements

    def __post_init__(self) -> None:
        self.tried = TriedRecipes(self.lineage)

    def turn(
        self, iteration: int, state: State, draft: Path, incumbent: Path, heard: Heard | None
    ) -> TurnInput:
        """The input of the next turn of `iteration`, in which the pilot edits `draft`."""
        return TurnInput(
            iteration=iteration,
            draft=draft,
            incumbent=incumbent,
            starting=self.run.recipe,
            history=self.history(state),
            logs=self._logs(state),
            scorecard=self._scorecard_view(state),
            max_steps=self.spec.budget.optimizer_steps,
            metrics=metrics_before_the_exam(self.card.settings.system, self.card.metrics),
            replies=self.spec.pilot.requests_per_turn,
            seeds=len(self.spec.seeds),
            iterations_left=self.spec.budget.iterations - iteration + 1,
            briefing={"Data set": DATASETS[self.spec.dataset.name].description} | self._machine_time(),
            tried=self.tried.by_digest(state, heard),
            lessons=self.lessons(heard),
            feedback=self._feedback(iteration, state),
        )

    def _machine_time(self) -> dict[str, str]:
        over = self.spec.budget.training_seconds_over_baseline
        said = (
            f"A training that takes {over or 0:g} times the machine time of the baseline's is ended, and the"
        )
        return {"Machine time": f"{said} experiment is invalid."} if over else {}

    def history(self, state: State) -> list[dict[str, Any]]:
        """What `TurnInput.history` describes: every iteration that is over."""
        return [self.entry(state, i) for i in state.iterations if i.judged]

    def entry(self, state: State, iteration: Iteration) -> dict[str, Any]:
        """One of them."""
        number = iteration.number
        verdict = iteration.verdict
        return {
            "iteration": number,
            "title": iteration.title or "no proposal",
            "hypothesis": iteration.hypothesis.hypothesis if iteration.hypothesis else "",
            "verdict": verdict.verdict if verdict else "invalid",
            "reason": (verdict.reason if verdict else iteration.no_proposal) or "",
            "effects": [effect.model_dump() for effect in verdict.effects] if verdict else [],
            "score": {name: getattr(verdict, name, None) for name in ("violation", "log_objective")},
            "metrics": self.mean_metrics(state, number),
            "parameters": self.parameters(iteration),
            "diff": self.diff(iteration),
        }

    def search(self) -> Search | None:
        """The search that the lineage's pilot is or has a part of, if any."""
        if self.spec.pilot.kind not in SEARCHES:
            return None
        return Search(
            kind=self.spec.pilot.kind,
            space=self.spec.space,
            seeds=self.spec.seeds,
            iterations=self.spec.budget.iterations,
            metrics=[term.metric for term in self.card.objective.terms],
            twin=sum(before.kind == self.spec.pilot.kind for before in self.spec.pilots),
        )

    def diff(self, iteration: Iteration) -> str:
        """What the candidate, or the newest draft where there is none, changes in its incumbent's recipe."""
        patch = self._place(iteration) / PATCH
        return patch.read_text(encoding="utf-8") if patch.exists() else ""

    def parameters(self, iteration: Iteration) -> dict[str, Scalar]:
        """The values of the declared space in the same candidate or draft, by dotted path."""
        recipe = self._place(iteration) / "recipe" / RECIPE
        if not self.spec.space or not recipe.is_file():
            return {}
        return values_in(recipe.read_text(encoding="utf-8", errors="replace"), self.spec.space)

    def _place(self, iteration: Iteration) -> Path:
        if not iteration.proposed and iteration.drafts:
            return self.lineage.revision(iteration.number, iteration.drafts[-1].revision)
        return self.lineage.iteration(iteration.number)

    def listen(self) -> Heard | None:
        """What there is to be told of other lineages; a pilot without a model is told nothing."""
        if self.spec.pilot.kind not in LANGUAGE_MODELS:
            return None
        return listen(self.run, self.lineage)

    def lessons(self, heard: Heard | None) -> list[str]:
        """The newest of the lessons that are heard, this lineage's among them."""
        return heard.lessons(self.lineage.number)[-_MOST_LESSONS:] if heard else []

    def _feedback(self, number: int, state: State) -> Feedback | None:
        if number >= len(state.iterations):
            return None
        iteration = state.iterations[number]
        draft = iteration.drafts[-1]
        if iteration.sent_back:
            text = clean(iteration.reviews[draft.revision].text)
            return Feedback(draft.revision, draft.title, "reviewer", text)
        smoke = state.smoke(number, draft.revision)
        if smoke is None or smoke.ended is None:
            raise AssertionError(
                f"nothing says why revision {draft.revision} of iteration {number} came back"
            )
        key = JobKey(number, self.spec.seeds[0], "smoke", draft.revision)
        text = smoke_feedback(self.lineage.attempt(key, smoke.number), str(smoke.ended.reason))
        return Feedback(draft.revision, draft.title, "smoke", text)

    def mean_metrics(self, state: State, number: int) -> dict[str, float]:
        """A candidate's metrics, averaged over its seeds, as far as every seed has a value."""
        seeds = [found.values for found in self.measurements.of_iteration(state, number)]
        means = {name: mean_of_all([seed.get(name) for seed in seeds]) for name in (seeds or [{}])[0]}
        return {name: value for name, value in means.items() if value is not None}

    def _logs(self, state: State) -> dict[str, Path]:
        """Training logs: what a training printed, or its errors when it failed without a word."""
        found = {}
        for key, attempts in state.jobs.items():
            if key.kind == "train":
                directory = self.lineage.attempt(key, attempts[-1].number)
                said = any(e["event"] == "failed" for e in job_events(directory))
                silent_failure = attempts[-1].outcome == "failed" and not said
                name = STDERR if silent_failure else STDOUT
                found[log_key(key.iteration, key.seed)] = directory / name
        return found

    def _scorecard_view(self, state: State) -> dict[str, Any]:
        """Gates with the incumbent's worst value over seeds, and the objective, for the prompt."""
        scores = self.measurements.scores(state, state.incumbent or 0)
        gates = []
        for index, gate in enumerate(self.card.gates):
            results = [s.gates[index] for s in scores]
            worst = max(results, key=lambda result: result.violation) if results else None
            gates.append(
                {
                    "metric": gate.metric,
                    "bound": gate.text,
                    "why": gate.why,
                    "value": worst.value if worst else None,
                    "passed": worst.passed if worst else False,
                }
            )
        log_objective = mean_of_all([s.log_objective for s in scores])
        objective = {
            "value": None if log_objective is None else math.exp(log_objective),
            "terms": [term.model_dump() for term in self.card.objective.terms],
        }
        return {"gates": gates, "objective": objective}
