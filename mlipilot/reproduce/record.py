"""What a run says of one iteration, read only after digests and verdicts of its lineage were checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlipilot.audit.events.running import CampaignStarted
from mlipilot.audit.ledger import read_ledger
from mlipilot.audit.protected import read_protected
from mlipilot.audit.surroundings import Machine
from mlipilot.campaign.spec import CampaignSpec, load_locked
from mlipilot.controller.state import Attempt, State, replay
from mlipilot.controller.verification import verify_lineage
from mlipilot.errors import CheckFailedError, InputError
from mlipilot.evaluation.scorecard import Scorecard, load_scorecard
from mlipilot.paths import JobKey, JobKind, LineagePaths, RunPaths


@dataclass(frozen=True)
class Recorded:
    """One iteration of a lineage that verifies."""

    run: RunPaths
    lineage: LineagePaths
    spec: CampaignSpec
    """As the lineage ran it, with the seeds of its own."""
    card: Scorecard
    state: State
    started: CampaignStarted
    protected: dict[str, str]
    iteration: int
    head: str
    """The hash of the ledger's last record."""

    @property
    def image_sha256(self) -> str | None:
        """The image that the run ran in, or None for a run without one."""
        return self.started.image_sha256

    @property
    def recipe(self) -> Path:
        """The candidate's recipe."""
        return self.lineage.recipe(self.iteration)

    @property
    def seeds(self) -> list[int]:
        """Those that the model's figures are of: of what the search kept, the fresh ones that ended well."""
        fresh = self.state.confirmed.seeds if self.state.confirmed else []
        ended = [(seed, self.state.last(self.key(seed, "evaluate"))) for seed in fresh]
        return [seed for seed, last in ended if last and last.outcome == "ok"] or self.spec.seeds

    def key(self, seed: int, kind: JobKind) -> JobKey:
        """A job of the candidate; a seed is of the search, or of the confirmation."""
        return JobKey(self.iteration, seed, kind, fresh=seed not in self.spec.seeds)

    def training(self, seed: int) -> Path:
        """The attempt whose weights were evaluated."""
        key = self.key(seed, "train")
        return self.lineage.attempt(key, last_good(self.state, key).number)

    def trained_on(self, seed: int) -> Machine:
        """The machine that gave the weights that were evaluated."""
        return machine_of(self.state, self.key(seed, "train"))

    def chosen_seeds(self, seed: int | None) -> list[int]:
        """All seeds of the candidate's figures, or the one asked for. Raises InputError for another."""
        if seed is None:
            return self.seeds
        if seed not in (*self.spec.seeds, *self.seeds):
            known = ", ".join(map(str, dict.fromkeys([*self.spec.seeds, *self.seeds])))
            raise InputError(f"--seed {seed}: {self.lineage.root.name} was trained with the seeds {known}")
        return [seed]


def read_record(run: RunPaths, lineage: LineagePaths, iteration: int | None) -> Recorded:
    """The record of `iteration`, or of the incumbent.

    Raises CheckFailedError when a digest or a verdict does not hold, InputError when there is nothing to
    reproduce.
    """
    records = read_ledger(lineage.ledger)
    state = replay(records)
    if state.started is None:
        raise InputError("the lineage was still being prepared: it has no iteration yet", file=lineage.root)
    _check(run, lineage)
    number = state.incumbent if iteration is None else iteration
    spec = load_locked(run.spec).for_lineage(lineage.number)
    whole = [i.number for i in state.iterations if _is_whole(state, spec, i.number)]
    if number not in whole:
        what = "there is no incumbent" if number is None else f"iteration {number} has no measured model"
        known = ", ".join(map(str, whole)) or "none"
        raise InputError(what, file=lineage.root, mend=f"the iterations with models are: {known}")
    card = load_scorecard(run.scorecard)
    protected = read_protected(run.protected)
    return Recorded(run, lineage, spec, card, state, state.started, protected, number, records[-1].hash)


def _check(run: RunPaths, lineage: LineagePaths) -> None:
    """Raises CheckFailedError unless all of the lineage holds: the noise is measured on every candidate."""
    problems = verify_lineage(run, lineage)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise CheckFailedError(
            f"{problems[0]}{more}: the record does not hold, so nothing is run; "
            f"`mlipilot verify {run.root}` says more"
        )


def _is_whole(state: State, spec: CampaignSpec, number: int) -> bool:
    """Whether an iteration was judged by a model of every seed."""
    keys = [JobKey(number, seed, kind) for seed in spec.seeds for kind in ("train", "evaluate")]
    ends = [last.outcome if (last := state.last(key)) else None for key in keys]
    return state.iterations[number].verdict is not None and set(ends) == {"ok"}


def last_good(state: State, key: JobKey) -> Attempt:
    """The attempt of a job that ended well."""
    last = state.last(key)
    if last is None or last.outcome != "ok":
        raise AssertionError(f"{key.text} did not end well, yet its iteration counts as whole")
    return last


def machine_of(state: State, key: JobKey) -> Machine:
    """What a job that ended well ran on. Raises CheckFailedError where its record does not say."""
    ended = last_good(state, key).ended
    if ended is None or ended.machine is None:
        raise CheckFailedError(f"{key.text}: the ledger does not say on which machine it ran")
    return ended.machine
