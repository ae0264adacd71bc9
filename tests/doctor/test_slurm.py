"""Slurm through stand-ins that print what Slurm 22.05 prints, and the real one where it answers."""

from __future__ import annotations

import subprocess

import pytest

from mlipilot.doctor import slurm
from mlipilot.doctor.check import Check
from mlipilot.doctor.site import Site
from mlipilot.errors import InputError
from mlipilot.jobs.job_settings import JobSettings
from mlipilot.jobs.requests import resources_by_template
from mlipilot.programs import ask
from tests.conftest import StandIn
from tests.doctor.conftest import SiteOf

SINFO = 'if [ "$1" = --version ]; then echo "slurm-wlm 22.05.8"; else printf "{listing}"; fi'
LISTING = (
    "controller*|(null)|up|2|NO|8\\ngpu|gpu:a100:4(S:0,1),nvme:1|up|8|NO|64\\n"
    "gpu|gpu:h100:8|up|1|NO|96+\\nold|gpu:2|down|3|NO|16\\n"
)
ACCEPTS = 'cat >/dev/null; echo "sbatch: Job 7 to start at 2026-01-02T03:04:05 using 1 processors" >&2'
NO_ACCOUNTS = "echo 'Slurm accounting storage is disabled' >&2; exit 1"


def _gpu_jobs(gpus: int = 1, **changes: object) -> JobSettings:
    fields = {"backend": "slurm", "device": "cuda", "resources": {"gpus": gpus}} | changes
    return JobSettings.model_validate(fields)


def _checks(site: Site, jobs: JobSettings | None) -> dict[str, Check]:
    return {check.name: check for check in slurm.check_slurm(site, jobs)}


@pytest.fixture
def cluster(stand_in: StandIn) -> StandIn:
    stand_in("sinfo", SINFO.format(listing=LISTING))
    stand_in("sacct", NO_ACCOUNTS)
    stand_in("sbatch", ACCEPTS)
    return stand_in


def test_a_cluster_without_accounts_is_good_with_a_warning(cluster: StandIn, site_of: SiteOf) -> None:
    found = _checks(site_of(GPU_PARTITION="gpu"), _gpu_jobs())
    assert {name: check.status for name, check in found.items()} == {
        "slurm": "ok",
        "partition": "ok",
        "accounting": "warning",
        "submit": "ok",
    }
    assert "22.05.8" in found["slurm"].found
    assert "keeps no accounts" in found["accounting"].found
    assert "2026-01-02T03:04:05" in found["submit"].found


def test_the_trial_submission_is_a_trial_and_asks_as_the_submitter_does(
    cluster: StandIn, site_of: SiteOf, tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = tmp_path_factory.mktemp("log") / "words"
    cluster("sbatch", f'printf "%s\\n" "$@" >{log}; cat >>{log}; env | grep ^SBATCH_ >>{log}; exit 0')
    site = site_of(
        GPU_PARTITION="gpu",
        ACCOUNT="acc",
        QOS="q",
        CONSTRAINT="c",
        GPU_GRES="gpu:a100",
        SBATCH_EXTRA="--nice=5",
    )
    jobs = _gpu_jobs(2, chain="fused", train_wall_limit_s=60, evaluate_wall_limit_s=61)
    assert _checks(site, jobs)["submit"].status == "ok"
    assert log.read_text().split("\n")[:-1] == [
        *("--test-only", "--export=NONE", "--output=/dev/null"),
        *("--time=6", "--cpus-per-task=1", "--mem=8000", "--gres=gpu:a100:2"),
        *("--partition=gpu", "--account=acc", "--qos=q", "--constraint=c", "--nice=5"),
        *("#!/bin/sh", "true"),
    ]


def test_a_gres_of_another_form_is_passed_as_it_is(site_of: SiteOf) -> None:
    words = site_of(GPU_GRES="--gpus-per-node=%N").sbatch_options(
        "train", resources_by_template(_gpu_jobs(3))["train"]
    )
    assert "--gpus-per-node=3" in words and not any("gres" in word for word in words)


@pytest.mark.parametrize(
    ("settings", "gpus", "said", "mend"),
    [
        ({"GPU_PARTITION": "gpuu"}, 1, "no partition 'gpuu'", "perhaps gpu"),
        ({"GPU_PARTITION": "old"}, 1, "not up", "another one of"),
        ({}, 1, "no node with gpu:1 in controller", "one of: gpu, old"),
        ({"GPU_PARTITION": "gpu"}, 9, "no node with gpu:9", "jobs.resources.gpus"),
        ({"GPU_PARTITION": "gpu", "GPU_GRES": "gpu:v100"}, 1, "no node with gpu:v100:1", "MLIPILOT_GPU_GRES"),
        (
            {"GPU_PARTITION": "gpu", "SBATCH_EXTRA": "-p nope"},
            1,
            "no partition 'nope'",
            "controller, gpu, old",
        ),
    ],
)
def test_a_partition_that_cannot_run_the_jobs_fails(
    cluster: StandIn, site_of: SiteOf, settings: dict[str, str], gpus: int, said: str, mend: str
) -> None:
    found = _checks(site_of(**settings), _gpu_jobs(gpus))["partition"]
    assert found.status == "failed" and said in found.found and mend in found.mend


def test_gpus_of_any_kind_of_node_in_the_partition_count(cluster: StandIn, site_of: SiteOf) -> None:
    site = site_of(GPU_PARTITION="gpu", GPU_GRES="gpu:h100")
    assert _checks(site, _gpu_jobs(8))["partition"].status == "ok"
    assert _checks(site_of(GPU_PARTITION="controller,gpu"), _gpu_jobs(4))["partition"].status == "ok"


@pytest.mark.parametrize(
    ("shared", "pack", "warned"),
    [("EXCLUSIVE", 3, True), ("EXCLUSIVE", 32, False), ("NO", 3, False), ("YES:4", 3, False)],
)
def test_whole_nodes_for_a_few_cores_are_told(
    cluster: StandIn, site_of: SiteOf, shared: str, pack: int, warned: bool
) -> None:
    cluster("sinfo", SINFO.format(listing=f"all*|(null)|up|2|{shared}|48+\\n"))
    found = _checks(site_of(), JobSettings(backend="slurm", pack=pack))
    assert ("nodes" in found) == warned
    if warned:
        assert "of 48 cores and more, and a job of this campaign uses 3" in found["nodes"].found
        assert "MLIPILOT_ENGINE=hq" in found["nodes"].mend


def test_no_default_partition(cluster: StandIn, site_of: SiteOf) -> None:
    cluster("sinfo", SINFO.format(listing="gpu|gpu:2|up|1|NO|16\\n"))
    found = _checks(site_of(), JobSettings(backend="slurm"))["partition"]
    assert found.status == "failed" and "MLIPILOT_GPU_PARTITION" in found.mend


@pytest.mark.parametrize(
    ("words", "mend"),
    [
        ("sbatch: error: Invalid account or account/partition combination specified", "MLIPILOT_ACCOUNT"),
        ("sbatch: error: invalid partition specified: nope", "MLIPILOT_GPU_PARTITION"),
        ("allocation failure: Requested node configuration is not available", "jobs.resources"),
        ("sbatch: error: Access/permission denied", "submitter.sh --once"),
        ("sbatch: error: something of tomorrow", "by hand"),
    ],
)
def test_a_refusal_is_quoted_with_its_mend(cluster: StandIn, site_of: SiteOf, words: str, mend: str) -> None:
    cluster("sbatch", f"cat >/dev/null; printf '\\e[31m%s\\n' '{words}' >&2; exit 1")
    found = _checks(site_of(), JobSettings(backend="slurm"))["submit"]
    assert found.status == "failed" and mend in found.mend
    assert words in found.found and "\x1b" not in found.found


def test_what_the_submitter_would_refuse_fails_before_slurm_is_asked(
    cluster: StandIn, site_of: SiteOf
) -> None:
    jobs = JobSettings(backend="slurm", train_wall_limit_s=36000)
    found = [c for c in slurm.check_slurm(site_of(MAX_MINUTES="600"), jobs) if c.name == "submit"]
    assert [c.status for c in found] == ["failed", "ok"]
    assert "minutes=603 is over MLIPILOT_MAX_MINUTES (600)" in found[0].found
    with pytest.raises(InputError, match="MLIPILOT_MAX_CPUS='many'"):
        site_of(MAX_CPUS="many")


def test_no_slurm_is_one_line(no_programs: None, site_of: SiteOf) -> None:
    (found,) = slurm.check_slurm(site_of(MODULES="slurm/23"), None)
    assert (found.name, found.status) == ("slurm", "failed")
    assert "module load slurm/23" in found.mend


def test_a_controller_that_is_down_is_one_line(cluster: StandIn, site_of: SiteOf) -> None:
    cluster("sinfo", '[ "$1" != --version ] || exit 0; echo "slurm_load_partitions: refused" >&2; exit 1')
    (found,) = slurm.check_slurm(site_of(), None)
    assert found.status == "failed" and "slurm_load_partitions: refused" in found.found


def test_a_hanging_command_fails_by_its_name(
    cluster: StandIn, site_of: SiteOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "ask", lambda argv, **kw: ask(argv, **kw | {"timeout_s": 0.5}))
    cluster("sacct", "sleep 30")
    cluster("sbatch", "sleep 30")
    found = _checks(site_of(), None)
    for name, program in (("accounting", "sacct"), ("submit", "sbatch")):
        assert found[name].status == "failed" and f"{program} did not answer" in found[name].found


def _unnamed_jobs() -> list[str]:
    """The jobs, over or not, that have the name of a script from standard input."""
    argv = ["squeue", "--noheader", "--states=all", "--name=sbatch", "--format=%i"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()


def test_the_real_slurm(site_of: SiteOf) -> None:
    try:
        listing = subprocess.run(
            ["sinfo", "--noheader", "--format=%R %G"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        pytest.skip("there is no Slurm here: ci/cluster/install.sh and up.sh give one")
    if listing.returncode:
        pytest.skip("no Slurm answers here: start one with ci/cluster/up.sh")
    if "gpu gpu:2" not in listing.stdout:
        pytest.skip("this is not the cluster of ci/cluster/up.sh")
    before = _unnamed_jobs()
    good = _checks(site_of(GPU_PARTITION="gpu"), _gpu_jobs())
    assert [good[name].status for name in ("slurm", "partition", "submit")] == ["ok", "ok", "ok"]
    assert "start at 2" in good["submit"].found
    assert good["accounting"].status in ("ok", "warning")
    bad = _checks(site_of(GPU_PARTITION="gpu", GPU_GRES="gpu:a100"), _gpu_jobs(3))
    assert (bad["partition"].status, bad["submit"].status) == ("failed", "failed")
    assert "node configuration" in bad["submit"].found
    assert _unnamed_jobs() == before
