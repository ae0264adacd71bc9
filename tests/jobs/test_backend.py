"""What a backend holds is no part of what it says: one that takes over after a kill says the same, later."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlipilot.errors import PausedError
from mlipilot.jobs import slurm_backend, spool
from mlipilot.jobs.backend import Submission
from mlipilot.jobs.job_files import JobOrder
from mlipilot.jobs.job_settings import JobSettings
from mlipilot.jobs.local_backend import LocalBackend
from mlipilot.jobs.slurm_backend import SlurmBackend
from tests.jobs.conftest import wait
from tests.jobs.standin_cluster import Cluster

_STEP_S, _PATIENCE_S = 10.0, 100.0
_LONGEST = 60  # looks
KILLS = [set[int](), {1}, {3}, {6}, {2, 4}, set(range(1, 20))]
"""Before which looks of a story the controller is killed and another one takes over."""
STORIES = [
    *(f"over: {state}" for state in ("COMPLETED", "NODE_FAIL", "PREEMPTED", "TIMEOUT", "CANCELLED")),
    *("cancelled as was asked", "unknown to the queue", "sealed late"),
    *("a submitter that fell silent", "a submitter that never came"),
]


class Story:
    """A job's way as the spool tells it, look by look, and a controller that may be killed before each."""

    def __init__(self, root: Path, told: str, clock: Callable[[float], None]) -> None:
        self.cluster, self.told, self.clock = Cluster(root / "run"), told, clock
        self.cluster.backend.ensure_started(self.cluster.submission())
        (self.name,) = self.cluster.requests()
        self.cluster.receive(self.name)
        if told == "cancelled as was asked":
            self.cluster.backend.spool.ask_to_cancel(self.name)
            (self.cluster.spool / "started").mkdir(exist_ok=True)
            (self.cluster.spool / "started" / f"{self.name}.0").touch()
        if told == "a submitter that never came":
            (self.cluster.spool / "submitter").unlink()

    def happens(self, look: int) -> None:
        if "submitter" not in self.told:
            self.cluster.beat()
        state = "RUNNING" if look < 2 else "CANCELLED" if "asked" in self.told else self.told[6:]
        if self.told == "sealed late":
            state = "COMPLETED"
            if look == 5:
                (self.cluster.attempt("train") / "manifest-sha256.txt").write_text("")
        rows = [] if "queue" in self.told else [f"{self.name}|42|{state}|None|node7"]
        self.cluster.queue(*rows)

    def end(self, kills: set[int]) -> tuple[str, int]:
        """How it ends, and at which look."""
        for look in range(_LONGEST):
            self.clock(look * _STEP_S)
            if look == 0 or look in kills:
                settings = JobSettings(backend="slurm", patience_s=_PATIENCE_S)
                backend = SlurmBackend(self.cluster.run, self.cluster.spool, settings)
            self.happens(look)
            try:
                found = backend.standing(self.cluster.attempt("train"))
            except PausedError as paused:
                return re.sub("[0-9]+ s", "N s", str(paused)), look
            if found.phase in ("sealed", "ended"):
                return repr(found), look
        raise AssertionError(f"{self.told}: it comes to no end")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [0.0]
    for module in (slurm_backend, spool):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 1000.0 + now[0]))
    return lambda at_s: now.__setitem__(0, at_s)


@pytest.mark.parametrize("kills", KILLS, ids=lambda kills: f"{len(kills)} from {min(kills, default='-')}")
@pytest.mark.parametrize("told", STORIES)
def test_after_a_kill_a_job_has_the_end_that_it_would_have_had_and_none_sooner(
    tmp_path: Path, clock: Callable[[float], None], told: str, kills: set[int]
) -> None:
    undisturbed, at = Story(tmp_path / "a", told, clock).end(set())
    end, late_at = Story(tmp_path / "b", told, clock).end(kills)
    assert end.replace(str(tmp_path / "b"), "") == undisturbed.replace(str(tmp_path / "a"), "")
    assert at <= late_at <= max(kills, default=0) + at + 1


def test_a_story_that_waits_for_nothing_would_prove_nothing(
    tmp_path: Path, clock: Callable[[float], None]
) -> None:
    """Each of them is decided by a clock, but for a seal, which ends the wait."""
    looks = {told: Story(tmp_path / str(n), told, clock).end(set())[1] for n, told in enumerate(STORIES)}
    assert {told for told, look in looks.items() if look < 5} == {"cancelled as was asked"}
    assert looks["sealed late"] == 5 and looks["cancelled as was asked"] > 2


def test_of_the_workers_that_two_controllers_started_one_runs_the_attempt(
    run: Path, make_order: Callable[..., JobOrder]
) -> None:
    """The first was killed before its worker had claimed the attempt."""
    order = make_order("open('../trainings', 'a').write('x')")
    work = Submission(run / "attempt", order, anchor="0" * 64, kind="train")
    backends = [LocalBackend() for _ in range(3)]
    for backend in backends:
        backend.ensure_started(work)
    assert wait(work.attempt).phase == "sealed"
    started = [worker for backend in backends for worker in backend._workers.values()]
    assert [worker.wait(60) for worker in started] == [0] * len(started)
    assert (run / "trainings").read_text() == "x"
