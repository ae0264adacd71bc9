"""From a pilot's turn to a candidate on disk: transcript, published recipe, recorded hypothesis."""

from __future__ import annotations

import difflib
import json
import math
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mlipilot.audit.files import (
    append_line,
    files_below,
    sha256_bytes,
    sha256_file,
    tree_digest,
    write_atomic,
)
from mlipilot.audit.ledger import Ledger
from mlipilot.campaign.paths import LineagePaths, RunPaths
from mlipilot.campaign.spec import CampaignSpec, dump_yaml
from mlipilot.controller.accept import mean
from mlipilot.controller.prepare import copy_recipe
from mlipilot.controller.state import State
from mlipilot.controller.verdict import Measurements
from mlipilot.datasets import DATASETS
from mlipilot.evaluation.scorecard import Scorecard, metric_values
from mlipilot.jobs.logs import job_events
from mlipilot.pilots import open_pilot
from mlipilot.pilots.endpoint.client import Endpoint
from mlipilot.pilots.hypothesis import Hypothesis
from mlipilot.pilots.turn import Exchange, GaveUp, NoProposal, Proposal, TurnInput, log_key, take_turn


class Proposals:
    """Asks the pilot and publishes what it proposes."""

    def __init__(
        self,
        run: RunPaths,
        lineage: LineagePaths,
        spec: CampaignSpec,
        card: Scorecard,
        ledger: Ledger,
        measurements: Measurements,
        resources: ExitStack,
    ) -> None:
        self.run, self.lineage, self.spec, self.card = run, lineage, spec, card
        self.ledger, self.measurements, self.resources = ledger, measurements, resources
        self._endpoint: Endpoint | None = None

    def propose_baseline(self) -> None:
        """Publish the starting recipe as iteration 0."""
        self._publish(0, self.run.recipe, self.run.recipe, None)

    def ask(self, iteration: int, state: State) -> str:
        """One turn of the pilot; returns what came of it. Raises PausedError when it cannot be had."""
        if state.incumbent is None:
            raise AssertionError("a pilot is asked only when there is an incumbent")
        incumbent = self.lineage.recipe(state.incumbent)
        copy_recipe(incumbent, self.lineage.draft)
        turn = TurnInput(
            iteration=iteration,
            draft=self.lineage.draft,
            incumbent=incumbent,
            history=[self._history_entry(state, i.number) for i in state.iterations if i.judged],
            logs=self._logs(state),
            scorecard=self._scorecard_view(state),
            max_steps=self.spec.budget.optimizer_steps,
            replies=self.spec.pilot.requests_per_turn,
            seeds=len(self.spec.seeds),
            iterations_left=self.spec.budget.iterations - iteration + 1,
            briefing={"Data set": DATASETS[self.spec.dataset.name].description},
        )
        if self._endpoint is None:
            self._endpoint = self.resources.enter_context(open_pilot(self.spec.pilot, self.run.endpoint))
        outcome = take_turn(self._endpoint, turn, lambda exchange: self._record(iteration, exchange))
        match outcome:
            case Proposal(hypothesis):
                self._publish(iteration, self.lineage.draft, incumbent, hypothesis)
                said = f"hypothesis: {hypothesis.title}"
            case GaveUp(reason):
                self.ledger.append("gave_up", {"iteration": iteration, "reason": reason})
                said = f"the pilot gave up: {reason}"
            case NoProposal(reason):
                self.ledger.append("no_proposal", {"iteration": iteration, "reason": reason})
                said = f"no proposal: {reason}"
        shutil.rmtree(self.lineage.draft, ignore_errors=True)
        return said

    def _publish(self, number: int, draft: Path, before: Path, hypothesis: Hypothesis | None) -> None:
        """Publish a candidate's directory in one rename, then record it."""
        self.ledger.fence()  # a turn takes long; what lies there may be another controller's by now
        final = self.lineage.iteration(number)
        staging = final.with_name(f".{final.name}.staging")
        for leftover in (staging, final):  # of a kill before the record: no job has seen them
            if leftover.exists():
                shutil.rmtree(leftover)
        staging.mkdir(parents=True)
        copy_recipe(draft, staging / "recipe")
        write_atomic(staging / "patch.diff", recipe_diff(before, draft))
        stated = None if hypothesis is None else hypothesis.model_dump(mode="json")
        write_atomic(staging / "hypothesis.yaml", dump_yaml(stated or {"title": "baseline"}))
        staging.rename(final)
        self.ledger.append(
            "proposed",
            {
                "iteration": number,
                "title": "baseline" if hypothesis is None else hypothesis.title,
                "hypothesis": stated,
                "recipe_digest": tree_digest(final / "recipe"),
                "patch_sha256": sha256_file(final / "patch.diff"),
                "hypothesis_sha256": sha256_file(final / "hypothesis.yaml"),
            },
        )

    def _record(self, iteration: int, exchange: Exchange) -> None:
        """Append an exchange to the transcript, then acknowledge it in the ledger."""
        line = json.dumps(
            {
                "iteration": iteration,
                "request": exchange.request,
                "reply": exchange.reply,
                "prompt_tokens": exchange.prompt_tokens,
                "completion_tokens": exchange.completion_tokens,
                "duration_s": round(exchange.duration_s, 3),
            },
            ensure_ascii=True,
        )
        self.ledger.fence()
        append_line(self.lineage.transcript, line)
        self._acknowledge(line)

    def _acknowledge(self, line: str) -> None:
        entry = json.loads(line)
        kept = ("iteration", "prompt_tokens", "completion_tokens", "duration_s")
        body = {key: entry[key] for key in kept}
        acknowledged = sum(record.kind == "exchange" for record in self.ledger.records)
        body |= {"line": acknowledged + 1, "sha256": sha256_bytes(line.encode())}
        self.ledger.append("exchange", body)

    def recover_transcript(self) -> None:
        """Acknowledge exchanges that a kill left between transcript and ledger: their tokens were spent."""
        path = self.lineage.transcript
        if not path.exists():
            return
        data = path.read_bytes()
        *lines, torn = data.split(b"\n")
        if torn:
            with path.open("rb+") as stream:
                stream.truncate(len(data) - len(torn))
        acknowledged = sum(record.kind == "exchange" for record in self.ledger.records)
        for line in lines[acknowledged:]:
            self._acknowledge(line.decode())

    def _history_entry(self, state: State, number: int) -> dict[str, Any]:
        iteration = state.iterations[number]
        verdict = iteration.verdict or {"verdict": "invalid", "reason": iteration.no_proposal, "effects": []}
        patch = self.lineage.iteration(number) / "patch.diff"
        return {
            "iteration": number,
            "title": iteration.title or "no proposal",
            "hypothesis": (iteration.hypothesis or {}).get("hypothesis", ""),
            "verdict": verdict_word(state, number),
            "reason": verdict["reason"] or "",
            "effects": verdict["effects"],
            "metrics": self._mean_metrics(state, number),
            "diff": patch.read_text(encoding="utf-8") if patch.exists() else "",
        }

    def _mean_metrics(self, state: State, number: int) -> dict[str, float]:
        seeds = self.measurements.of_iteration(state, number)
        if not seeds:
            return {}
        means = {}
        for name in seeds[0]["metrics"]:
            values = [v for s in seeds if (v := metric_values(s).get(name)) is not None]
            if len(values) == len(seeds):
                means[name] = mean(values)
        return means

    def _logs(self, state: State) -> dict[str, Path]:
        """Training logs: what a training printed, or its errors when it failed without a word."""
        found = {}
        for key, attempts in state.jobs.items():
            if key.kind == "train":
                directory = self.lineage.attempt(key, attempts[-1].number)
                said = any(e["event"] == "failed" for e in job_events(directory))
                silent_failure = attempts[-1].outcome == "failed" and not said
                name = "stderr.log" if silent_failure else "stdout.log"
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
        logs = [s.log_objective for s in scores if s.log_objective is not None]
        objective = {
            "value": math.exp(mean(logs)) if logs and len(logs) == len(scores) else None,
            "terms": [term.model_dump() for term in self.card.objective.terms],
        }
        return {"gates": gates, "objective": objective}


def verdict_word(state: State, number: int) -> str:
    """`accepted`, `reverted` or `invalid`."""
    verdict = state.iterations[number].verdict
    return str(verdict["verdict"]) if verdict else "invalid"


def recipe_diff(before: Path, after: Path) -> str:
    """A unified diff of two recipe directories that `patch -p1` applies."""
    names = sorted(
        {path.relative_to(root).as_posix() for root in (before, after) for path in files_below(root)}
    )
    return "".join(_file_diff(before / name, after / name, name) for name in names)


def _file_diff(before: Path, after: Path, name: str) -> str:
    old = before.read_text(encoding="utf-8") if before.exists() else ""
    new = after.read_text(encoding="utf-8") if after.exists() else ""
    lines = difflib.unified_diff(
        old.splitlines(keepends=True),
        new.splitlines(keepends=True),
        f"a/{name}" if before.exists() else "/dev/null",
        f"b/{name}" if after.exists() else "/dev/null",
    )
    # difflib leaves a line without its break as it is; a patch marks it.
    mark = "\n\\ No newline at end of file\n"
    return "".join(line if line.endswith("\n") else line + mark for line in lines)
