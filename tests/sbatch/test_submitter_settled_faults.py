"""Nothing that was folded is lost or submitted again, whoever is killed or deletes what.

Slurm is a stand-in here.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from pathlib import Path

import pytest

from mlipilot.audit.settled import SettledRequests
from mlipilot.jobs.spool import Spool
from tests.sbatch.conftest import Run, StandinSlurm, job_name, read_fields
from tests.sbatch.settled import NAME, end, files_of, fold, let_time_pass, lines, seal
from tests.waiting import wait_until

KILLER = """\
set -T
killed_at() {
  [[ " ${FUNCNAME[*]} " == *" fold_settled "* && ${FUNCNAME[1]} != forget ]] || return 0
  ((++steps < KILL_AT)) || kill -9 $$
}
steps=0
trap killed_at DEBUG
"""


@pytest.mark.parametrize(
    ("first", "stride"),  # every eleventh line, by four workers side by side
    [*((first, 44) for first in (1, 12, 23, 34)), pytest.param(1, 1, marks=pytest.mark.sweep)],
)
def test_killed_at_any_line_of_it_nothing_is_lost_or_submitted_again(
    run: Run, standin_slurm: StandinSlurm, tmp_path: Path, first: int, stride: int
) -> None:
    (tmp_path / "killer").write_text(KILLER)
    seal(run)
    names = [run.request(job_name(number)) for number in (1, 2)]
    run.once()
    for name in names:
        end(run, standin_slurm, name)
    before = {path: path.read_bytes() for path in run.spool.rglob("*") if path.is_file()}
    before[run.path / ".spool"] = (run.path / ".spool").read_bytes()
    for step in itertools.count(first, stride):
        for path in [path for path in run.spool.rglob("*") if path.is_file()]:
            path.unlink()
        for path, text in before.items():
            path.write_bytes(text)
        let_time_pass(run)
        done = run.once(BASH_ENV=str(tmp_path / "killer"), KILL_AT=str(step))
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        spool = Spool(run.spool)
        assert all(spool.is_requested(name) and spool.receipt(name) for name in names), step
        again = run.once()
        assert again.returncode == 0 and len(standin_slurm.calls("sbatch")) == 2, (step, again.stdout)
        let_time_pass(run)
        run.once()
        assert sorted({line.split("\t")[0] for line in lines(run) if line.endswith("\tend")}) == names, step
        assert not any(files_of(run, name) for name in names), step
    assert step > 100, "so many lines there are"


def test_a_wish_to_cancel_that_comes_in_between_is_not_lost(
    run: Run, standin_slurm: StandinSlurm, tmp_path: Path
) -> None:
    hook = f"trap '[[ ${{FUNCNAME[0]-}} != append_settled ]] || : >spool/cancel/{NAME}' DEBUG\nset -T\n"
    (tmp_path / "hook").write_text(hook)
    seal(run)
    run.request()
    run.once()
    end(run, standin_slurm)
    run.once(BASH_ENV=str(tmp_path / "hook"))
    assert "\tcancelled=0\t" in lines(run)[0] and files_of(run) == ["cancel"]
    run.request()
    run.once()
    assert files_of(run) == ["cancel"] and Spool(run.spool).is_cancelled(NAME)


def test_a_torn_last_line_is_no_line_and_spoils_no_other(run: Run, standin_slurm: StandinSlurm) -> None:
    fold(run, standin_slurm)
    whole, second, third = lines(run)[0], job_name(2), job_name(3)
    (run.spool / "settled").write_text(f"{whole}\n{whole.replace(NAME, third)[:-9]}")
    assert not Spool(run.spool).is_requested(third)
    fold(run, standin_slurm, second)
    assert [line.split("\t")[0] for line in lines(run) if line.endswith("\tend")] == [NAME, second]
    assert all(map(Spool(run.spool).is_requested, (NAME, second)))
    run.request(third)
    run.once()
    assert run.receipt(third)["status"] == "submitted"


@pytest.mark.parametrize("how", ["deleted", "emptied", "cut", "the whole spool"])
def test_who_opens_a_run_whose_file_was_deleted_asks_slurm_first(
    run: Run, standin_slurm: StandinSlurm, how: str
) -> None:
    (run.attempt() / "slurm.json").touch()
    fold(run, standin_slurm)
    settled = run.spool / "settled"
    if how == "the whole spool":
        shutil.rmtree(run.spool)
    elif how == "deleted":
        settled.unlink()
    else:
        settled.write_text("" if how == "emptied" else settled.read_text()[:-100])
    run.request()
    done = run.once()
    assert "or not whole: Slurm is asked" in done.stdout
    assert len(standin_slurm.calls("sbatch")) == 1 and run.receipt()["job_id"] == "1"
    let_time_pass(run)
    run.once()
    assert files_of(run) == [] and Spool(run.spool).is_requested(NAME)
    assert "Slurm is asked" not in run.once().stdout, "only once"


@pytest.mark.parametrize("how", ["deleted", "emptied", "a folder", "a pipe"])
def test_who_serves_writes_it_again(run: Run, standin_slurm: StandinSlurm, how: str) -> None:
    fold(run, standin_slurm)
    before = lines(run)
    run.serve(MLIPILOT_POLL_S="1")
    wait_until(lambda: run.queue()[0]["poll"].endswith(".2"))
    settled = run.spool / "settled"
    if how == "emptied":
        settled.write_text("")
    else:
        settled.unlink()
    if how == "a folder":
        settled.mkdir()
    elif how == "a pipe":
        os.mkfifo(settled)
    SettledRequests(run.spool).names()  # whoever reads it meanwhile is not held up
    wait_until(lambda: settled.is_file() and lines(run) == before)
    run.request()
    run.request(other := job_name(2))
    wait_until(lambda: run.receipt(other))
    assert run.receipt() == {} and len(standin_slurm.calls("sbatch")) == 2


def test_no_file_goes_before_its_line_is_on_disk(
    run: Run, standin_slurm: StandinSlurm, tmp_path: Path
) -> None:
    seal(run)
    run.request()
    run.once()
    end(run, standin_slurm)
    (programs := tmp_path / "programs").mkdir()
    real = shutil.which("sync")
    (programs / "sync").write_text(
        f'#!/bin/sh\ncase "$*" in *spool/settled*) exit 1 ;; esac\nexec {real} "$@"\n'
    )
    (programs / "sync").chmod(0o755)
    before = files_of(run)
    done = run.once(PATH=f"{programs}:{run.env['PATH']}")
    assert f"cannot write {run.spool}/settled: see the filesystem's space and rights" in done.stdout
    assert files_of(run) == before != []
    run.once()
    assert files_of(run) == [] and {line.split("\t")[0] for line in lines(run)} - {""} == {NAME}


def test_nothing_in_it_or_in_a_request_becomes_more_than_text(
    run: Run, standin_slurm: StandinSlurm, tmp_path: Path
) -> None:
    (victim := tmp_path / "victim").write_text("mine\n")
    run.request(text=f"attempt=$(touch {tmp_path}/pwned)\tend\nx=`touch {tmp_path}/pwned`|\x1b[31m\n")
    run.cancel(NAME)
    run.write(".", "settled", "")
    (run.spool / "settled").unlink()
    (run.spool / "settled").symlink_to(victim)
    run.once()
    run.once()
    (line,) = lines(run)
    assert victim.read_text() == "mine\n" and not (run.spool / "settled").is_symlink()
    assert line.isascii() and line.count("\tend") == 1
    seal(run)
    run.request(other := job_name(4))
    run.once()
    standin_slurm.put_job(1, other, "COMPLETED", "x\tcancelled=1\ty", "n1\tend")
    run.once()
    let_time_pass(run)
    run.once()
    assert lines(run)[1].count("\tend") == 1 and not Spool(run.spool).is_cancelled(other)
    forged = [
        "mlp-$(touch pwned)",
        job_name(2)[:-1] + "`",
        "mlp-0123456789abcdef-a[$(touch pwned)]",
        "",
        "\tend",
    ]
    with (run.spool / "settled").open("a") as stream:
        stream.writelines(
            f"{name}\tstatus=submitted\tjob_id=a[$(touch {tmp_path}/pwned)]\tend\n" for name in forged
        )
    mark = (run.path / ".spool").read_text().splitlines()[0]
    told = f"a[$(touch {tmp_path}/pwned)]"
    (run.path / ".spool").write_text(f"{mark}\nremade={told}\nsettled={told}\n")
    run.request(job_name(3))
    assert run.once().stderr == ""
    assert run.receipt(job_name(3))["status"] == "submitted"
    assert not list(tmp_path.rglob("pwned"))


def test_a_copy_of_the_run_submits_nothing_of_it_again(
    run: Run, standin_slurm: StandinSlurm, tmp_path: Path
) -> None:
    fold(run, standin_slurm)
    shutil.copytree(run.path, tmp_path / "copy")
    copy = Run(tmp_path / "copy", run.env)
    copy.request()
    assert "Slurm is asked" not in copy.once().stdout
    assert copy.receipt() == {} and len(standin_slurm.calls("sbatch")) == 1


def test_a_run_of_the_format_before_is_gone_on_with(run: Run, standin_slurm: StandinSlurm) -> None:
    seal(run)
    run.request()
    run.once()
    mark = read_fields(run.path / ".spool")
    (run.path / ".spool").write_text(f"token={mark['token']}\nremade=0\n")
    end(run, standin_slurm)
    run.once()
    assert files_of(run) == [] and len(lines(run)) == 1
    assert int(read_fields(run.path / ".spool")["settled"]) == (run.spool / "settled").stat().st_size
