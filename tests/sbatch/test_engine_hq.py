"""What the submitter says to HyperQueue, and what it makes of the answers; `hq` is a stand-in, or absent."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.sbatch.conftest import ATTEMPT, REPOSITORY, Run, StandinSlurm, job_name

SBATCH = REPOSITORY / "sbatch"
NAME = job_name()
HARNESS = """
set -uo pipefail
shopt -s nullglob
here=$1 run=$2 real_run=$2 sbatch_dir=$1 lock=spool host=vm once= now=100
cd "$run"
for file in settings slurm submitter_submissions submitter_request submitter_queue engine_slurm engine_hq; do
  source "$here/$file.sh"
done
allocation=4711 server=4711.2 node_cpus=8 memory_mib=16000 gpus=2 minutes=60
declare -A wanted=()
"""


def in_submitter(run: Run, script: str, *words: str, **env: str) -> list[str]:
    """The lines that some bash prints within the submitter's files."""
    command = ["bash", "-c", HARNESS + script, "harness", str(SBATCH), str(run.path), *words]
    done = subprocess.run(command, env=run.env | env, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def built(run: Run, script: str = "") -> list[str]:
    return in_submitter(
        run, f'{script}\nread_request {NAME} && build_hq {NAME} && printf "%s\\n" "${{command[@]}}"'
    )


def test_a_request_becomes_this_command(run: Run) -> None:
    run.request(gpus="2")
    assert built(run) == [
        "hq",
        f"--server-dir={run.path}/spool/hq-4711.2",
        "--output-mode=quiet",
        "submit",
        f"--name={NAME}",
        "--cpus=2",
        "--resource=mem=500",
        "--resource=gpus/nvidia=2",
        "--time-request=30min",
        "--time-limit=30min",
        "--stdout=none",
        "--stderr=none",
        "--directives=off",
        "--",
        "bash",
        f"{SBATCH}/hq_job.sh",
        str(run.path),
        NAME,
        "hq-4711.2-",
        "0",
        f"{SBATCH}/train.sbatch",
        ATTEMPT,
    ]


def test_where_slurm_tells_no_memory_none_is_counted_and_a_job_that_goes_on_keeps_id_and_starts(
    run: Run,
) -> None:
    run.request()
    for start in ("0", "11", "9", "2.tmp"):
        run.write("started", f"{NAME}.{start}", "")
    command = built(run, f"memory_mib=0 job_of[{NAME}]=hq-99-7")
    assert not [word for word in command if word.startswith("--resource")]
    assert command[-4:-2] == ["hq-99-7", "12"]


@pytest.mark.parametrize(
    ("status", "said", "complaint", "verdict"),
    [
        (0, "17", "", "submitted hq-4711.2-17"),
        (0, "", "", "unsure"),
        (0, "Job submitted", "", "unsure"),
        (1, "", 'No running instance of HQ found at "/x".', "away"),
        (1, "", "Access token found but HQ server vm:1 is unreachable.", "away"),
        (2, "", "error: invalid value 'x' for '--cpus <CPUS>'", "refused"),
        (1, "", "Error: connection was closed", "unsure"),
        (124, "", "", "unsure"),
        (137, "", "error: of another", "unsure"),
    ],
)
def test_an_answer_is_read_as_it_is_meant(
    run: Run, status: int, said: str, complaint: str, verdict: str
) -> None:
    script = 'said=$3 complaint=$4; classify_hq "$5"; [[ $verdict != submitted ]] || verdict+=" $job"'
    script += '\necho "$verdict"'
    assert in_submitter(run, script, said, complaint, str(status)) == [verdict]


def listed(number: int, name: str, **stats: int) -> dict[str, object]:
    all_stats = dict.fromkeys(("canceled", "failed", "finished", "running", "waiting"), 0) | stats
    return {"id": number, "is_open": False, "name": name, "task_count": 1, "task_stats": all_stats}


SHOW = """
said=$3
read_hq && for name in "${!hq_state[@]}"; do echo "$name ${hq_number[$name]} ${hq_state[$name]}"; done | sort
"""


def test_the_list_of_jobs_is_read(run: Run) -> None:
    names = [job_name(number) for number in range(1, 6)]
    states = ("waiting", "running", "finished", "failed", "canceled")
    jobs = [
        listed(n, name, **{state: 1}) for n, (name, state) in enumerate(zip(names, states, strict=True), 1)
    ]
    jobs += [listed(9, "mine", running=1), listed(10, "mlp-{}|\\\n", running=1)]
    slurms = ("PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED")
    wanted = [f"{name} {n} {state}" for n, (name, state) in enumerate(zip(names, slurms, strict=True), 1)]
    assert in_submitter(run, SHOW, json.dumps(jobs, indent=2)) == wanted
    # serde_json sorts the keys of an object, or keeps the order in which they were put
    assert in_submitter(run, SHOW, json.dumps([dict(reversed(j.items())) for j in jobs], indent=2)) == wanted
    assert in_submitter(run, SHOW, "[]") == []


@pytest.mark.parametrize("said", ["", "null", '{\n  "error": "x"\n}', "[\n  {\n", "\x01\x02", "Maintenance"])
def test_what_is_no_list_is_no_answer(run: Run, said: str) -> None:
    assert in_submitter(run, "said=$3; read_hq || echo none", said) == ["none"]


@pytest.mark.parametrize(
    ("tres", "nodes", "memory_mib"),
    [
        ("cpu=8,mem=4G,node=1,billing=8", 1, 4096),
        ("cpu=8,mem=62.50G,node=2", 2, 32000),
        ("cpu=8,mem=1500M,node=1,gres/gpu=2", 1, 1500),
        ("cpu=2,mem=2T,node=4", 4, 524288),
        ("cpu=8,node=1", 1, 0),
    ],
)
@pytest.mark.parametrize("key", ["TRES", "ReqTRES=cpu=1,mem=1M AllocTRES"])
def test_an_allocation_is_what_its_record_says(
    run: Run, standin_slurm: StandinSlurm, tres: str, nodes: int, memory_mib: int, key: str
) -> None:
    when = "StartTime=2026-01-01T00:00:00 EndTime=2026-01-01T01:30:00"
    record = f"JobId=7 {when} NumNodes={nodes} {key}={tres} Command=/a b*"
    (standin_slurm.root / "record").write_text(record)
    script = 'read_allocation 7 "$run/stderr" && echo "$nodes $memory_mib $minutes"'
    assert in_submitter(run, script) == [f"{nodes} {memory_mib} 90"]
    (standin_slurm.root / "record").write_text("JobId=7 StartTime=Unknown EndTime=Unknown NumNodes=1")
    assert in_submitter(run, script) == ["1 0 "]


def test_a_key_to_the_server_reaches_no_job(run: Run) -> None:
    (run.spool / "logs").mkdir(parents=True)
    script = run.path / "script"
    script.write_text('env; echo "$@"')
    words = [str(SBATCH / "hq_job.sh"), str(run.path), NAME, "hq-4711-", "3", str(script), ATTEMPT]
    told = {
        "HQ_JOB_ID": "17",
        "HQ_TASK_ID": "0",
        "HQ_INSTANCE_ID": "2",
        "HQ_ACCESS_KEY": "secret",
        "HQ": "/hq",
    }
    subprocess.run(["bash", *words], env=run.env | told, check=True)
    said = (run.spool / "logs" / f"{NAME}.log").read_text().splitlines()
    assert said[-1] == f"{run.path} {ATTEMPT}"
    assert {"SLURM_JOB_ID=hq-4711-17", f"SLURM_JOB_NAME={NAME}", "SLURM_RESTART_COUNT=5"} <= set(said)
    assert not [line for line in said if line.startswith("HQ") or "secret" in line]


def test_outside_of_an_allocation_or_without_hq_it_is_said_what_to_do(run: Run) -> None:
    done = run.once(MLIPILOT_ENGINE="hq", SLURM_JOB_ID="7")
    assert done.returncode == 2
    assert f"serves from within its allocation: sbatch sbatch/hyperqueue.sbatch {run.path}" in done.stderr
    for env, said in (
        ({"MLIPILOT_ENGINE": "pbs"}, "MLIPILOT_ENGINE='pbs' is no engine: set it to slurm or hq"),
        ({"MLIPILOT_ENGINE": "hq"}, "this is no Slurm job: sbatch sbatch/hyperqueue.sbatch"),
        ({"MLIPILOT_ENGINE": "hq", "SLURM_JOB_ID": "7"}, "'hq' is not on the PATH"),
    ):
        service = run.serve(**env)
        assert service.wait(timeout=30) == 2
        assert said in run.log()


def test_a_run_that_leaves_hyperqueue_has_its_jobs_taken_away_from_it(run: Run) -> None:
    run.request()
    run.write("receipts", NAME, "status=submitted\njob_id=hq-4711-3\ntime=1\n")
    assert run.once().returncode == 0
    assert run.queue()[1] == {NAME: ["hq-4711-3", "REVOKED", "its allocation is not served any more", ""]}


@pytest.mark.parametrize(
    ("file", "node"), [("node=n7\n", "n7"), ("node=a|b\n", ""), ("node=\x1b[31m\n", ""), ("", "")]
)
def test_a_node_is_what_the_job_says_if_it_is_a_name(run: Run, file: str, node: str) -> None:
    run.write("started", f"{NAME}.0", file)
    script = f"hq_state[{NAME}]=RUNNING row_of[{NAME}]='{NAME}|hq-1-1|PENDING|x|'; fields=([node]=other)\n"
    assert in_submitter(run, script + f'nodes= why=; describe {NAME}; echo "<$nodes>"') == [f"<{node}>"]


def test_no_process_but_a_server_of_the_run_is_taken_for_one(run: Run) -> None:
    script = 'server_host=vm server_pid=$3; server_runs_here && echo ours || echo not; echo "$server"'
    mine = ["sleep", "60"]
    words = [f"--server-dir={run.path}/spool/hq-4711.2", "server", "start", "x"]
    for command, answer in ((mine, "not"), (["bash", "-c", "sleep 60; :", "hq", *words], "ours")):
        process = subprocess.Popen(command)
        try:
            assert in_submitter(run, script, str(process.pid))[0] == answer
        finally:
            process.kill()
            process.wait()
