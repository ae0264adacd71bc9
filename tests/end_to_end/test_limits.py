"""A real limit of submitted jobs: the doctor tells of it, and the submitter waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mlipilot.doctor.limits import check_limits
from mlipilot.doctor.site import Site
from mlipilot.jobs.job_settings import JobSettings
from tests.end_to_end.own_cluster import OwnCluster, needs_accounting, needs_daemons
from tests.end_to_end.test_accounts import run
from tests.sbatch.conftest import ATTEMPT, Run, job_name, read_fields
from tests.waiting import wait_until

__all__ = ["run"]  # the fixture, by which this process talks to the cluster with accounts

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("accounts"), needs_daemons, needs_accounting]
EVALUATION = "lineage-0/iterations/0001/seed-11/evaluate/attempt-1"


@pytest.fixture
def limit(accounting_cluster: OwnCluster) -> Iterator[Callable[[int], None]]:
    """Say how many jobs the user may have in the queue."""

    def set_limit(jobs: int) -> None:
        changed = f"MaxSubmitJobs={jobs}"
        accounting_cluster.says("sacctmgr", "-i", "-Q", "modify", "user", "root", "set", changed)

    yield set_limit
    set_limit(-1)


def test_real_associations_are_read(run: Run, limit: Callable[[int], None]) -> None:
    """All of the user's, or that of the account which is to pay."""
    limit(2)
    for account, accounts in ("test", ["test"]), ("", ["root", "test"]):
        site = Site.from_environment({"MLIPILOT_ACCOUNT": account})
        found = list(check_limits(site, JobSettings(backend="slurm")))
        assert {check.status for check in found} == {"warning"}
        limits = sorted(check.found.partition(":")[0] for check in found)
        assert limits == [f"MaxSubmitJobs=2 of account {name}" for name in accounts]


def test_the_limit_of_submitted_jobs_is_waited_for(run: Run, limit: Callable[[int], None]) -> None:
    first, second = job_name(1), job_name(2)
    (run.attempt(ATTEMPT) / "todo.sh").write_text("sleep 300")
    run.attempt(EVALUATION)
    limit(1)
    run.request(first)
    run.request(second, template="evaluate", attempt=EVALUATION)
    run.serve()
    wait_until(lambda: f"{second}: waits: the site's limit" in run.log())
    assert run.receipt(second) == {}
    run.cancel(first)
    wait_until(lambda: run.receipt(second))
    assert read_fields(run.spool / "intents" / second)["tries"] == "1"
