"""What a real Slurm says of the job that holds a lineage, in the batch script and outside of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlipilot.audit.claims import Job
from mlipilot.audit.lock import controller_lock, examine
from mlipilot.jobs.slurm_job import fate_of_job
from tests.claims import OTHER_HOST
from tests.sbatch.conftest import REPOSITORY
from tests.waiting import wait_for_text, wait_until

pytestmark = pytest.mark.cluster
HOLD = """
import sys, time
from pathlib import Path
from mlipilot.audit.claims import Job
from mlipilot.audit.lock import controller_lock
from mlipilot.jobs.slurm_job import this_job
with controller_lock(Path(sys.argv[1]), this_job()):
    time.sleep(600)
"""
ASK = f"""#!/bin/bash
run=$1 lineage=0 script=tiny.sbatch
say() {{ echo "$*"; }}
source {REPOSITORY}/sbatch/owner.sh
judge_owner
echo "ended: $ended"
"""


@pytest.fixture
def lineage(tmp_path: Path) -> Path:
    (tmp_path / "lineage-0").mkdir()
    return tmp_path / "lineage-0"


def _sbatch(*arguments: str | Path) -> str:
    return subprocess.run(
        ["sbatch", "--parsable", "--mem=300M", *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def owner(slurm: None, lineage: Path) -> Iterator[str]:
    """An array task that holds the lineage, and whose lock and process cannot be seen from here."""
    script = lineage.parent / "hold.sh"
    script.write_text(f"#!/bin/bash\nexec {sys.executable} -c '{HOLD}' {lineage}\n")
    job = _sbatch("--array=3", f"--output={lineage.parent}/hold.log", script)
    claim = lineage / "controller" / "000001.json"
    try:
        held = wait_for_text(claim)
        claim.write_text(json.dumps(json.loads(held) | OTHER_HOST, indent=2))
        (lineage / "controller" / "lock").unlink()
        yield job
    finally:
        subprocess.run(["scancel", job], check=False)


def _what_a_job_finds(run: Path) -> str:
    (run / "ask.sh").write_text(ASK)
    _sbatch("--wait", f"--output={run}/ask.log", run / "ask.sh", run)
    return (run / "ask.log").read_text()


def test_a_job_that_slurm_has_forgotten_is_over(slurm: None) -> None:
    assert fate_of_job(Job(id="999999_7")).state == "over"


def test_a_controllers_job_is_believed_over_only_when_slurm_says_so(lineage: Path, owner: str) -> None:
    found = examine(lineage, fate_of_job)
    assert found is not None and found[1] == ("alive", f"Slurm says that job {owner}_3 is RUNNING")
    assert f"job {owner}_3 carries lineage 0 of {lineage.parent} already" in _what_a_job_finds(lineage.parent)
    subprocess.run(["scancel", "--full", "--signal=KILL", owner], check=True)
    wait_until(lambda: (now := examine(lineage, fate_of_job)) is not None and now[1].state == "over", 60)
    assert f"ended: {owner}_3" in _what_a_job_finds(lineage.parent)
    with controller_lock(lineage, ask=fate_of_job) as hold:
        assert hold.epoch == 2
