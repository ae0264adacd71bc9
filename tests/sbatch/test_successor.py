"""What takes over from a controller: the user's own job again, once, and none where none is wanted."""

from __future__ import annotations

import os
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.events import event
from tests.sbatch.checkout import Checkout, as_ledger
from tests.sbatch.conftest import StandinSlurm, read_fields
from tests.waiting import wait_until

RECORD = """\
JobId=18 ArrayJobId=17 ArrayTaskId=0 ArrayTaskThrottle=1 JobName=my own  job
   UserId=ada(1000) GroupId=ada(1000) MCS_label=N/A
   Priority=1 Nice=5 Account=projA QOS=long WCKey=*alpha
   JobState=RUNNING Reason=None Dependency=(null)
   Requeue=0 Restarts=0 BatchFlag=1 Reboot=0 ExitCode=0:0
   RunTime=00:00:01 TimeLimit=2-00:00:00 TimeMin=N/A
   Partition=long AllocNode:Sid=login1:1
   ReqNodeList=n[1-4] ExcNodeList=n2
   NumNodes=1 NumCPUs=2 NumTasks=1 CPUs/Task=2 ReqB:S:C:T=0:0:*:*
   MinCPUsNode=2 MinMemoryCPU=3G MinTmpDiskNode=10M
   Features=ib&a100 DelayBoot=00:00:00
   Reservation=school
   OverSubscribe=NO Contiguous=0 Licenses=vasp:1 Network=(null)
   Command={script} one two
   WorkDir={root}
   Comment=of the group = A b\x20
   StdErr={root}/100% logs/e-17_0.err
   StdIn=/dev/null
   StdOut={root}/100% logs/o-17_0.log
   TresPerNode=gres:gpu:1
   MailUser=ada@example.org MailType=END,FAIL
"""


@pytest.fixture
def site(tmp_path: Path, standin_slurm: StandinSlurm) -> Checkout:
    return Checkout(tmp_path / "site", standin_slurm)


def record(site: Checkout, text: str = RECORD) -> None:
    script = site.root / "mine.sbatch"
    (site.slurm.root / "record").write_text(text.format(root=site.root, script=script))


def says(site: Checkout, kind: str, **body: object) -> None:
    """The one record of the ledger, by the controller that is to come."""
    script = f"mkdir -p {site.lineage} && cat >{site.lineage}/ledger.jsonl <<'END'\n"
    site.write_program("mlipilot", f"{script}{as_ledger(event(kind, body))}END\nexit ${{STATUS:-0}}")


# A controller that has work until the successor has its receipt.
UNTIL_QUEUED = "until grep -qs job_id= ../runs/tiny/spool/successors/*; do sleep 0.1; done"


def receipts(site: Checkout) -> list[str]:
    return sorted(path.name for path in (site.run / "spool" / "successors").glob("*"))


def test_it_has_the_options_of_the_job_that_runs(site: Checkout) -> None:
    record(site)
    assert site.start().returncode == 0
    (call,) = site.slurm.calls("sbatch")
    assert call == [
        *("--parsable", "--job-name=my own  job", "--open-mode=append", "--account=projA", "--qos=long"),
        *("--partition=long", "--reservation=school", "--wckey=alpha", "--time=2-00:00:00"),
        *("--constraint=ib&a100", "--licenses=vasp:1", "--nodelist=n[1-4]", "--exclude=n2", "--nice=5"),
        *("--comment=of the group = A b", "--mail-user=ada@example.org", "--mail-type=END,FAIL"),
        *(f"--chdir={site.root}", "--cpus-per-task=2", "--mem-per-cpu=3G", "--tmp=10M", "--gres=gpu:1"),
        *("--exclusive", "--no-requeue", f"--output={site.root}/100%% logs/o-%A_%a.log"),
        *(f"--error={site.root}/100%% logs/e-%A_%a.err", "--array=0", "--dependency=afterany:17_0"),
        *("tiny.sbatch",),
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("TresPerTask=cpu=1", []),
        ("TresPerTask=cpu=7,gres/gpu=1 NumTasks=2", ["--gpus-per-task=1", "--ntasks=2"]),
        ("TresPerNode=gres/gpu:a100:2", ["--gres=gpu:a100:2"]),
        ("TresPerJob=gres:gpu:4", ["--gpus=4"]),
        ("MemPerTres=gres:gpu:4096", ["--mem-per-gpu=4096"]),
        ("MinMemoryNode=0 NumNodes=2", ["--mem=0", "--nodes=2"]),
        ("NumNodes=1 NumTasks=1 CPUs/Task=N/A", []),
    ],
)
def test_what_newer_and_older_slurms_say_of_resources(site: Checkout, line: str, words: list[str]) -> None:
    record(site, f"JobId=18 JobName=x\n   {line}\n")
    site.start()
    fixed = {"--parsable", "--job-name=x", "--open-mode=append", "--array=0", "tiny.sbatch"}
    (call,) = site.slurm.calls("sbatch")
    assert [word for word in call if word not in fixed and "--dependency" not in word] == words


def test_the_jobs_of_a_lineage_are_charged_as_its_controller(site: Checkout) -> None:
    record(site)
    site.submitter = 'cp "$1/spool/account" "$1/served"\n'
    site.start()
    assert (site.run / "served").read_text() == "projA\n"


def test_it_is_the_users_own_file_with_its_arguments_while_that_is_what_runs(site: Checkout) -> None:
    record(site)
    for name in ("tiny.sbatch", "mine.sbatch"):
        (site.root / name).write_text("#!/bin/bash\n: the same\n")
    site.start()
    assert site.slurm.calls("sbatch")[0][-3:] == [str(site.root / "mine.sbatch"), "one", "two"]
    assert site.slurm.environment("sbatch")["MLIPILOT_CAMPAIGN_FILE"] == "mine.sbatch"
    (site.root / "mine.sbatch").write_text("#!/bin/bash\n: edited meanwhile\n")
    site.start()
    assert site.slurm.calls("sbatch")[1][-3:] == ["tiny.sbatch", "one", "two"]  # as Slurm has it


def test_where_arrays_are_not_to_be_had_it_is_none(site: Checkout) -> None:
    alone = {"SLURM_ARRAY_JOB_ID": "", "SLURM_ARRAY_TASK_ID": "", "MLIPILOT_LINEAGE": "3"}
    site.slurm.put_job("18", "mlipilot", "RUNNING")
    done = site.start(**alone)
    assert done.returncode == 0, done.stdout
    (call,) = site.slurm.calls("sbatch")
    assert "--dependency=afterany:18" in call and not [word for word in call if "--array" in word]
    assert site.words()[site.words().index("--lineage") + 1] == "3"


def test_a_requeued_controller_has_the_successor_that_it_had(site: Checkout) -> None:
    site.write_program("mlipilot", "exit 137")
    site.start()
    done = site.start(SLURM_RESTART_COUNT="1")
    assert "job 1 takes over if this one ends early" in done.stdout
    assert len(site.slurm.calls("sbatch")) == 1 and receipts(site) == ["lineage-0.17_0"]


@pytest.mark.parametrize("left", ["the intent alone", "the receipt"])
def test_one_that_slurm_does_not_know_any_more_is_followed_by_another(site: Checkout, left: str) -> None:
    text = "time=1\n" if left == "the intent alone" else "job_id=9\nname=x\n"
    (site.run / "spool" / "successors").mkdir(parents=True)
    (site.run / "spool" / "successors" / "lineage-0.17_0").write_text(text)
    assert "job 1 takes over" in site.start().stdout
    assert len(site.slurm.calls("sbatch")) == 1


@pytest.mark.parametrize("mode", ["timeout_queued", "mute", "numbers", "audit"])
def test_one_that_was_queued_in_spite_of_the_answer_is_found(site: Checkout, mode: str) -> None:
    site.slurm.tell("sbatch", mode)
    site.write_program("mlipilot", UNTIL_QUEUED)
    done = site.start()
    assert "in doubt: " in done.stdout and "job 1 takes over" in done.stdout
    assert len(site.slurm.calls("sbatch")) == 1
    assert site.slurm.calls("scancel") == [["--state=PENDING", "1"]]


@pytest.mark.parametrize("mode", ["noise", "cluster", "wrapped"])
def test_its_number_is_found_among_what_sbatch_prints(site: Checkout, mode: str) -> None:
    site.slurm.tell("sbatch", mode)
    site.start()
    assert site.slurm.calls("scancel") == [["--state=PENDING", "1"]]


def test_why_none_could_be_queued_is_told_in_full_and_tried_again(site: Checkout) -> None:
    site.slurm.tell("sbatch", "refused", "")
    site.write_program("mlipilot", UNTIL_QUEUED)
    said = site.start().stdout
    assert "Batch job submission failed: Invalid partition name specified" in said
    assert "job 1 takes over if this one ends early" in said


def test_a_pause_that_mends_by_itself_keeps_it_for_later(site: Checkout) -> None:
    says(site, "paused", mends_by_itself=True, reason="the endpoint is down")
    done = site.start(STATUS="75")
    assert done.returncode == 75 and "job 1 goes on in 1 min" in done.stdout
    assert site.slurm.calls("scancel") == []
    assert site.slurm.calls("scontrol")[-1] == ["update", "jobid=1", "starttime=now+1minutes"]
    told = site.slurm.environment("sbatch")
    assert (told["MLIPILOT_LEDGER_RECORDS"], told["MLIPILOT_IDLE_GENERATIONS"]) == ("0", "0")
    kept = {name: told[name] for name in ("MLIPILOT_LEDGER_RECORDS", "MLIPILOT_IDLE_GENERATIONS")}
    later = site.start(STATUS="75", SLURM_ARRAY_JOB_ID="1", **kept | {"MLIPILOT_IDLE_GENERATIONS": "6"})
    assert "goes on in 60 min" in later.stdout, "pauses are no progress"


@pytest.mark.parametrize(
    "body", [{"mends_by_itself": False, "reason": "x"}, {"reason": '"mends_by_itself":true'}]
)
def test_a_pause_that_a_person_has_to_mend_ends_it(site: Checkout, body: dict[str, object]) -> None:
    says(site, "paused", **body)
    assert site.start(STATUS="75").returncode == 75
    assert site.slurm.calls("scancel") == [["--state=PENDING", "1"]] and receipts(site) == []


def test_a_controller_that_was_killed_is_followed(site: Checkout) -> None:
    site.write_program("mlipilot", "kill -9 $$")
    done = site.start()
    assert done.returncode == 137 and "job 1 goes on" in done.stdout
    assert site.slurm.calls("scancel") == []


def test_at_the_end_all_of_the_lineages_successors_are_cancelled_and_no_others(site: Checkout) -> None:
    folder = site.run / "spool" / "successors"
    folder.mkdir(parents=True)
    (folder / "lineage-0.15_0").write_text("job_id=16\nname=my job\n")
    (folder / "lineage-0.16_0").write_text("job_id=17\nname=my job\n")  # the job that runs now
    (folder / "lineage-1.15_1").write_text("job_id=19\nname=my job\n")
    site.slurm.put_job(16, "my job")
    assert site.start().returncode == 0
    ended = [["--state=PENDING", "--name=my job", "16"], ["--state=PENDING", "1"]]
    assert sorted(site.slurm.calls("scancel")) == sorted(ended)
    assert receipts(site) == ["lineage-1.15_1"]


def test_a_submitter_that_dies_is_started_again_with_growing_steps(site: Checkout) -> None:
    site.submitter = 'date +%s.%N >>"$1/served"; exit 3\n'
    served = site.run / "served"
    site.write_program("mlipilot", f'until [ "$(wc -l 2>/dev/null <{served})" -ge 4 ]; do sleep 0.1; done')
    said = site.start().stdout
    times = [float(line) for line in served.read_text().splitlines()]
    steps = [after - before for before, after in pairwise(times)]
    assert all(step >= least for step, least in zip(steps, (1, 1, 3), strict=False))
    for step_s in (1, 2, 4):
        assert f"the submitter ended with status 3; it starts again in {step_s} s" in said
    assert receipts(site) == []


def test_a_submitter_that_was_asked_to_stop_stays_so(site: Checkout) -> None:
    site.submitter = 'echo >>"$1/served"; mkdir -p "$1/spool"; touch "$1/spool/stop"\n'
    site.write_program("mlipilot", "sleep 4")
    assert "starts again" not in site.start().stdout
    assert (site.run / "served").read_text() == "\n"


def test_where_the_limit_of_jobs_has_no_place_for_both_it_gives_way(site: Checkout) -> None:
    site.submitter = 'echo >"$1/spool/full"; exec sleep 60\n'
    site.write_program("mlipilot", "exec sleep 60")
    campaign = site.begin()
    wait_until(lambda: site.slurm.calls("scancel"))
    assert (
        site.slurm.calls("scancel") == [["--state=PENDING", "1"]] and not (site.run / "spool/full").exists()
    )
    time.sleep(2.5)
    assert len(site.slurm.calls("sbatch")) == 1, "not before this job's time is nearly over"
    site.slurm.tell("sbatch", "max_submit")
    os.kill(campaign.pid, signal.SIGUSR2)
    said, _ = campaign.communicate(timeout=60)
    assert "gives way" in said and "this job itself goes back into the queue" in said
    assert site.slurm.calls("scontrol")[-1] == ["requeue", "17_0"]


def test_a_job_that_is_cancelled_does_not_come_back(site: Checkout) -> None:
    site.submitter = 'echo >"$1/spool/full"; exec sleep 60\n'
    site.write_program("mlipilot", "exec sleep 60")
    campaign = site.begin()
    wait_until(lambda: site.slurm.calls("scancel"))
    os.kill(campaign.pid, signal.SIGTERM)
    campaign.communicate(timeout=60)
    assert ["requeue", "17_0"] not in site.slurm.calls("scontrol")
    assert len(site.slurm.calls("sbatch")) == 1


def test_where_slurm_says_nothing_of_the_job_its_name_is_kept(site: Checkout) -> None:
    done = site.start(SLURM_JOB_NAME="mlipilot-tiny")
    assert "Slurm does not say with which options this job was submitted" in done.stdout
    assert "--job-name=mlipilot-tiny" in site.slurm.calls("sbatch")[0]


def test_the_receipt_names_job_and_name(site: Checkout) -> None:
    record(site)
    site.write_program("mlipilot", "kill -9 $$")
    site.start()
    assert read_fields(site.run / "spool/successors/lineage-0.17_0") == {"job_id": "1", "name": "my own  job"}


def test_a_submitter_that_hangs_at_the_end_is_not_waited_for(site: Checkout) -> None:
    site.submitter = 'echo $$ >"$1/served"; kill -STOP $$; sleep 600\n'
    site.write_program("mlipilot", "sleep 2")
    assert site.start().returncode == 0
    assert not Path(f"/proc/{(site.run / 'served').read_text().strip()}").exists()
