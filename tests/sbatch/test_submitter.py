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


def test_the_smoke_step_of_a_draft_is_an_attempt(run: Run, standin_slurm: StandinSlurm) -> None:
    run.attempt(draft := "lineage-0/drafts/0003-12/smoke/attempt-1")
    run.request(attempt=draft)
    run.once()
    assert standin_slurm.calls("sbatch") == [golden(run, TRAINING, attempt=draft)]


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


def test_a_request_after_a_rejected_one_is_rejected(run: Run, standin_slurm: StandinSlurm) -> None:
    run.request(TRAINING, minutes="0")
    run.request(AFTER, after=TRAINING)
    run.once()
    assert run.receipt(AFTER) == {"status": "rejected", "reason": f"after={TRAINING} was rejected"}
    assert standin_slurm.calls("sbatch") == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"template": None}, "key template is missing"),
        ({"gpus": None}, "key gpus is missing"),
        ({"template": "../train"}, "template=../train is not train, evaluate, fused or endpoint"),
        ({"attempt": f"/{ATTEMPT}"}, "is not the path of an attempt"),
        ({"attempt": f"{ATTEMPT}/../attempt-1"}, "is not the path of an attempt"),
        ({"attempt": ATTEMPT.replace("0001", "001")}, "is not the path of an attempt"),
        ({"attempt": ATTEMPT.replace("attempt-1", "attempt-2")}, "is not a directory below the run"),
        ({"then": EVALUATION}, f"the line 'then={EVALUATION[:55]}' begins with no known key"),
        ({"template": "endpoint"}, "template=endpoint takes no other key"),
        ({"attempt": f"{ATTEMPT},{ATTEMPT}"}, f"attempt={ATTEMPT} is there twice"),
        ({"attempt": f"{ATTEMPT}+{EVALUATION}"}, f"attempt={EVALUATION} is not a directory"),
        ({"attempt": f"{ATTEMPT},,{EVALUATION}"}, "is no list of attempts"),
        ({"attempt": f"{ATTEMPT}+"}, "is no list of attempts"),
        ({"attempt": f"{ATTEMPT} {EVALUATION}"}, "is no list of attempts"),
        ({"attempt": f"{ATTEMPT[:-1]}*"}, "is not the path of an attempt"),
        ({"attempt": ""}, "is no list of attempts"),
        ({"minutes": "0"}, "minutes=0 is not a whole number from 1 to 1440 (MLIPILOT_MAX_MINUTES"),
        ({"minutes": "1441"}, "minutes=1441"),
        ({"minutes": "1e2"}, "minutes=1e2"),
        ({"minutes": "030"}, "minutes=030"),
        ({"minutes": "5 --uid=0"}, "minutes=5 --uid=0"),
        ({"cpus": "65"}, "from 1 to 64 (MLIPILOT_MAX_CPUS"),
        ({"cpus": "-1"}, "cpus=-1"),
        ({"memory_mib": "0"}, "memory_mib=0"),
        ({"memory_mib": "262145"}, "from 1 to 262144 (MLIPILOT_MAX_MEMORY_MIB"),
        ({"gpus": "9"}, "from 0 to 8 (MLIPILOT_MAX_GPUS"),
        ({"gpus": "a[$(touch pwned)]"}, "gpus=a[$(touch pwned)]"),
        ({"after": TRAINING}, "is not the name of another request"),
        ({"after": "job"}, "after=job is not the name"),
        ({"exclude": "n1 n2"}, "exclude=n1 n2 is not a list of nodes"),
        ({"exclude": "n" * 401}, "is not a list of nodes"),
        ({"exclude": ""}, "is not a list of nodes"),
        ({"partition": "fat"}, "the line 'partition=fat' begins with no known key"),
    ],
)
def test_a_request_outside_the_rules_is_rejected_with_the_rule(
    run: Run, standin_slurm: StandinSlurm, changes: dict[str, str | None], words: str
) -> None:
    run.request(**changes)
    done = run.once()
    receipt = run.receipt()
    assert receipt["status"] == "rejected"
    assert words in receipt["reason"]
    assert f"{TRAINING}: rejected: {receipt['reason']}" in done.stdout
    assert standin_slurm.calls("sbatch") == []
    assert not list(run.path.rglob("pwned"))


GOOD = f"template=train\nattempt={ATTEMPT}\nminutes=30\ncpus=1\nmemory_mib=500\ngpus=0\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD + "cpus=2\n", "key cpus is there twice"),
        (GOOD + "\n", "the line ''"),
        (GOOD + "exclude=n1\x00n2\n", "other than printable ASCII"),
        (GOOD + "exclude=\u00e9\n", "other than printable ASCII"),
        (GOOD + "\r\n", "other than printable ASCII"),
        (GOOD + "x" * 4096, "longer than 4096 bytes"),
        ("", "key template is missing"),
    ],
)
def test_a_request_that_is_no_list_of_known_keys_is_rejected(
    run: Run, standin_slurm: StandinSlurm, text: str, words: str
) -> None:
    run.request(text=text)
    run.once()
    assert words in run.receipt()["reason"]
    assert standin_slurm.calls("sbatch") == []


def test_attempts_are_real_places_in_the_run_with_an_order(
    run: Run, standin_slurm: StandinSlurm, tmp_path: Path
) -> None:
    def reason(number: int, attempt: str) -> str:
        run.request(name := job_name(number), attempt=attempt)
        run.once()
        return run.receipt(name)["reason"]

    outside = tmp_path / "elsewhere" / "seed-1" / "attempt-1"
    outside.mkdir(parents=True)
    (outside / "job.json").touch()
    (run.path / "lineage-0" / "iterations").mkdir(parents=True)
    (run.path / "lineage-0" / "iterations" / "0009").symlink_to(tmp_path / "elsewhere")
    assert "not a directory below the run" in reason(3, "lineage-0/iterations/0009/seed-1/attempt-1")

    bare = run.attempt("lineage-0/sealed-check/0001/seed-1/attempt-1")
    (bare / "job.json").unlink()
    assert "holds no file job.json" in reason(4, "lineage-0/sealed-check/0001/seed-1/attempt-1")
    (bare / "job.json").symlink_to(outside / "job.json")
    assert "holds no file job.json" in reason(5, "lineage-0/sealed-check/0001/seed-1/attempt-1")

    assert standin_slurm.calls("sbatch") == []


def test_what_is_no_request_is_not_followed(run: Run, standin_slurm: StandinSlurm, tmp_path: Path) -> None:
    (tmp_path / "text").write_text(GOOD)
    run.attempt()
    run.write("requests", "mlp-0123-a", GOOD)
    run.write("requests", "--help", GOOD)
    run.write("requests", f".{TRAINING}.tmp", GOOD)
    (run.spool / "requests" / AFTER).symlink_to(tmp_path / "text")
    done = run.once()
    assert done.returncode == 0
    assert "mlp-0123-a: ignored" in done.stdout
    assert [path.name for path in (run.spool / "receipts").iterdir()] == [AFTER]
    assert "no regular file" in run.receipt(AFTER)["reason"]
    assert standin_slurm.calls("sbatch") == []


def test_the_sites_bounds_are_settings(run: Run) -> None:
    run.request(minutes="31")
    run.once(MLIPILOT_MAX_MINUTES="30")
    assert "minutes=31 is not a whole number from 1 to 30" in run.receipt()["reason"]


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
    wait_until(run.receipt, 25)
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
    standin_slurm.tell("sbatch", *["max_submit"] * 7, "")
    run.request()
    run.serve()
    wait_until(run.receipt, 25)
    assert run.receipt()["job_id"] == "1"
    assert len(standin_slurm.calls("sbatch")) == 8
    assert read_fields(run.spool / "intents" / TRAINING)["tries"] == "1"


def test_a_limit_by_its_other_name_is_waited_for(run: Run, standin_slurm: StandinSlurm) -> None:
    standin_slurm.tell("sbatch", *["max_account"] * 6, "")
    run.request()
    run.serve()
    wait_until(run.receipt, 25)
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
    run.once()
    assert len(standin_slurm.calls("sbatch")) == 1
