"""The path of every file in a run, in one place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

JobKind = Literal["smoke", "train", "evaluate", "sealed"]


@dataclass(frozen=True, order=True)
class JobKey:
    """Which job: the training or an evaluation of one iteration's candidate with one seed, or the smoke step
    of one of its revisions."""

    iteration: int
    seed: int
    kind: JobKind
    revision: int = 0
    """Of a smoke step: which draft of the iteration, from 1; 0 for every other kind."""

    @property
    def text(self) -> str:
        """For people and logs, `0003/seed-1/train`; of a smoke step `0003-2/smoke`."""
        if self.kind == "smoke":
            return f"{self.iteration:04d}-{self.revision}/smoke"
        return f"{self.iteration:04d}/seed-{self.seed}/{self.kind}"


@dataclass(frozen=True)
class RunPaths:
    """The files that the lineages of a run share."""

    root: Path

    @property
    def spec(self) -> Path:
        """The resolved campaign, as it was when the run began."""
        return self.root / "campaign.lock.yaml"

    @property
    def scorecard(self) -> Path:
        """The run's own copy of the scorecard."""
        return self.root / "scorecard.yaml"

    @property
    def recipe(self) -> Path:
        """The recipe that the run starts from (iteration 0)."""
        return self.root / "recipe"

    @property
    def data(self) -> Path:
        """The data set: `train/`, `test/`, `sealed/`, `reference.json`, `provenance.json`."""
        return self.root / "data"

    @property
    def protected(self) -> Path:
        """SHA-256 of every protected file, by name."""
        return self.root / "protected.json"

    @property
    def image_digest(self) -> Path:
        """SHA-256 of the image that every job of the run must use; absent for a run without one."""
        return self.root / "image.sha256"

    def resuming(self, lineage: int = 0) -> str:
        """What a person types to go on with a lineage: a run with an image goes on inside it, by Slurm."""
        if self.image_digest.exists():
            return "`sbatch` of its campaign's sbatch file"
        return f"`mlipilot resume {self.root}{f' --lineage {lineage}' if lineage else ''}`"

    @property
    def spool(self) -> Path:
        """Requests to the host's submitter and what it answered."""
        return self.root / "spool"

    @property
    def endpoint(self) -> Path:
        """Where an endpoint that belongs to the run says what its address is; holds a token, mode 0600."""
        return self.root / "endpoint.json"

    @property
    def findings(self) -> Path:
        """The lessons that lineages share."""
        return self.root / "findings.jsonl"

    @property
    def findings_lock(self) -> Path:
        """Held while a finding is appended."""
        return self.root / ".findings.lock"

    @property
    def prepare_lock(self) -> Path:
        """Held by the one of several lineages that prepares the run."""
        return self.root / ".prepare.lock"

    @property
    def spool_mark(self) -> Path:
        """Which spool the submitter has served: one that somebody deleted is made again."""
        return self.root / ".spool"

    @property
    def merged(self) -> Path:
        """What the submitters of other runs left, whose lineages were copied here: a folder for each run."""
        return self.root / "merged"

    @property
    def merging(self) -> Path:
        """Where lineages that are being copied lie until they are whole."""
        return self.root / ".merging"

    @property
    def report_lock(self) -> Path:
        """Held by the one of several lineages that writes the report."""
        return self.root / ".report.lock"

    @property
    def report_html(self) -> Path:
        """The report to open in a browser, in one file."""
        return self.root / "report.html"

    def lineage_html(self, number: int) -> Path:
        """The page of one lineage of several, beside the run's."""
        return self.root / f"report-lineage-{number}.html"

    @property
    def report_md(self) -> Path:
        """The same report as Markdown; its pictures are in `figures/`."""
        return self.root / "report.md"

    @property
    def figures(self) -> Path:
        """The report's pictures."""
        return self.root / "figures"

    @property
    def export(self) -> Path:
        """The incumbent as a file that MACE's own calculator loads."""
        return self.root / "export"

    def lineage(self, number: int = 0) -> LineagePaths:
        """The files of one lineage."""
        return LineagePaths(self.root / f"lineage-{number}")

    def lineages(self) -> list[LineagePaths]:
        """Every lineage that has begun, by number."""
        try:
            names = [path.name for path in self.root.iterdir()]  # glob passes over what may not be read
        except FileNotFoundError:
            names = []
        found = [self.root / name for name in names if re.fullmatch("lineage-[0-9]+", name)]
        return [LineagePaths(path) for path in sorted(found, key=lambda path: int(path.name[8:]))]


@dataclass(frozen=True)
class LineagePaths:
    """The files of one lineage: only its controller writes them, its jobs excepted."""

    root: Path

    @property
    def number(self) -> int:
        """Which lineage of the run."""
        return int(self.root.name.removeprefix("lineage-"))

    @property
    def ledger(self) -> Path:
        """The hash-chained events."""
        return self.root / "ledger.jsonl"

    @property
    def transcript(self) -> Path:
        """Each request to and reply from the pilot's endpoint."""
        return self.root / "transcript.jsonl"

    @property
    def draft(self) -> Path:
        """The recipe that the pilot is editing now; gone when its turn ends."""
        return self.root / "draft"

    @property
    def controller(self) -> Path:
        """The controller's lock, and the claims of all that carried the lineage, by epoch."""
        return self.root / "controller"

    @property
    def cancel(self) -> Path:
        """A request to stop; its presence is the message."""
        return self.root / "cancel"

    @property
    def incumbent(self) -> Path:
        """A link to the incumbent's iteration."""
        return self.root / "incumbent"

    def iteration(self, number: int) -> Path:
        """All that belongs to one hypothesis."""
        return self.root / "iterations" / f"{number:04d}"

    def recipe(self, number: int) -> Path:
        """The candidate's recipe."""
        return self.iteration(number) / "recipe"

    def revision(self, iteration: int, revision: int) -> Path:
        """One draft of an iteration as it was submitted, before it became the candidate or went back."""
        return self.root / "drafts" / f"{iteration:04d}-{revision}"

    def recipe_of(self, key: JobKey) -> Path:
        """The recipe that a job is about."""
        if key.kind == "smoke":
            return self.revision(key.iteration, key.revision) / "recipe"
        return self.recipe(key.iteration)

    def job(self, key: JobKey) -> Path:
        """The directory of a job's attempts; that of a sealed check lies apart: iterations are finished."""
        if key.kind == "smoke":
            return self.revision(key.iteration, key.revision) / "smoke"
        if key.kind == "sealed":
            return self.root / "sealed-check" / f"{key.iteration:04d}" / f"seed-{key.seed}"
        return self.iteration(key.iteration) / f"seed-{key.seed}" / key.kind

    def attempt(self, key: JobKey, number: int) -> Path:
        """The directory of one submission of a job."""
        return self.job(key) / f"attempt-{number}"

    def handover(self, key: JobKey, attempt: int) -> Path:
        """What the training of `key`'s candidate and seed hands over."""
        return self.attempt(JobKey(key.iteration, key.seed, "train"), attempt) / "output" / "model"

    def metrics(self, key: JobKey, attempt: int) -> Path:
        """What the evaluator measured."""
        return self.attempt(key, attempt) / "output" / "metrics.json"
