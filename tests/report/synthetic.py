"""A small run on disk, made with the toolkit's own writers, so that a report can be made without training."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mlipilot.audit.events.proposing import Drafted, Proposed
from mlipilot.audit.events.running import Finished, JobFinished, JobSubmitted, Resumed, Verdict
from mlipilot.audit.files import (
    append_line,
    sha256_bytes,
    sha256_file,
    write_atomic,
    write_json,
)
from mlipilot.audit.ledger import Ledger
from mlipilot.audit.manifest import write_manifest
from mlipilot.audit.places import Place
from mlipilot.audit.protected import hash_protected
from mlipilot.audit.surroundings import Isolation
from mlipilot.campaign.spec import RECIPES, CampaignSpec, dump_spec
from mlipilot.controller.candidates import publish_baseline, publish_candidate, publish_draft
from mlipilot.controller.confirming import compute_confirmation
from mlipilot.controller.examining import compute_exam
from mlipilot.controller.job_submission import Attempts
from mlipilot.controller.next_steps import next_step, sealed_jobs
from mlipilot.controller.prepare import starting
from mlipilot.controller.publishing import copy_recipe
from mlipilot.controller.state import replay
from mlipilot.controller.steps import AskPilot, Confirm, Examine, Finish, SubmitJob
from mlipilot.controller.variants import make_variant
from mlipilot.controller.verdict import Measurements, compute_verdict, sealed_summary
from mlipilot.evaluation.catalog import GROUPS
from mlipilot.evaluation.scorecard import Scorecard, load_scorecard
from mlipilot.jobs.job_files import JobResult
from mlipilot.jobs.machine import this_machine
from mlipilot.paths import ORDER, PERMUTED, JobKey, LineagePaths, RunPaths
from tests.events import event
from tests.report.synthetic_values import (
    EXAM_RANGES,
    HANDOVER,
    RANGES,
    curves,
    labelled_frames,
    metrics_file,
)

SCORECARD = Path(__file__).parents[2] / "scorecards" / "cu_emt.yaml"
STEPS = 400
NOWHERE = Place()
SEALED = [metric.name for group in GROUPS if group.sealed for metric in group.metrics]


def make_spec(**changes: Any) -> CampaignSpec:
    """A campaign of three seeds with the scripted pilot."""
    content = {
        "name": "cu_emt",
        "dataset": {"name": "cu_emt"},
        "recipe": "mace",
        "scorecard": "scorecard.yaml",
        "pilot": {"kind": "scripted"},
        "seeds": [1, 2, 3],
        "budget": {"iterations": 4, "optimizer_steps": STEPS},
    }
    return CampaignSpec.model_validate(content | changes)


@cache
def shipped_scorecard() -> Scorecard:
    """That of each synthetic run; reading YAML takes a while."""
    return load_scorecard(SCORECARD)


class SyntheticRun:
    """Writes a run as the controller would; each method takes the lineage one event further.

    A second one for the same `root` writes another lineage of the run.
    """

    def __init__(
        self, root: Path, spec: CampaignSpec | None = None, number: int = 0, place: Place = NOWHERE
    ) -> None:
        self.run = RunPaths(root)
        self.lineage: LineagePaths = self.run.lineage(number)
        whole = spec or make_spec()
        if not self.run.spec.exists():
            self._begin(whole)
        self.spec = whole.for_lineage(number)
        self.card = shipped_scorecard()
        self.loaded: dict[str, Any] | None = None
        """What evaluations say that they were made with; None: what an older evaluator says."""
        self.lineage.root.mkdir()
        self.ledger = Ledger(self.lineage.ledger)
        session = Resumed() if place is NOWHERE else Resumed(cluster=place.cluster, run=place.run)
        self.ledger.append(starting(self.run, self.spec, number, session))

    def _begin(self, spec: CampaignSpec) -> None:
        """What the lineages share."""
        self.run.root.mkdir(parents=True)
        write_atomic(self.run.spec, dump_spec(spec))
        shutil.copyfile(SCORECARD, self.run.scorecard)
        copy_recipe(RECIPES / "mace", self.run.recipe)
        (self.run.data / "train").mkdir(parents=True)
        write_atomic(self.run.data / "train" / "train.xyz", labelled_frames())
        write_json(self.run.data / "provenance.json", {"dataset": "cu_emt", "seed": 2026})
        write_manifest(self.run.data)
        write_json(self.run.protected, hash_protected(self.run.root))

    def propose(self, number: int, hypothesis: dict[str, Any] | None, edits: dict[str, str]) -> None:
        """Publish a candidate: the baseline's recipe.yaml with texts replaced."""
        with self._edited(edits) as recipe:
            final, draft = self.lineage.iteration(number), self.run.root / "draft"
            if hypothesis is None:
                body = publish_baseline(final, recipe)
            else:
                drafted = publish_draft(draft, recipe, self.run.recipe, hypothesis)
                body = publish_candidate(final, draft, drafted)
                shutil.rmtree(draft)
        if number:
            told = {"iteration": number, "prompt_tokens": 5400, "completion_tokens": 450, "duration_s": 0.1}
            append_line(self.lineage.transcript, line := json.dumps(told))
            where = {"line": number, "sha256": sha256_bytes(line.encode())}
            self.ledger.append(event("exchange", told | where))
        self.ledger.append(Proposed(iteration=number, **body))

    def draft(self, number: int, revision: int, hypothesis: dict[str, Any], edits: dict[str, str]) -> None:
        """Publish one revision of a candidate."""
        with self._edited(edits) as recipe:
            final = self.lineage.revision(number, revision)
            body = publish_draft(final, recipe, self.run.recipe, hypothesis)
        self.ledger.append(Drafted(iteration=number, revision=revision, **body))

    def review(self, number: int, revision: int, text: str, *, approved: bool) -> None:
        """What the reviewer says of a revision."""
        said = event("reviewed", iteration=number, revision=revision, approved=approved, text=text)
        self.ledger.append(said)

    def smoke(self, number: int, revision: int, failed: str | None = None) -> None:
        """The smoke step of a revision with its logs."""
        key = JobKey(number, self.spec.seeds[0], "smoke", revision)
        attempt = self.start(key)
        write_atomic(attempt / "stdout.log", '{"event": "progress", "step": 2, "train_loss": 1.5}\n')
        write_atomic(attempt / "stderr.log", f"Traceback\n{failed}\n" if failed else "")
        if failed is None:
            (attempt / "output" / "model").mkdir()
            write_json(attempt / "output" / "model" / "config.json", HANDOVER)
            write_atomic(attempt / "output" / "model" / "weights.safetensors", "")
        self.finish(key, 5.5, failed)

    @contextmanager
    def _edited(self, edits: dict[str, str]) -> Iterator[Path]:
        """The baseline's recipe with texts of recipe.yaml replaced."""
        recipe = self.run.root / "edited"
        copy_recipe(self.run.recipe, recipe)
        text = (recipe / "recipe.yaml").read_text(encoding="utf-8")
        for old, new in edits.items():
            assert old in text
            text = text.replace(old, new)
        (recipe / "recipe.yaml").write_text(text, encoding="utf-8")
        yield recipe
        shutil.rmtree(recipe)

    def start(self, key: JobKey) -> Path:
        """Submit a job; returns its attempt's directory."""
        number = len(replay(self.ledger.records).jobs.get(key, [])) + 1
        self.ledger.append(JobSubmitted.of(key, number))
        attempt = self.lineage.attempt(key, number)
        (attempt / "output").mkdir(parents=True)
        return attempt

    def finish(self, key: JobKey, cpu_s: float, failed: str | None = None, *, counted: bool = True) -> None:
        """Seal a job's attempt and record its end; `counted`: its CPU time could be read."""
        number = len(replay(self.ledger.records).jobs[key])
        attempt = self.lineage.attempt(key, number)
        said: dict[str, Any] = {
            "outcome": "failed" if failed else "ok",
            "exit_status": 3 if failed else 0,
            "reason": failed,
            "cpu_s": cpu_s if counted else None,
            "gpu_s": 0.0,
            "wall_s": cpu_s * 1.05,
            "isolation": Isolation().model_dump(),
            "machine": this_machine(uses_gpu=False).model_dump(),
        }
        result = said | {"peak_memory_mib": None, "changed": [], "host": "node1"}
        write_json(attempt / "result.json", JobResult.model_validate(result).model_dump())
        digest = write_manifest(attempt)
        self.ledger.append(JobFinished.of(key, number, **said, manifest_sha256=digest))

    def train(self, number: int, seed: int, quality: float, failed: str | None = None) -> None:
        """One training of the search with its log."""
        self.train_as(JobKey(number, seed, "train"), quality, failed)

    def train_as(self, key: JobKey, quality: float, failed: str | None = None) -> None:
        """One training with its log, with a fresh seed on what that is shown."""
        state = replay(self.ledger.records)
        make_variant(self.run, self.lineage, self.spec, state, key)
        attempt = self.start(key)
        if key.fresh:
            write_atomic(
                attempt / ORDER, Attempts(self.run, self.lineage, self.spec).due_order(state, key, 1).text
            )
        write_atomic(attempt / "stdout.log", training_log(key.seed, quality, diverges=failed is not None))
        write_atomic(attempt / "stderr.log", f"Traceback\n{failed}\n" if failed else "")
        self.finish(key, 31.0 + key.seed % (10 if key.fresh else 1000), failed)

    def evaluate(
        self,
        number: int,
        seed: int,
        quality: float,
        broken: tuple[str, ...] = (),
        weights_digest: str | None = None,
    ) -> None:
        """One evaluation of the search with metrics and curves; the metrics in `broken` failed."""
        content = metrics_file(number, seed, quality, broken)
        content["model"]["weights_digest"] = weights_digest or content["model"]["weights_digest"]
        self.evaluate_as(JobKey(number, seed, "evaluate"), quality, content)

    def evaluate_as(self, key: JobKey, quality: float, content: dict[str, Any] | None = None) -> None:
        """One evaluation with metrics and curves."""
        attempt = self.start(key)
        write_json(
            attempt / "output" / "metrics.json", content or metrics_file(key.iteration, key.seed, quality)
        )
        with (attempt / "output" / "curves.npz").open("wb") as stream:
            np.savez_compressed(stream, **curves(key.seed, quality))
        if self.loaded is not None:
            write_json(attempt / "output" / "loaded.json", self.loaded)
        self.finish(key, 21.0)

    def candidate(self, number: int, quality: float, broken: tuple[str, ...] = ()) -> None:
        """Train, evaluate and judge with every seed."""
        for seed in self.spec.seeds:
            self.train(number, seed, quality)
            self.evaluate(number, seed, quality, broken)
        self.judge(number)

    def judge(self, number: int) -> None:
        """Write the verdict as the controller does."""
        state = replay(self.ledger.records)
        measured = Measurements(self.lineage, self.spec, self.card)
        body = compute_verdict(state, state.iterations[number], measured)
        directory = self.lineage.iteration(number)
        write_json(directory / "verdict.json", body)
        said = {key: body[key] for key in body if key not in ("title", "scores")}
        digests = write_manifest(directory), sha256_file(directory / "verdict.json")
        self.ledger.append(Verdict(**said, manifest_sha256=digests[0], verdict_sha256=digests[1]))

    def confirm(
        self, qualities: Mapping[int, float], failed: str | None = None, explained: float = -0.02
    ) -> None:
        """Train and measure what was kept with fresh seeds; the first training fails by `failed`, if any.

        `explained`: of the forces' variance, by who was trained on permuted labels.
        """
        self.give_up("a test")
        while isinstance(due := next_step(replay(self.ledger.records), self.spec), SubmitJob):
            key, quality = due.key, qualities[due.key.iteration]
            if key.kind == "train":
                self.train_as(key, quality, failed)
                failed = None
            else:
                content = metrics_file(key.iteration, key.seed, quality)
                if key.variant == PERMUTED:
                    content["metrics"]["force_variance_explained"]["value"] = explained
                self.evaluate_as(key, quality, content)
        assert due == Confirm()
        measured = Measurements(self.lineage, self.spec, self.card)
        self.ledger.append(compute_confirmation(replay(self.ledger.records), measured))

    def sealed_check(self, quality: float = 0.97, broken: tuple[str, ...] = ()) -> None:
        """Examine baseline and incumbent on the sealed split, once nobody asks the pilot any more."""
        self.give_up("a test")
        state = replay(self.ledger.records)
        for key in sealed_jobs(state, self.spec):
            attempt = self.start(key)
            ranges = {name: RANGES[name] for name in SEALED if name in RANGES} | EXAM_RANGES
            content = metrics_file(key.iteration, key.seed, quality if key.iteration else 0.0, broken, ranges)
            write_json(attempt / "output" / "metrics.json", content)
            np.savez_compressed(attempt / "output" / "curves.npz", **curves(key.seed, quality))
            self.finish(key, 4.0)
        measured = Measurements(self.lineage, self.spec, self.card)
        self.ledger.append(sealed_summary(replay(self.ledger.records), measured))
        if isinstance(next_step(state := replay(self.ledger.records), self.spec), Examine):
            self.ledger.append(compute_exam(state, measured))

    def reread(self) -> None:
        """Take up what another process wrote."""
        self.ledger = Ledger(self.lineage.ledger)

    def give_up(self, reason: str) -> None:
        """The pilot has nothing more to try, where somebody would ask."""
        state = replay(self.ledger.records)
        if isinstance(due := next_step(state, self.spec), AskPilot):
            self.ledger.append(event("gave_up", iteration=due.iteration, reason=reason))

    def end(self, reason: str) -> None:
        """Record the end, by this reason of the pilot where it is not due anyway."""
        self.give_up(reason)
        if replay(self.ledger.records).sealed_check is None:
            self.sealed_check()
        state = replay(self.ledger.records)
        due = next_step(state, self.spec)
        assert isinstance(due, Finish), due
        self.ledger.append(Finished(reason=due.reason, incumbent=state.incumbent))


def training_log(seed: int, quality: float, *, diverges: bool = False) -> str:
    """Progress events as the recipe prints them."""
    rng = np.random.default_rng(seed)
    final = 60.0 ** (1 - quality) * 9.0**quality
    lines = [json.dumps({"event": "start", "seed": seed, "steps_total": STEPS})]
    last = STEPS // 4 if diverges else STEPS
    for step in range(20, last + 1, 20):
        decay = math.exp(-6.0 * step / STEPS)
        row = {"event": "progress", "step": step, "steps_total": STEPS}
        row["train_loss"] = float((0.02 + 4 * decay) * final / 30 * math.exp(0.2 * rng.standard_normal()))
        if step % 50 == 0 or step % 100 == 0:
            row["valid_force_mae_mev_per_a"] = float(final + 400 * decay)
            row["valid_energy_mae_mev_per_atom"] = float(final / 6 + 50 * decay)
        lines.append(json.dumps(row))
    if diverges:
        lines.append(json.dumps({"event": "failed", "reason": "the loss is nan"}))
    return "\n".join(lines) + "\n"
