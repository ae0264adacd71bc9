"""Programs that are missing, hang, or print what no terminal should get."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from mlipilot.doctor.check import failed
from mlipilot.programs import ask, slurm_environment
from tests.conftest import StandIn
from tests.waiting import wait_until


def test_a_program_that_hangs_is_ended_with_all_it_started(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in("sinfo", f"sleep 600 & echo $! >{tmp_path}/child; wait")
    for timeout_s in (0.5, 4.5, 40.5):  # on a full machine it has not begun by the first
        answer = ask(["sinfo"], timeout_s=timeout_s)
        assert (answer.hung, answer.ok, answer.is_missing) == (True, False, False)
        assert answer.words == f"sinfo did not answer within {timeout_s} s"
        if (tmp_path / "child").is_file() and (child := (tmp_path / "child").read_text().strip()):
            break
    wait_until(lambda: _is_gone(child))  # it was killed; on a full machine it dies when it is its turn


def _is_gone(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_descendant_that_keeps_the_output_open_holds_nobody_up(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in("sinfo", f"setsid sleep 600 & echo $! >{tmp_path}/child; echo done")
    answer = ask(["sinfo"], timeout_s=60)
    child = (tmp_path / "child").read_text().strip()
    assert answer.ok and answer.stdout == "done\n"
    assert not _is_gone(child), "it was not waited for"
    os.kill(int(child), signal.SIGKILL)


def test_a_missing_program_is_named(no_programs: None) -> None:
    answer = ask(["sinfo"])
    assert answer.is_missing and answer.words == "sinfo is not on the PATH"


def test_silent_failures_have_words_too(stand_in: StandIn) -> None:
    stand_in("sinfo", "exit 3")
    assert ask(["sinfo"]).words == "sinfo ended with status 3 and said nothing"


def test_what_programs_print_reaches_the_terminal_on_one_clean_line() -> None:
    check = failed("x", "a\x1b[2J\x1b]0;title\x07b\u202e\r\nc", "mend\x1b[31m it\x00")
    assert (check.found, check.mend) == ("ab c", "mend it")


def test_a_jobs_own_settings_do_not_shape_the_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    of_slurm = ("SLURM_JOB_ID", "SBATCH_PARTITION", "SRUN_DEBUG", "SINFO_PARTITION", "SQUEUE_USERS")
    for name in (*of_slurm, "SLURM_CONF", "USER"):
        monkeypatch.setenv(name, "x")
    kept = slurm_environment()
    assert kept["SLURM_CONF"] == kept["USER"] == "x"
    assert not kept.keys() & set(of_slurm)
