"""`sbatch/job.sh` from a command's end to its seal: nothing on that way costs what the command has done."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.audit.manifest import check_manifest, is_finished
from mlipilot.jobs.job_files import read_result
from tests.jobs.test_job_sh import ATTEMPT, Node, node
from tests.sbatch.conftest import REPOSITORY
from tests.waiting import wait_until

__all__ = ["node"]  # the fixture

# A training: what it learns is lost with its output, how often it ran is not.
TRAINING = """
import pathlib, sys, time
attempt = pathlib.Path(sys.argv[1])
with (attempt.parent / "trainings").open("a") as counted:
    counted.write("x")
(attempt / "output" / "weights").write_text("learnt")
"""
BUSY = """
t = time.process_time()
while time.process_time() - t < 0.3: pass
"""
# Counts the commands of job.sh from the end of the attempt's own on, and kills it at one. With KILL_AT=0 it
# writes them down, each with a checksum of the run's files before it.
KILLER = """
set -T
count_down() {
  [[ $BASHPID == $$ && $0 == */job.sh ]] || return 0
  [[ $1 == 'note_end '* || -n ${counting:-} ]] || return 0
  counting=$((${counting:-0} + 1))
  [[ $counting != "$KILL_AT" ]] || kill -KILL $$
  [[ $KILL_AT == 0 ]] || return 0
  printf '%s\\t%s\\n' "$(find "$run" -type f -exec cksum {} + | cksum)" "$1" >>"$STEPS"
}
trap 'count_down "$BASH_COMMAND"' DEBUG
"""
# The toolkit's own last phase, killed between the result and its manifest.
DYING_SEAL = """
import os, runpy, signal, sys
from mlipilot.jobs import sealing
sealing.manifest_text = lambda _: os.kill(os.getpid(), signal.SIGKILL)
sys.argv[:3] = [sys.argv[0]]
runpy.run_module("mlipilot.jobs.phases", run_name="__main__")
"""


@pytest.fixture
def here(run: Path, tmp_path: Path, node: Callable[..., Node]) -> Node:
    """A node that trains, and has no patience."""
    attempt = run / ATTEMPT
    code = tmp_path / "training.py"
    code.write_text(TRAINING)
    made = node("", argv=[sys.executable, str(code), str(attempt)])
    made.program("sleep", "exit 0")
    return made


def _trainings(here: Node) -> int:
    counted = here.attempt.parent / "trainings"
    return len(counted.read_text()) if counted.exists() else 0


def _assert_kept(here: Node) -> None:
    assert _trainings(here) == 1
    assert check_manifest(here.attempt) == []
    result = read_result(here.attempt)
    assert (result.outcome, result.exit_status, result.changed) == ("ok", 0, [])
    assert (here.attempt / "output" / "weights").read_text() == "learnt"


def _failing(program: str, arguments: str, times: int, status: int = 1) -> str:
    """A script that fails so many times when its arguments are like that, then is the program."""
    return f"""
if [[ "$*" == *"{arguments}"* && $(cat "$0.failed" 2>/dev/null | wc -c) -lt {times} ]]; then
  printf x >>"$0.failed"
  exit {status}
fi
exec {program} "$@" """


def test_a_node_without_a_temporary_directory_costs_nothing(here: Node, tmp_path: Path) -> None:
    (tmp_path / "training.py").write_text(TRAINING + BUSY)
    status, said = here.work(TMPDIR="/nowhere/at/all")
    assert status == 0, said
    _assert_kept(here)
    assert 0.25 <= (read_result(here.attempt).cpu_s or 0) < 20


@pytest.mark.parametrize("status", [1, 137, 255])
def test_a_seal_that_fails_for_a_moment_is_made_after_that(here: Node, status: int) -> None:
    here.python(_failing(sys.executable, "phases end", 3, status))
    done, said = here.work()
    assert done == 0, said
    _assert_kept(here)
    assert read_result(here.attempt).sealed_by is None


def test_a_container_that_does_not_start_once_costs_no_attempt(here: Node) -> None:
    here.python(_failing(sys.executable, "phases begin", 2, 255))
    assert here.work()[0] == 0
    _assert_kept(here)


def test_a_seal_that_fails_for_long_is_left_to_the_next_start(here: Node) -> None:
    here.python(_failing(sys.executable, "phases end", 10**6))
    status, said = here.work()
    assert status == 1 and "whoever finds it next" in said.splitlines()[-1]
    assert (here.standin / "bin" / "python.failed").stat().st_size == 10
    assert here.work(SLURM_RESTART_COUNT="1", SLURMD_NODENAME="n2")[0] == 0
    _assert_kept(here)
    assert read_result(here.attempt).sealed_by == "job 42 (start 1) on n2"


def test_the_note_of_an_end_is_written_with_patience(here: Node) -> None:
    here.program("sync", _failing("/usr/bin/env sync", "ended.json", 2).replace("exec /usr/bin/env", ":"))
    here.python(_failing(sys.executable, "phases end", 10**6))
    assert here.work()[0] == 1
    assert json.loads((here.attempt / "ended.json").read_text())["exit_status"] == 0
    assert [path.name for path in here.attempt.glob("ended.json.*")] == []


def test_without_the_note_the_seal_is_made_all_the_same(here: Node) -> None:
    here.program("sync", "exit 1")
    assert here.work()[0] == 0
    _assert_kept(here)
    assert not (here.attempt / "ended.json").exists()


def test_the_note_of_a_start_that_was_given_up_spoils_nothing(here: Node) -> None:
    """Its node was held for lost, and the job runs again elsewhere when its command ends."""
    other = {"job_id": "42", "restart": 1, "node": "n2", "name": "mlp-x"}
    words = f"pathlib.Path({str(here.attempt / 'worker.json')!r}).write_text({json.dumps(other)!r})"
    order = json.loads((here.attempt / "job.json").read_text())
    order["argv"] = [sys.executable, "-c", f"import pathlib; {words}"]
    (here.attempt / "job.json").write_text(json.dumps(order))
    assert here.work()[0] == 1
    assert not (here.attempt / "ended.json").exists() and not is_finished(here.attempt)


def test_a_signal_after_the_end_undoes_nothing(here: Node) -> None:
    """A limit of the job, a preemption: the training is whole, and nobody wished for less."""
    for program in ("sync", "rm", "mv"):  # whatever it does then
        strike = '[[ "$*" != *ended.json* && "$*" != *mlipilot-times* ]] || kill -USR2 $PPID'
        here.program(program, f'{strike}; PATH=${{PATH#*:}} exec {program} "$@"')
    status, said = here.work()
    assert status == 0, said
    _assert_kept(here)


def test_what_ends_a_job_may_reach_its_command_first(node: Callable[..., Node]) -> None:
    """A command that fails because its job is being ended did not fail by itself, and runs again."""
    late = "import os, subprocess, sys; job = os.getsid(0); "
    late += "subprocess.Popen(['bash', '-c', f'sleep 0.5; kill -USR2 {job}']); sys.exit(1)"
    struck = node(late)
    status, said = struck.work()
    assert status == 1 and "ended from outside" in said
    assert not is_finished(struck.attempt)
    assert json.loads((struck.attempt / "ended.json").read_text())["cancelled"] is True


def test_where_a_result_could_not_be_kept_nothing_begins(here: Node) -> None:
    order = json.loads((here.attempt / "job.json").read_text())
    (here.attempt / "job.json").write_text(json.dumps(order | {"min_free_mib": 10**9}))
    status, said = here.work()
    assert status == 1, said
    assert "not storable: " in said.splitlines()[-1] and "jobs.min_free_mib" in said.splitlines()[-1]
    assert not (here.attempt / "worker.json").exists()


def test_room_that_comes_back_is_waited_for(here: Node) -> None:
    order = here.attempt / "job.json"
    enough = order.read_text()
    order.write_text(json.dumps(json.loads(enough) | {"min_free_mib": 10**9}))
    (here.standin / "enough.json").write_text(enough)
    here.program("sleep", f"cp {here.standin}/enough.json '{order}'")
    assert here.work()[0] == 0
    _assert_kept(here)


def test_logs_that_cannot_be_written_are_no_failure_of_the_candidate(here: Node) -> None:
    (here.attempt / "stdout.log").mkdir()
    status, said = here.work()
    assert status == 1 and "not storable" in said.splitlines()[-1]
    assert _trainings(here) == 0 and not is_finished(here.attempt)


@pytest.mark.parametrize(
    "every", ["change of the files", pytest.param("command", marks=[pytest.mark.slow, pytest.mark.sweep])]
)
def test_killed_anywhere_after_the_end_was_noted_it_was_trained_once(
    here: Node, tmp_path: Path, every: str
) -> None:
    """A command of job.sh from the note on is the last of a start, and the next finds what that left."""
    (tmp_path / "killer").write_text(KILLER)
    steps = tmp_path / "steps"
    told = {"BASH_ENV": str(tmp_path / "killer"), "STEPS": str(steps)}
    pristine = {path.name: path.read_bytes() for path in here.attempt.iterdir()}
    assert here.work(**told, KILL_AT="0")[0] == 0
    files, commands = zip(*(line.split("\t", 1) for line in steps.read_text().splitlines()), strict=True)
    noted = next(n for n, command in enumerate(commands, 1) if command.startswith("mv "))
    kills = list(range(noted + 1, len(commands) + 1))
    if every == "change of the files":
        kills = [n for n in kills if n == noted + 1 or files[n - 1] != files[n - 2]]
    assert len(kills) >= 3, commands
    for kill_at in kills:
        subprocess.run(["rm", "-rf", here.attempt, here.attempt.parent / "trainings"], check=True)
        here.attempt.mkdir()
        for name, text in pristine.items():
            (here.attempt / name).write_bytes(text)
        status, said = here.work(**told, KILL_AT=str(kill_at))
        assert status == -signal.SIGKILL, said
        assert here.work(SLURM_RESTART_COUNT="1", SLURMD_NODENAME="n2")[0] == 0
        _assert_kept(here)


def test_killed_in_the_middle_of_the_seal_it_was_trained_once(here: Node) -> None:
    """Between the result and its manifest, say: the toolkit dies, and with it the whole job."""
    die = here.standin / "die.py"
    die.write_text(DYING_SEAL)
    here.python(
        f'if [[ "$*" == *"phases end"* ]]; then {sys.executable} {die} "$@"; kill -KILL $PPID; exit; fi\n'
        f'exec {sys.executable} "$@"'
    )
    assert here.work()[0] == -signal.SIGKILL
    assert (here.attempt / "result.json").exists() and not is_finished(here.attempt)
    here.python(f'exec {sys.executable} "$@"')
    assert here.work(SLURM_RESTART_COUNT="1")[0] == 0
    _assert_kept(here)


@pytest.mark.parametrize("stat", ["", "1 (bash) S 1", "1 (a b) c) S " + "x " * 40])
def test_a_cpu_time_that_cannot_be_read_is_unknown_and_fatal_to_nobody(stat: str, tmp_path: Path) -> None:
    text = (REPOSITORY / "sbatch" / "job.sh").read_text()
    (tmp_path / "stat").write_text(stat and stat + "\n")
    function = text[text.index("cpu_ms() {") : text.index("seconds() {")].replace(
        "/proc/$BASHPID/stat", str(tmp_path / "stat")
    )
    script = f'set -uo pipefail; ticks_s=100\n{function}\ncpu_ms; echo "<$spent_ms>"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("<>\n", "")


def test_a_fused_job_goes_on_where_the_first_half_could_not_be_sealed(here: Node) -> None:
    """The second half seals it."""
    evaluation = here.attempt.parent.parent / "evaluate" / "attempt-1"
    evaluation.mkdir(parents=True)
    order = json.loads((here.attempt / "job.json").read_text())
    order |= {"needs": str(here.attempt), "argv": [sys.executable, "-c", "print('measured')"]}
    (evaluation / "job.json").write_text(json.dumps(order))
    (evaluation / "slurm.json").write_text('{"name": "mlp-x"}')
    here.python(_failing(sys.executable, f"phases end {here.attempt}", 10**6))
    here.attempts.append(str(evaluation.relative_to(here.run)))
    status, said = here.work()
    assert status == 1, said
    _assert_kept(here)
    assert is_finished(evaluation) and (evaluation / "stdout.log").read_text() == "measured\n"


def test_a_signal_while_it_waits_for_room_ends_the_waiting(here: Node) -> None:
    (here.standin / "bin" / "sleep").unlink()
    here.python(_failing(sys.executable, "phases end", 10**6))
    job = here.start()
    wait_until((here.standin / "bin" / "python.failed").exists)
    job.send_signal(signal.SIGUSR2)
    job.communicate(timeout=60)
    assert job.returncode == 1
    assert (here.attempt / "ended.json").exists()
