"""Campaigns as users run them: `sbatch campaigns/….sbatch`, in a real image, on a real Slurm."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from mlipilot.audit.events.running import Resumed
from mlipilot.audit.ledger import read_ledger
from mlipilot.jobs.job_files import Isolation, read_result
from tests.end_to_end.cluster import IMAGE, Site
from tests.end_to_end.conftest import mlipilot
from tests.end_to_end.image.conftest import MARKS, OF_TWO_LINEAGES, SMALL, MakeSite
from tests.end_to_end.slurm_runs import state_of

pytestmark = MARKS


@OF_TWO_LINEAGES
def test_a_controller_that_reaches_its_time_limit_is_followed_by_another(two_lineages: Site) -> None:
    site = two_lineages
    assert len(site.logs()) == 3 and "before its time: " in site.said()
    for lineage in (0, 1):
        events = [record.event for record in read_ledger(site.run.lineage(lineage).ledger)]
        resumed = [event for event in events if isinstance(event, Resumed)]
        assert (len(resumed), events[-1].kind) == (lineage, "finished"), site.said()
        assert all(event.unattended for event in resumed), "a successor is nobody who has looked"
        jobs = state_of(site.run, lineage).jobs
        assert all([attempt.number for attempt in attempts] == [1] for attempts in jobs.values()), jobs
        for key in jobs:
            isolation = read_result(site.run.lineage(lineage).attempt(key, 1)).isolation
            assert isolation == Isolation(
                backend="slurm",
                filesystem="container",
                network="none",
                network_by="namespace",
                measured=True,
            )
    names = sorted(path.name for path in (site.run.spool / "requests").iterdir())
    assert sorted(path.name for path in (site.run.spool / "started").iterdir()) == [f"{n}.0" for n in names]
    assert site.left_running() == []


@OF_TWO_LINEAGES
def test_on_the_login_node_the_runs_directory_is_enough(two_lineages: Site, login: Path) -> None:
    run = two_lineages.run
    found = json.loads(mlipilot("status", run.root, "--json", cwd=login).stdout)
    assert [lineage["phase"] for lineage in found["lineages"]] == ["finished", "finished"]
    ledger = run.lineage(1).ledger.read_bytes()
    mlipilot("resume", run.root, "--lineage", "1", cwd=login)  # nothing is left to do but the report
    mlipilot("verify", run.root, cwd=login)
    assert run.lineage(1).ledger.read_bytes() == ledger and list(login.iterdir()) == []
    assert json.loads(_in_the_image(two_lineages, "status", "runs/tiny", "--json")) == found
    _in_the_image(two_lineages, "report", "runs/tiny")
    _in_the_image(two_lineages, "verify", "runs/tiny")


def _in_the_image(site: Site, *arguments: str) -> str:
    """What a verb says on a host that has Apptainer and no Python of ours, as the README has it."""
    command = ["apptainer", "exec", str(IMAGE), "mlipilot", *arguments]
    done = subprocess.run(command, cwd=site.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_changed_image_ends_a_campaign_before_it_begins(make_site: MakeSite) -> None:
    assert IMAGE is not None
    site = make_site(budget={"iterations": 0, "optimizer_steps": 8}, jobs=SMALL)
    changed = site.root / IMAGE.name
    shutil.copyfile(IMAGE, changed)
    shutil.copyfile(IMAGE.with_name("images.lock"), site.root / "images.lock")
    with changed.open("r+b") as file:
        file.seek(changed.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    job = site.sbatch(MLIPILOT_IMAGE=str(changed))
    site.wait_for_the_end()
    record = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, check=True)
    assert "ExitCode=2:0" in record.stdout
    assert f"{changed} is not the one in images.lock beside it" in site.said().splitlines()[-1]
    assert len(site.logs()) == 1 and not site.run.spool.exists() and not site.run.lineages()
