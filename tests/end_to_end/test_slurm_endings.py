"""How jobs end on a real Slurm, and whose fault that is: the candidate's, the machine's, or nobody's.

The jobs sleep instead of training, each in a run of its own whose submitter asks for another partition. It
all happens at once, because most of it is waiting. Memory is enforced here by Slurm's own sampling
(`OverMemoryKill`), the one way that needs no control groups; where control groups do it, Slurm says
OUT_OF_MEMORY, which tests/jobs/test_slurm_backend.py maps.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mlipilot.audit.files import write_json
from mlipilot.audit.manifest import check_manifest, is_finished
from mlipilot.audit.protected import hash_protected
from mlipilot.jobs import slurm_backend
from mlipilot.jobs.backend import Standing, Submission
from mlipilot.jobs.job_files import JobOrder, read_result
from mlipilot.jobs.job_settings import JobSettings, Resources
from mlipilot.jobs.kept_checkpoints import checkpoint_of
from mlipilot.jobs.slurm_backend import SlurmBackend
from mlipilot.paths import CLAIM
from tests.end_to_end.own_cluster import OwnCluster, needs_daemons
from tests.end_to_end.slurm_runs import Submitter
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("own_cluster"), needs_daemons]

MEMORY_MIB = 600  # of two seeds
HEAD = "0123456789abcdef" * 4


class SleepyRun:
    """A run with one attempt, whose command is a line of Python; `place` there is its checkpoint's.

    In the same job runs another seed, which has done what it has to almost at once.
    """

    def __init__(self, root: Path, code: str, limit_s: float = 600) -> None:
        root.mkdir()
        for name in ("campaign.lock.yaml", "scorecard.yaml"):
            (root / name).write_text("x: 1\n")
        write_json(root / "protected.json", hash_protected(root))
        self.attempt = root / "lineage-0/iterations/0000/seed-1/train/attempt-1"
        self.beside = root / "lineage-0/iterations/0000/seed-2/train/attempt-1"
        settings = JobSettings(backend="slurm", pack=2, resources=Resources(memory_mib=MEMORY_MIB // 2))
        self.root, self.backend = root, SlurmBackend(root, root / "spool", settings)
        place = str(checkpoint_of(self.attempt))
        order = JobOrder(
            name=root.name,
            argv=[sys.executable, "-c", f"import pathlib, time; place = pathlib.Path({place!r}); {code}"],
            cwd="/",
            environment={},
            wall_limit_s=limit_s,
            run=str(root),
            protected=str(root / "protected.json"),
            read_only={},
        )
        quick = order.model_copy(update={"argv": [sys.executable, "-c", "pass"]})
        self.backend.ensure_started(
            Submission(self.attempt, order, HEAD, "train"), Submission(self.beside, quick, HEAD, "train")
        )

    @property
    def runs(self) -> bool:
        return (self.attempt / "stdout.log").exists() and is_finished(self.beside)

    @property
    def job(self) -> str:
        return str(json.loads((self.attempt / CLAIM).read_text())["job_id"])

    @property
    def starts(self) -> list[str]:
        return sorted(path.name.rpartition(".")[2] for path in (self.root / "spool/started").iterdir())

    def standing(self) -> Standing:
        return self.backend.standing(self.attempt)


SLEEP = "time.sleep(300)"
SLEEP_ONCE = f"place.exists() or (place.mkdir(), (place / 'state').touch(), {SLEEP})"
HOG = "x = bytearray(900 << 20); x[::4096] = b'1' * len(x[::4096]); time.sleep(300)"


@pytest.fixture(scope="module")
def runs(cluster: OwnCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, SleepyRun]]:
    """Every run at its end, by what was done to it."""
    root = tmp_path_factory.mktemp("endings")
    quiet, noisy = cluster.says("sinfo", "-h", "-N", "-p", "gpu", "-o", "%N").splitlines()
    plans = {  # the line of Python, its own limit, the partition, the node
        "own limit": (SLEEP, 2.0, "gpu", quiet),
        "lowered limit": (SLEEP, 600.0, "gpu", quiet),
        "memory": (HOG, 600.0, "gpu", quiet),
        "preempted": (SLEEP, 600.0, "low", noisy),
        "preempted and requeued": (SLEEP_ONCE, 600.0, "low-requeue", noisy),
    }
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr(slurm_backend, "_SETTLE_S", 1.0)
        found = {}
        for name, (code, limit_s, partition, node) in plans.items():
            run = found[name] = SleepyRun(root / name.replace(" ", "-"), code, limit_s)
            site = {"MLIPILOT_GPU_PARTITION": partition, "MLIPILOT_SBATCH_EXTRA": f"--nodelist={node}"}
            stack.enter_context(Submitter(run.root, **cluster.environment, **site))
        wait_until(lambda: all(run.runs for run in found.values()))
        lowered = found["lowered limit"].job
        cluster.says("scontrol", "update", f"jobid={lowered}", "timelimit=1")
        # Whoever may have what runs at low priority takes it, for as long as it sleeps.
        cluster.says(
            *("sbatch", "-p", "gpu", "-w", noisy, "--exclusive", "-o", "/dev/null", "--wrap", "sleep 2")
        )
        wait_until(lambda: all(run.standing().phase in ("sealed", "ended") for run in found.values()), 150)
        yield found


def test_the_campaigns_own_limit_is_the_candidates_to_keep(runs: dict[str, SleepyRun]) -> None:
    run = runs["own limit"]
    assert run.standing().phase == "sealed"
    result = read_result(run.attempt)
    assert result.outcome == "time_limit" and "limit of 2 s" in (result.reason or "")


def test_a_limit_that_somebody_lowered_is_no_fault_of_the_candidate(runs: dict[str, SleepyRun]) -> None:
    found = runs["lowered limit"].standing()
    assert (found.phase, found.outcome, found.free) == ("ended", "lost", False)
    assert "ended from outside" in found.reason


def test_lack_of_memory_is_the_candidates_fault(runs: dict[str, SleepyRun]) -> None:
    found = runs["memory"].standing()
    assert (found.phase, found.outcome) == ("ended", "failed")
    assert f"more than {MEMORY_MIB} MiB were needed" in found.reason


def test_a_job_that_gives_way_is_repeated_free_of_charge_on_any_node(runs: dict[str, SleepyRun]) -> None:
    found = runs["preempted"].standing()
    assert (found.phase, found.outcome, found.free, found.bad_node) == ("ended", "lost", True, None)
    assert "PREEMPTED" in found.reason


def test_a_job_that_gives_way_and_is_requeued_goes_on_with_the_same_attempt(
    runs: dict[str, SleepyRun],
) -> None:
    run = runs["preempted and requeued"]
    assert run.starts == ["0", "1"]
    result = read_result(run.attempt)
    assert (result.outcome, result.job_id) == ("ok", run.job)
    assert check_manifest(run.attempt) == [] and not checkpoint_of(run.attempt).exists()


def test_a_seed_that_was_done_is_not_touched_by_the_end_of_another_in_its_job(
    runs: dict[str, SleepyRun],
) -> None:
    for run in runs.values():
        result = read_result(run.beside)
        assert result.outcome == "ok" and check_manifest(run.beside) == []
        assert json.loads((run.beside / CLAIM).read_text())["restart"] == 0
        assert result.job_id == str(json.loads((run.attempt / CLAIM).read_text())["job_id"])
