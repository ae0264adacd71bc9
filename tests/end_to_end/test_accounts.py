"""A real Slurm's accounts of a run: what the submitter publishes, what `verify` and the report make of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlipilot.audit.accounts import extract_in
from mlipilot.audit.anchors import verify_anchors
from mlipilot.audit.ledger import Ledger, read_ledger
from mlipilot.audit.verification_result import Verification
from mlipilot.paths import RunPaths
from mlipilot.report.billing import load_billing
from tests.audit.test_anchors import Campaign
from tests.end_to_end.own_cluster import OwnCluster, needs_accounting, needs_daemons
from tests.events import event
from tests.sbatch.conftest import ATTEMPT, BATCH_SCRIPT, Run, make_run
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("accounts"), needs_daemons, needs_accounting]
# A second or so of one of the two cores, and some memory, at each start.
WORK = """\
python3 -c 'import time
held, end = bytearray(60_000_000), time.process_time() + 2
while time.process_time() < end: pass'
"""


@pytest.fixture
def run(accounting_cluster: OwnCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A run, served by a submitter that talks to the cluster with accounts, as this process does."""
    for name, value in accounting_cluster.environment.items():
        monkeypatch.setenv(name, value)
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    for template in ("train", "evaluate"):
        (scripts / f"{template}.sbatch").write_text(BATCH_SCRIPT)
    run = make_run(tmp_path / "run", MLIPILOT_SBATCH_DIR=str(scripts), **accounting_cluster.environment)
    (run.path / "campaign.lock.yaml").write_text("a spec")
    yield run
    run.end_all()


def verified(run: Run) -> Verification:
    found = Verification()
    verify_anchors(RunPaths(run.path), found)
    return found


def test_a_real_job_that_was_requeued_is_billed_witnessed_and_kept(
    run: Run, accounting_cluster: OwnCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = RunPaths(run.path)
    paths.lineage(0).root.mkdir()
    ledger = Ledger(paths.lineage(0).ledger)
    ledger.append(event("campaign_started", backend="slurm"))
    ledger.append(event("job_submitted"))
    name = f"mlp-{ledger.head[:16]}-l0.0001.s11.t.a1"
    (run.attempt() / "todo.sh").write_text(f"{WORK}[ ${{SLURM_RESTART_COUNT:-0}} = 1 ] || sleep 120\n")
    run.request(name, gpus="1", memory_mib="200")
    service = run.serve(MLIPILOT_GPU_PARTITION="gpu")
    wait_until(lambda: run.state(name) == "RUNNING" and (run.path / ATTEMPT / "begun").exists())
    number = run.receipt(name)["job_id"]
    accounting_cluster.says("bash", "-c", f"sleep 4; scontrol requeue {number}")
    wait_until(lambda: run.state(name) == "COMPLETED", 120)
    ledger.append(event("job_finished", job_id=number, job_name=name))
    # slurmdbd hears of a job's end a moment after the queue.
    wait_until(lambda: accounting_cluster.says("sacct", "-nXP", "-j", number, "-o", "State") == "COMPLETED")
    service.terminate()
    service.wait(timeout=60)

    extract = extract_in(paths.spool)
    assert extract is not None
    assert [(job.job_id, job.state) for job in extract.jobs] == [(number, "REQUEUED"), (number, "COMPLETED")]
    billing = load_billing(paths, paths.lineage(0), read_ledger(paths.lineage(0).ledger))
    assert billing is not None
    billed = billing.iterations[1]
    assert (billed.jobs, billed.starts) == (1, 2) and billing.total == billed
    assert billed.core_s == 2 * billed.gpu_s >= 8.0  # two cores and a GPU, seconds of two starts
    assert billed.core_fraction is not None and 0.05 < billed.core_fraction <= 1
    assert billed.memory_fraction is not None and 0.2 < billed.memory_fraction < 1
    assert billed.mean_wait_s is not None

    asked = verified(run)
    assert (asked.problems, asked.anchors, asked.witnessed, asked.extracted) == ([], 1, 1, 0)
    monkeypatch.setenv("PATH", str(run.path))  # where there is no sacct
    untold = verified(run)
    assert (untold.problems, untold.witnessed, untold.extracted) == ([], 0, 1)
    lines = paths.lineage(0).ledger.read_bytes().splitlines(keepends=True)
    paths.lineage(0).ledger.write_bytes(lines[0])
    assert "a ledger was cut or rewritten" in "\n".join(verified(run).problems)


def test_real_accounts_show_a_cut(run: Run, accounting_cluster: OwnCluster) -> None:
    made = Campaign(RunPaths(run.path), run.path / "rows")
    made.begin()
    for _ in range(2):
        name = made.submit()
        command = ["sbatch", "--parsable", f"--job-name={name}", "--output=/dev/null", "--wrap=true"]
        answer = accounting_cluster.says("env", f"--chdir={run.path}", *command)
        made.numbers[name] = answer.partition(";")[0]
        made.finish(name)
    wait_until(lambda: verified(run).witnessed == 2)
    assert verified(run).problems == []
    made.cut(2)
    assert "a ledger was cut or rewritten" in "\n".join(verified(run).problems)
