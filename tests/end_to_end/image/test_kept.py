"""No clerical step destroys a result: the faults around a job's end, on a real Slurm, in a real image.

Slurm gives jobs an environment of their own, so the faults come in by the batch scripts of the site's
checkout: an `apptainer` before the real one.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlipilot.controller.verification import verify_run
from mlipilot.jobs.job_files import read_result
from mlipilot.paths import JobKey
from tests.end_to_end.cluster import Site
from tests.end_to_end.image.conftest import MARKS, OF_TWO_LINEAGES, SMALL, MakeSite
from tests.end_to_end.slurm_runs import state_of, weights

pytestmark = [*MARKS, OF_TWO_LINEAGES]
TRAIN, EVALUATE = JobKey(0, 1, "train"), JobKey(0, 1, "evaluate")
BASELINE = {"iterations": 0, "optimizer_steps": 8}


def _disturb(site: Site, template: str, apptainer: str, **environment: str) -> None:
    """Have the jobs of a template meet such an `apptainer` first; `$real` is the one behind it."""
    folder = site.root / f"in the way of {template}"
    folder.mkdir()
    real = subprocess.run(["which", "apptainer"], capture_output=True, text=True, check=True).stdout.strip()
    wrapper = folder / "apptainer"
    wrapper.write_text(f'#!/bin/bash\nreal={real} here={str(folder)!r}\n{apptainer}\nexec "$real" "$@"\n')
    wrapper.chmod(0o755)
    script = site.root / "sbatch" / f"{template}.sbatch"
    told = {"PATH": f"{folder}:$PATH"} | environment
    lines = [f'export {name}="{value}"' for name, value in told.items()]
    shebang, rest = script.read_text().split("\n", 1)
    script.write_text("\n".join([shebang, *lines, rest]))


def _mounted(point: Path, size: str) -> bool:
    point.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(point)]
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0


@pytest.fixture
def full_directory(tmp_path: Path) -> Iterator[Path]:
    """A file system on which no byte is left."""
    if not _mounted(point := tmp_path / "full", "16k"):
        pytest.skip("only root may mount")
    subprocess.run(["dd", "if=/dev/zero", f"of={point}/all"], capture_output=True, check=False)
    yield point
    subprocess.run(["umount", point], check=True)


def _assert_as_undisturbed(site: Site, undisturbed: Site) -> None:
    """One attempt of each job, the same weights, the same verdict."""
    state = state_of(site.run)
    assert state.finished is not None, site.said()
    assert {(a.number, a.outcome) for found in state.jobs.values() for a in found} == {(1, "ok")}, site.said()
    assert verify_run(site.run).problems == []
    assert weights(site.run)["0000/seed-1"] == weights(undisturbed.run)["0000/seed-1"]
    files = [run.lineage().iteration(0) / "verdict.json" for run in (site.run, undisturbed.run)]
    ours, theirs = (json.loads(file.read_text())["verdict"] for file in files)
    assert ours == theirs


def test_jobs_that_die_before_the_seal_on_a_node_without_room_lose_nothing(
    make_site: MakeSite, two_lineages: Site, full_directory: Path
) -> None:
    """The training is sealed by the evaluation behind it, the evaluation by the controller."""
    site = make_site(two_lineages.run.data, budget=BASELINE, jobs=SMALL)
    die_at_the_end = '[[ "$*" != *"phases end"*/{kind}/* ]] || {{ kill -KILL $PPID; exit 1; }}'
    _disturb(site, "train", die_at_the_end.format(kind="train"), TMPDIR=str(full_directory))
    fail_once = '[[ "$*" != *"phases end"* || -e $here/failed ]] || { touch "$here/failed"; exit 1; }\n'
    _disturb(site, "evaluate", fail_once + die_at_the_end.format(kind="evaluate"))
    site.sbatch()
    site.wait_for_the_end()
    _assert_as_undisturbed(site, two_lineages)
    trained, evaluated = (read_result(site.run.lineage().attempt(key, 1)) for key in (TRAIN, EVALUATE))
    assert (trained.outcome, evaluated.outcome) == ("ok", "ok")
    assert str(trained.sealed_by).startswith("job ") and str(trained.job_id) not in str(trained.sealed_by)
    assert str(evaluated.sealed_by).startswith("the controller on ")
    assert (trained.cpu_s or 0) > 1 and trained.isolation.network == "none"
    assert (site.root / "in the way of evaluate" / "failed").exists()


@pytest.mark.sweep
def test_a_job_that_is_requeued_when_it_would_seal_is_trained_once(
    make_site: MakeSite, two_lineages: Site
) -> None:
    """Its next start seals what the first has done."""
    site = make_site(two_lineages.run.data, budget=BASELINE, jobs=SMALL)
    first = '[[ "$*" != *"phases end"* || -n ${SLURM_RESTART_COUNT:-} ]]'
    _disturb(site, "train", first + ' || { scontrol requeue "$SLURM_JOB_ID"; sleep 100; exit 1; }')
    site.sbatch()
    site.wait_for_the_end()
    _assert_as_undisturbed(site, two_lineages)
    trained = read_result(site.run.lineage().attempt(TRAIN, 1))
    assert str(trained.sealed_by).startswith(f"job {trained.job_id} (start 1) on ")


@pytest.mark.sweep
def test_a_disk_that_is_full_before_and_after_a_training_costs_no_training(
    make_site: MakeSite, two_lineages: Site, tmp_path: Path
) -> None:
    """Too full to begin: the run pauses with the reason. Full at the end: the job waits for room."""
    disk = tmp_path / "site"
    if not _mounted(disk, "300m"):
        pytest.skip("only root may mount")
    try:
        site = make_site(two_lineages.run.data, budget=BASELINE, jobs=SMALL | {"min_free_mib": 200})
        (filler := disk / "filler").write_bytes(bytes(150 << 20))
        fill = f"dd if=/dev/zero of={disk}/full bs=64k; (sleep 15; rm {disk}/full) >/dev/null 2>&1 &"
        _disturb(
            site,
            "train",
            f'if [[ "$*" == *train.py* ]]; then "$real" "$@"; status=$?; {fill} exit $status; fi',
        )
        site.sbatch()
        site.wait_for_the_end()
        paused = state_of(site.run).paused
        assert paused is not None and "MiB are free" in paused and "at least 200 MiB" in paused, site.said()
        assert not list(site.run.root.glob("lineage-0/iterations/*/seed-1/train/*/stdout.log"))
        filler.unlink()
        for _ in range(3):  # the full disk may pause the controller, too
            site.sbatch()
            site.wait_for_the_end()
            if (state := state_of(site.run)).finished is not None:
                break
        assert state.finished is not None, site.said()
        assert [attempt.outcome for attempt in state.jobs[TRAIN]] == ["not_storable", "ok"], site.said()
        result = read_result(site.run.lineage().attempt(TRAIN, 2))
        assert (result.outcome, result.job_id is None) == ("ok", False)
        assert weights(site.run)["0000/seed-1"] == weights(two_lineages.run)["0000/seed-1"]
        assert verify_run(site.run).problems == []
    finally:
        site.end_all()
        subprocess.run(["umount", "--lazy", disk], check=True)
