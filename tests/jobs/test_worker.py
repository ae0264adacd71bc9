"""The worker on real processes: every way in which a job ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.audit.files import write_json
from mlipilot.audit.manifest import check_manifest, is_finished
from mlipilot.audit.process_identity import ProcessIdentity, identify
from mlipilot.jobs.attempt_claims import claimant
from mlipilot.jobs.job_files import JobOrder, JobResult, read_result
from mlipilot.jobs.local_backend import LocalBackend
from tests.jobs.conftest import submit, wait
from tests.waiting import wait_for_text, wait_until

MakeOrder = Callable[..., JobOrder]


def _finish(run: Path, order: JobOrder) -> JobResult:
    attempt = run / "attempt"
    submit(attempt, order)
    assert wait(attempt).phase == "sealed"
    assert check_manifest(attempt) == []
    return read_result(attempt)


def test_a_good_job_is_sealed_with_its_output_and_costs(run: Path, make_order: MakeOrder) -> None:
    code = "import time, pathlib; pathlib.Path('../attempt/output/x').write_text('y')\n"
    code += "t = time.process_time()\nwhile time.process_time() - t < 0.3: pass\nprint('done')"
    result = _finish(run, make_order(code))
    assert (result.outcome, result.exit_status, result.reason) == ("ok", 0, None)
    assert (result.cpu_s or 0) >= 0.3 and result.wall_s >= 0.3 and (result.peak_memory_mib or 0) > 1
    assert (run / "attempt" / "stdout.log").read_text() == "done\n"
    assert result.isolation.network == "host"


def test_a_failing_job_says_how(run: Path, make_order: MakeOrder) -> None:
    result = _finish(run, make_order("import sys; print('boom', file=sys.stderr); sys.exit(3)"))
    assert (result.outcome, result.exit_status) == ("failed", 3)
    assert "boom" in (run / "attempt" / "stderr.log").read_text()


def test_a_job_killed_by_a_signal_says_which(run: Path, make_order: MakeOrder) -> None:
    result = _finish(run, make_order("import os; os.kill(os.getpid(), 11)"))
    assert (result.outcome, result.exit_status, result.reason) == ("failed", -11, "ended by signal 11")


def test_a_command_that_is_not_there(run: Path, make_order: MakeOrder) -> None:
    order = make_order("").model_copy(update={"argv": ["/nowhere/python"]})
    result = _finish(run, order)
    assert result.outcome == "failed" and "could not be started" in (result.reason or "")


def test_the_time_limit_ends_the_whole_family(run: Path, make_order: MakeOrder) -> None:
    # A child in a session of its own and deaf to SIGTERM would outlive a kill of the process group.
    code = """
import os, signal, subprocess, sys, time
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""
    result = _finish(run, make_order(code, limit_s=3.0))
    assert result.outcome == "time_limit" and "limit of 3 s" in (result.reason or "")
    child = int((run / "attempt" / "stdout.log").read_text())
    wait_until(lambda: identify(child) is None)


def test_a_daemon_does_not_outlive_its_job(run: Path, make_order: MakeOrder) -> None:
    code = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(child.pid, flush=True)
"""
    assert _finish(run, make_order(code)).outcome == "ok"
    child = int((run / "attempt" / "stdout.log").read_text())
    wait_until(lambda: identify(child) is None)


def test_the_environment_holds_no_secret_and_one_thread(run: Path, make_order: MakeOrder) -> None:
    _finish(run, make_order("import os; print(dict(os.environ))"))
    seen = (run / "attempt" / "stdout.log").read_text()
    assert "sk-secret" not in seen and "OPENAI" not in seen and "PROXY" not in seen
    assert "'OMP_NUM_THREADS': '1'" in seen and str(run / "attempt" / "home") in seen


@pytest.mark.parametrize(
    ("target", "named"),
    [("../data/train.xyz", "run/data/train.xyz"), ("../scorecard.yaml", "run/scorecard.yaml")],
)
def test_a_change_of_a_protected_file_is_seen(
    run: Path, make_order: MakeOrder, target: str, named: str
) -> None:
    result = _finish(run, make_order(f"open({target!r}, 'a').write('!')"))
    assert result.outcome == "protected_changed"
    assert result.changed == [named] and named in (result.reason or "")


def test_a_change_of_the_own_recipe_is_seen(run: Path, make_order: MakeOrder) -> None:
    result = _finish(run, make_order("open('train.py', 'a').write('#')"))
    assert result.outcome == "protected_changed"


def test_nothing_runs_when_protected_files_differ_before(run: Path, make_order: MakeOrder) -> None:
    (run / "data" / "train.xyz").write_text("other labels")
    result = _finish(run, make_order("print('ran')"))
    assert result.outcome == "protected_changed" and result.cpu_s == 0
    assert not (run / "attempt" / "stdout.log").exists()


def test_what_cannot_be_sealed_is_dropped(run: Path, make_order: MakeOrder) -> None:
    code = "import os; os.chdir('../attempt/output'); os.symlink('/etc/passwd', 'l'); os.mkfifo('p')"
    assert _finish(run, make_order(code)).outcome == "ok"
    assert not (run / "attempt" / "output").exists()


def _workers_of(attempt: Path) -> list[str]:
    """The processes of this machine with that attempt on their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += [entry.parent.name] if os.fsencode(attempt) in entry.read_bytes().split(b"\0") else []
    return found


def test_of_two_workers_one_runs_the_job(run: Path, make_order: MakeOrder) -> None:
    order = make_order("open('../attempt/output/count', 'a').write('x')")
    for _ in range(4):
        submit(run / "attempt", order)
    assert wait(run / "attempt").phase == "sealed"
    wait_until(lambda: not _workers_of(run / "attempt"))  # those that came second
    assert (run / "attempt" / "output" / "count").read_text() == "x"


def test_cancel_ends_the_job_and_seals_what_there_is(run: Path, make_order: MakeOrder) -> None:
    submit(run / "attempt", make_order("import time; print('on', flush=True); time.sleep(60)"))
    log = run / "attempt" / "stdout.log"
    wait_for_text(log)
    LocalBackend().cancel(run / "attempt")
    assert LocalBackend().standing(run / "attempt").phase == "sealed"
    assert read_result(run / "attempt").outcome == "cancelled"


def test_a_slurm_job_that_was_taken_away_runs_again_under_its_number(
    run: Path, make_order: MakeOrder
) -> None:
    attempt = run / "attempt"
    attempt.mkdir()
    code = "import pathlib, time; gone = pathlib.Path('../gone')\n"
    code += "if not gone.exists(): gone.touch(); time.sleep(60)"
    write_json(attempt / "job.json", make_order(code).model_dump())
    write_json(attempt / "slurm.json", {"name": "mlp-0123456789abcdef-x"})
    argv = [sys.executable, "-m", "mlipilot.jobs.worker", str(attempt)]
    slurm = {"SLURM_JOB_ID": "42", "SLURMD_NODENAME": "n1"}
    first = subprocess.Popen(argv, env=os.environ | slurm, stderr=subprocess.PIPE)
    wait_until((run / "gone").exists)
    first.terminate()
    assert b"ended from outside" in first.communicate()[1]
    assert first.returncode == 1 and not is_finished(attempt)
    subprocess.run(argv, env=os.environ | slurm | {"SLURM_RESTART_COUNT": "1"}, check=True)
    result = read_result(attempt)
    assert (result.outcome, result.job_id, result.isolation.backend) == ("ok", "42", "slurm")


def test_a_killed_worker_is_lost_and_takes_its_job_along(run: Path, make_order: MakeOrder) -> None:
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    backend = submit(run / "attempt", make_order(code))
    log = run / "attempt" / "stdout.log"
    wait_for_text(log)
    worker = claimant(run / "attempt")
    assert isinstance(worker, ProcessIdentity)
    os.kill(worker.pid, signal.SIGKILL)
    assert wait(run / "attempt").outcome == "lost"
    assert backend.standing(run / "attempt").outcome == "lost"
    wait_until(lambda: identify(int(log.read_text())) is None)


def test_what_follows_a_killed_worker_goes_on_from_its_checkpoint(run: Path, make_order: MakeOrder) -> None:
    code = """
import os, pathlib, sys, time
place = pathlib.Path(os.environ["MLIPILOT_CHECKPOINT"])
if place.exists():
    print("goes on from", (place / "state").read_text()); sys.exit()
time.sleep(1.0); place.mkdir(); (place / "state").write_text("step 7"); time.sleep(60)
"""
    first, second = (run / "train" / f"attempt-{number}" for number in (1, 2))
    told = {"MLIPILOT_CHECKPOINT": str(first / "output/checkpoint")}
    order = make_order(code)
    submit(first, order.model_copy(update={"environment": order.environment | told}))
    wait_for_text(first / "output/checkpoint/state")
    worker = claimant(first)
    assert isinstance(worker, ProcessIdentity)
    os.kill(worker.pid, signal.SIGKILL)
    assert wait(first).outcome == "lost"
    told = {"MLIPILOT_CHECKPOINT": str(second / "output/checkpoint")}
    submit(second, order.model_copy(update={"environment": order.environment | told}))
    assert wait(second).phase == "sealed" and check_manifest(second) == []
    assert (second / "stdout.log").read_text() == "goes on from step 7\n"
    assert read_result(second).wall_s >= 1.0 and not (second / "output").exists()


def test_a_controller_can_hide_its_environment_from_other_processes_of_its_user() -> None:
    # PR_GET_DUMPABLE is 3; 0 means that /proc/PID/environ belongs to root.
    code = "import ctypes; from mlipilot.jobs.processes import hide_from_same_user as hide; hide(); "
    code += "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "0\n"
