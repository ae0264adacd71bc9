"""The path of every file in a run, in one place."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

JobKind = Literal["smoke", "train", "evaluate", "sealed"]
SPEC, SCORECARD = "campaign.lock.yaml", "scorecard.yaml"
"""Files of a run."""
ORDER, CLAIM, RESULT, STDOUT, STDERR = "job.json", "worker.json", "result.json", "stdout.log", "stderr.log"
"""Files of an attempt, in its directory."""
METRICS, CURVES, LOADED = "metrics.json", "curves.npz", "loaded.json"
"""Files of an evaluation, in its attempt's `output/`."""
PERMUTED = "permuted-labels"
"""The variant of a candidate that is trained on labels which belong to other structures."""
_WITHOUT = "without-"
RECIPE = "recipe.yaml"
"""What a recipe is set by, in its directory."""
PATCH, HYPOTHESIS = "patch.diff", "hypothesis.yaml"
"""Files of an iteration and of a draft, in its directory."""


def without(number: int) -> str:
    """The variant of a candidate whose recipe is less the step of iteration `number`."""
    return f"{_WITHOUT}{number:04d}"


@dataclass(frozen=True, order=True)
class JobKey:
    """Which job: the training or an evaluation of one iteration's candidate with one seed, or the smoke step
    of one of its revisions."""

    iteration: int
    seed: int
    kind: JobKind
    revision: int = 0
    """Of a smoke step: which draft of the iteration, from 1; 0 for every other kind."""
    fresh: bool = False
    """With a seed of the confirmation, which the search has not had."""
    variant: str = ""
    """What differs from the candidate as it is: `PERMUTED`, or what `without` gives; only of fresh seeds."""

    def beside(self, kind: JobKind) -> JobKey:
        """Another job of the same candidate and seed."""
        return replace(self, kind=kind)

    @property
    def without(self) -> int | None:
        """Which step its recipe is less; None: the candidate's own."""
        is_less = self.variant.startswith(_WITHOUT)
        return int(self.variant.removeprefix(_WITHOUT)) if is_less else None

    @property
    def folder(self) -> str:
        """Where what follows the search keeps a candidate's seeds: `0003`, or `0003.permuted-labels`."""
        return f"{self.iteration:04d}" + (f".{self.variant}" if self.variant else "")

    @property
    def text(self) -> str:
        """For people and logs, `0003/seed-1/train`; of a smoke step `0003-2/smoke`."""
        if self.kind == "smoke":
            return f"{self.iteration:04d}-{self.revision}/smoke"
        if self.fresh and self.kind != "sealed":
            return f"confirmation/{self.folder}/seed-{self.seed}/{self.kind}"
        return f"{self.iteration:04d}/seed-{self.seed}/{self.kind}"


class _Below:
    """The path of one file or folder of a run or a lineage, by its name there."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, owner: RunPaths | LineagePaths, _: type) -> Path:
        return owner.root / self.name


@dataclass(frozen=True)
class RunPaths:
    """The files that the lineages of a run share."""

    root: Path

    spec = _Below(SPEC)
    """The resolved campaign, as it was when the run began."""
    scorecard = _Below(SCORECARD)
    """The run's own copy of the scorecard."""
    recipe = _Below("recipe")
    """The recipe that the run starts from (iteration 0)."""
    modules = _Below("modules")
    """What a candidate's container has in the toolkit's place: the modules that a recipe imports."""
    data = _Below("data")
    """The data set: `train/`, `test/`, `sealed/`, `reference.json`, `provenance.json`."""
    protected = _Below("protected.json")
    """SHA-256 of every protected file, by name."""
    image_digest = _Below("image.sha256")
    """SHA-256 of the image that every job of the run must use; absent for a run without one."""
    spool = _Below("spool")
    """Requests to the host's submitter and what it answered."""
    endpoint = _Below("endpoint.json")
    """Where an endpoint that belongs to the run says what its address is; holds a token, mode 0600."""
    findings = _Below("findings.jsonl")
    """The lessons that lineages share."""
    findings_lock = _Below(".findings.lock")
    """Held while a finding is appended."""
    prepare_lock = _Below(".prepare.lock")
    """Held by the one of several lineages that prepares the run."""
    spool_mark = _Below(".spool")
    """Which spool the submitter has served: one that somebody deleted is made again."""
    merged = _Below("merged")
    """What the submitters of other runs left, whose lineages were copied here: a folder for each run."""
    seals = _Below("seals")
    """What keys have signed of the ledgers' heads: a file for each sealing, never overwritten."""
    merging = _Below(".merging")
    """Where lineages that are being copied lie until they are whole."""
    reports = _Below("reports.jsonl")
    """Which reports were written, and from which ledgers; a chain of records of its own."""
    report_lock = _Below(".report.lock")
    """Held by the one of several lineages that writes the report."""
    report_html = _Below("report.html")
    """The report to open in a browser, in one file."""
    report_md = _Below("report.md")
    """The same report as Markdown; its pictures are in `figures/`."""
    figures = _Below("figures")
    """The report's pictures."""
    export = _Below("export")
    """The incumbent as a file that MACE's own calculator loads."""

    def lineage_html(self, number: int) -> Path:
        """The page of one lineage of several, beside the run's."""
        return self.root / f"report-lineage-{number}.html"

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

    def resuming(self, lineage: int = 0) -> str:
        """What a person types to go on with a lineage: a run with an image goes on inside it, by Slurm."""
        if self.image_digest.exists():
            return "`sbatch` of its campaign's sbatch file"
        return f"`mlipilot resume {self.root}{f' --lineage {lineage}' if lineage else ''}`"


@dataclass(frozen=True)
class LineagePaths:
    """The files of one lineage: only its controller writes them, its jobs excepted."""

    root: Path

    ledger = _Below("ledger.jsonl")
    """The hash-chained events."""
    transcript = _Below("transcript.jsonl")
    """Each request to and reply from the pilot's endpoint."""
    draft = _Below("draft")
    """The recipe that the pilot is editing now; gone when its turn ends."""
    controller = _Below("controller")
    """The controller's lock, and the claims of all that carried the lineage, by epoch."""
    cancel = _Below("cancel")
    """A request to stop; its presence is the message."""
    incumbent = _Below("incumbent")
    """A link to the incumbent's iteration."""
    confirmation = _Below("confirmation")
    """What was trained and measured with fresh seeds, by iteration."""

    @property
    def number(self) -> int:
        """Which lineage of the run."""
        return int(self.root.name.removeprefix("lineage-"))

    def iteration(self, number: int) -> Path:
        """All that belongs to one hypothesis."""
        return self.root / "iterations" / f"{number:04d}"

    def verdict(self, number: int) -> Path:
        """What was judged of the candidate, and why."""
        return self.iteration(number) / "verdict.json"

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
        return self.recipe(key.iteration) if key.without is None else self.variant(key) / "recipe"

    def variant(self, key: JobKey) -> Path:
        """What a variant of a candidate has for itself, and its jobs."""
        return self.confirmation / key.folder

    def training_data(self, key: JobKey) -> Path:
        """What a job of fresh seeds is trained on in the place of the run's own data; holds `train/`."""
        if key.variant == PERMUTED:
            return self.variant(key) / "data"
        return self.confirmation / "data" / f"seed-{key.seed}"

    def job(self, key: JobKey) -> Path:
        """The directory of a job's attempts; what follows the search lies apart: iterations are finished."""
        if key.kind == "smoke":
            return self.revision(key.iteration, key.revision) / "smoke"
        if key.kind == "sealed":
            return self.root / "sealed-check" / f"{key.iteration:04d}" / f"seed-{key.seed}"
        whole = self.confirmation / key.folder if key.fresh else self.iteration(key.iteration)
        return whole / f"seed-{key.seed}" / key.kind

    def attempt(self, key: JobKey, number: int) -> Path:
        """The directory of one submission of a job."""
        return self.job(key) / f"attempt-{number}"

    def handover(self, key: JobKey, attempt: int) -> Path:
        """What the training of `key`'s candidate and seed hands over."""
        return self.attempt(key.beside("train"), attempt) / "output" / "model"

    def metrics(self, key: JobKey, attempt: int) -> Path:
        """What the evaluator measured."""
        return self.attempt(key, attempt) / "output" / METRICS
