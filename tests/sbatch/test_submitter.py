"""From a request to one sbatch command line, one receipt and a row of the queue; Slurm is a stand-in here."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mlipilot.doctor.site import Site as DoctorSite
from tests.sbatch.conftest import ATTEMPT, Run, StandinSlurm, job_name, make_run, read_fields
from tests.waiting import wait_until

EVALUATION = "lineage-0/iterations/0001/seed-11/evaluate/attempt-1"
TRAINING, AFTER = job_name(1), job_name(2)


def golden(run: Run, name: str, *middle: str, template: str = "train", attempt: str = ATTEMPT) -> list[str]:
    """The whole command line of the usual request, with what varies in the middle."""
    scripts = Path(__file__).resolve().parents[2] / "sbatch"
    return [
        *("--parsable", "--export=NONE", f"--job-name={name}", f"--output={run.path}/spool/logs/{name}.log"),
        *("--open-mode=append", "--time=30", "--cpus-per-task=2", "--mem=500"),
        *middle,
        *("--signal=B:USR2@60", "--requeue", f"{scripts}/{template}.sbatch", str(run.path), attempt),
    ]


def test_a_request_becomes_this_command_and_this_receipt(run: Run, standin_slurm: StandinSlurm) -> None:
    run.request()
    before = int(time.time())
    done = run.once()
    assert done.returncode == 0, done.stderr
    assert standin_slurm.calls("sbatch") == [golden(run, TRAINING)]
    receipt = run.receipt()
    assert (receipt["status"], receipt["job_id"]) == ("submitted", "1")
    assert before <= int(receipt["time"]) <= time.time()
    assert read_fields(run.spool / "intents" / TRAINING)["tries"] == "1"
    assert run.queue()[1] == {TRAINING: ["1", "PENDING", "Priority", ""]}
    assert run.once().returncode == 0
    assert len(standin_slurm.calls("sbatch")) == 1


@pytest.mark.parametrize(
    "attempt",
    [
        "lineage-0/drafts/0003-12/smoke/attempt-1",
        "lineage-0/confirmation/0003/seed-7/train/attempt-1",
        "lineage-0/confirmation/0003.permuted-labels/seed-7/train/attempt-1",
        "lineage-0/confirmation/0003.without-0001/seed-7/evaluate/attempt-2",
    ],
)
def test_what_comes_before_and_after_the_search_are_attempts(
    attempt: str, run: Run, standin_slurm: StandinSlurm
) -> None:
    run.attempt(attempt)
    run.request(attempt=attempt)
    run.once()
    assert standin_slurm.calls("sbatch") == [golden(run, TRAINING, attempt=attempt)]


def test_fused_requests_name_both_attempts(run: Run, standin_slurm: StandinSlurm) -> None:
    run.attempt(EVALUATION)
    run.request(template="fused", attempt=f"{ATTEMPT},{EVALUATION}")
    run.once()
    assert standin_slurm.calls("sbatch") == [[*golden(run, TRAINING, template="fused"), EVALUATION]]


def test_seeds_that_share_a_job_are_one_word_of_a_stage(run: Run, standin_slurm: StandinSlurm) -> None:
    paths = [
        path.replace("seed-11", seed) for path in (ATTEMPT, EVALUATION) for seed in ("seed-11", "seed-12")
    ]
    for path in paths:
        run.attempt(path)
    trainings, evaluations = "+".join(paths[:2]), "+".join(paths[2:])
    run.request(template="fused", attempt=f"{trainings},{evaluations}")
    run.once()
    (call,) = standin_slurm.calls("sbatch")
    assert call[-3:] == [str(run.path), trainings, evaluations]


def test_what_the_models_job_may_use_is_the_sites_to_say(run: Run, standin_slurm: StandinSlurm) -> None:
    name = run.request("mlp-0123456789abcdef-endpoint.a1", text="template=endpoint\n")
    site = {"MLIPILOT_GPU_PARTITION": "gpu", "MLIPILOT_SBATCH_EXTRA_ENDPOINT": "--gres=gpu:1 --mem=64G"}
    run.once(MLIPILOT_ENDPOINT="/models/a.gguf", MLIPILOT_ENDPOINT_OPTIONS="--threads 8", **site)
    scripts = Path(__file__).resolve().parents[2] / "sbatch"
    command = [
        *("--parsable", "--export=NONE", f"--job-name={name}", f"--output={run.path}/spool/logs/{name}.log"),
        *("--open-mode=append", "--time=1440", "--cpus-per-task=4", "--mem=16384", "--partition=gpu"),
        *("--gres=gpu:1", "--mem=64G", "--signal=B:USR2@60", "--no-requeue"),
        *(f"{scripts}/endpoint.sbatch", str(run.path)),
    ]
    assert standin_slurm.calls("sbatch") == [command]
    told = read_fields(run.spool / "site.env")
    assert (told["endpoint"], told["endpoint_options"]) == ("/models/a.gguf", "--threads 8")
    assert (run.spool / "endpoint.sh").exists()


def test_a_site_that_names_no_model_is_asked_for_none(run: Run, standin_slurm: StandinSlurm) -> None:
    name = run.request("mlp-0123456789abcdef-endpoint.a1", text="template=endpoint\n")
    run.once()
    assert "MLIPILOT_ENDPOINT is not set where submitter.sh runs" in run.receipt(name)["reason"]
    assert standin_slurm.calls("sbatch") == []


@pytest.mark.parametrize(
    ("site", "middle"),
    [
        ({}, ["--gres=gpu:2"]),
        ({"MLIPILOT_GPU_GRES": "gpu:a100"}, ["--gres=gpu:a100:2"]),
        ({"MLIPILOT_GPU_GRES": "--gpus-per-node=h100:%N"}, ["--gpus-per-node=h100:2"]),
        (
            {
                "MLIPILOT_GPU_PARTITION": "gpu",
                "MLIPILOT_ACCOUNT": "chem",
                "MLIPILOT_QOS": "long",
                "MLIPILOT_CONSTRAINT": "a100&ib",
                "MLIPILOT_SBATCH_EXTRA": "--nice=7  --comment=*",
                "MLIPILOT_SBATCH_EXTRA_TRAIN": "--partition=big",
                "MLIPILOT_SBATCH_EXTRA_FUSED": "--partition=other",
            },
            [
                *("--gres=gpu:2", "--partition=gpu", "--account=chem", "--qos=long", "--constraint=a100&ib"),
                *("--nice=7", "--comment=*", "--partition=big"),
            ],
        ),
    ],
)
def test_the_sites_settings_reach_the_command_line(
    run: Run, standin_slurm: StandinSlurm, site: dict[str, str], middle: list[str]
) -> None:
    run.request(gpus="2")
    run.once(**site)
    assert standin_slurm.calls("sbatch") == [golden(run, TRAINING, *middle)]


@pytest.mark.parametrize(
    "site",
    [
        {"MLIPILOT_SBATCH_EXTRA": "--nice=1 --mem-per-cpu=4G"},
        {"MLIPILOT_SBATCH_EXTRA_TRAIN": "--mem-per-gpu=40G"},
    ],
)
def test_slurm_is_told_of_memory_in_one_way(
    run: Run, standin_slurm: StandinSlurm, site: dict[str, str]
) -> None:
    run.request(gpus="1")
    run.once(**site)
    (call,) = standin_slurm.calls("sbatch")
    assert not [word for word in call if word.startswith("--mem=")]
    words = DoctorSite.from_environment(site).sbatch_options(
        "train", {"minutes": 30, "cpus": 1, "memory_mib": 8000, "gpus": 1}
    )
    assert not [word for word in words if word.startswith("--mem=")]


def test_percent_signs_in_the_runs_path_are_no_patterns_of_slurm(
    standin_slurm: StandinSlurm, run: Run, tmp_path: Path
) -> None:
    odd = make_run(tmp_path / "50% j%j a'b", PATH=run.env["PATH"], STANDIN_SLURM=run.env["STANDIN_SLURM"])
    name = odd.request()
    odd.once()
    (call,) = standin_slurm.calls("sbatch")
    assert f"--output={tmp_path}/50%% j%%j a'b/spool/logs/{name}.log" in call
    assert call[-2:] == [str(odd.path), ATTEMPT]


def test_a_dependent_request_is_held_until_the_other_has_a_number(
    run: Run, standin_slurm: StandinSlurm
) -> None:
    run.attempt(EVALUATION)
    run.request(AFTER, template="evaluate", attempt=EVALUATION, after=TRAINING, exclude="n1,n-2.x")
    assert run.once().returncode == 0
    assert standin_slurm.calls("sbatch") == []
    run.request(TRAINING)
    run.once()
    middle = ["--dependency=afterany:1", "--exclude=n1,n-2.x"]
    second = golden(run, AFTER, *middle, template="evaluate", attempt=EVALUATION)
    assert standin_slurm.calls("sbatch") == [golden(run, TRAINING), second]


def test_nothing_of_the_outer_job_reaches_sbatch_or_the_queue(run: Run, standin_slurm: StandinSlurm) -> None:
    leaks = [
        "SLURM_JOB_ID",
        "SLURM_CPU_BIND",
        "SBATCH_PARTITION",
        "SRUN_DEBUG",
        "SQUEUE_FORMAT",
        "SACCT_FORMAT",
    ]
    run.request()
    run.once(**dict.fromkeys(leaks, "7"), SLURM_CONF="/etc/site/slurm.conf", OPENAI_API_KEY="k")
    for command in ("sbatch", "squeue"):
        seen = standin_slurm.environment(command)
        assert seen["SLURM_CONF"] == "/etc/site/slurm.conf"
        assert not set(leaks) & set(seen)


@pytest.mark.parametrize("mode", ["noise", "cluster", "wrapped"])
def test_the_number_is_found_among_what_sbatch_prints(
    run: Run, standin_slurm: StandinSlurm, mode: str
) -> None:
    standin_slurm.tell("sbatch", mode)
    run.request()
    run.once()
    assert run.receipt()["job_id"] == "1"


def test_of_two_numbers_slurm_says_which_is_the_jobs(run: Run, standin_slurm: StandinSlurm) -> None:
    standin_slurm.tell("sbatch", "numbers")
    run.request()
    run.serve()
    wait_until(run.receipt)
    assert run.receipt()["job_id"] == "1" and len(standin_slurm.calls("sbatch")) == 1


def test_a_refusal_is_tried_five_times_then_told_in_slurms_words(
    run: Run, standin_slurm: StandinSlurm
) -> None:
    standin_slurm.tell("sbatch", "refused")
    run.request()
    run.serve()
    wait_until(run.receipt)
    reason = run.receipt()["reason"]
    assert "invalid partition specified: [31mfat" in reason
    assert "Invalid partition name" in reason
    assert reason.isascii() and reason.isprintable() and len(reason) <= 1000
    assert len(standin_slurm.calls("sbatch")) == 5


def test_where_all_nodes_have_failed_one_of_them_has_to_do(run: Run, standin_slurm: StandinSlurm) -> None:
    standin_slurm.tell("sbatch", "no_nodes", "")
    run.request(exclude="n1")
    run.once()
    assert standin_slurm.calls("sbatch") == [golden(run, TRAINING, "--exclude=n1"), golden(run, TRAINING)]
    assert run.receipt()["job_id"] == "1"
    assert read_fields(run.spool / "intents" / TRAINING)["tries"] == "1"


def test_a_full_queue_is_waited_for_and_costs_no_try(run: Run, standin_slurm: StandinSlurm) -> None:
    standin_slurm.tell("sbatch", *["max_submit"] * 6, "")
    run.request()
    run.serve()
    wait_until(run.receipt)
    assert run.receipt()["job_id"] == "1"
    assert len(standin_slurm.calls("sbatch")) == 7
    assert read_fields(run.spool / "intents" / TRAINING)["tries"] == "1"


def test_a_limit_by_its_other_name_is_waited_for(run: Run, standin_slurm: StandinSlurm) -> None:
    standin_slurm.tell("sbatch", *["max_account"] * 6, "")
    run.request()
    run.serve()
    wait_until(run.receipt)
    assert run.receipt()["job_id"] == "1"


@pytest.mark.parametrize("site", ["--exclude=n[1-3]", "-x n[1-3]", "--exclude n[1-3]"])
def test_nodes_that_failed_and_those_that_the_site_leaves_out_are_one_list(
    run: Run, standin_slurm: StandinSlurm, site: str
) -> None:
    run.request(exclude="bad7")
    run.once(MLIPILOT_SBATCH_EXTRA=f"--nice=1 {site}")
    (call,) = standin_slurm.calls("sbatch")
    assert [word for word in call if "n[1-3]" in word or "bad7" in word] == ["--exclude=bad7,n[1-3]"]
    assert "--nice=1" in call and "-x" not in call and "--exclude" not in call


def test_a_full_queue_holds_the_other_requests_too(run: Run, standin_slurm: StandinSlurm) -> None:
    standin_slurm.tell("sbatch", "max_submit")
    for number in range(3, 9):
        run.request(job_name(number))
    run.once(MLIPILOT_POLL_S="60")  # until the next try
    assert len(standin_slurm.calls("sbatch")) == 1
