"""The README's cluster section on a real Slurm, typed by an ordinary user, in a real image.

Its first lines, a clone, a wheelhouse and an image, are typed by `image.py` before the tests begin.
"""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlipilot.jobs.job_files import read_result
from mlipilot.paths import RunPaths
from tests.documents.blocks import block
from tests.documents.conftest import clone, shorten
from tests.documents.user import Shell, User
from tests.end_to_end.cluster import IMAGE, needs_image, needs_slurm

pytestmark = [pytest.mark.slow, needs_slurm, needs_image]


@pytest.fixture
def checkout(user: User, desk: Path) -> Iterator[Path]:
    """A clone as it is after the README's first lines: with the image that they made."""
    root = clone_with_image(user, desk, f"cluster-{secrets.token_hex(4)}")
    yield root
    end_jobs(root)


def clone_with_image(user: User, desk: Path, name: str) -> Path:
    """A new clone in `desk`, with a copy of the image and of what `build.sh` wrote beside it."""
    assert IMAGE is not None
    with Shell(user, desk) as shell:
        clone(shell, desk, name)
        shell.type(f"cp {IMAGE} {IMAGE.with_name('images.lock')} containers")
    return desk / name


def end_jobs(root: Path) -> None:
    """Have Slurm end what was submitted from below `root`, and nothing else."""

    def left() -> list[str]:
        listed = subprocess.run(["squeue", "-h", "-o", "%A %Z"], capture_output=True, text=True, check=True)
        rows = [line.split(" ", 1) for line in listed.stdout.splitlines()]
        return [number for number, folder in rows if Path(folder).is_relative_to(root)]

    while numbers := left():
        subprocess.run(["scancel", "--quiet", *numbers], check=False)
        time.sleep(1)


def await_jobs(shell: Shell, what: Callable[[str], bool], seconds: float = 900) -> str:
    """What `mlipilot status` says once `what` is true of it."""
    deadline = time.monotonic() + seconds
    while not what(said := shell.type("mlipilot status runs/cu_emt")):
        assert time.monotonic() < deadline, said + shell.type("squeue; tail -n 40 *.log")
        time.sleep(5)
    return said


def is_judged(run: RunPaths) -> bool:
    """Whether the baseline has its verdict; each job until then ran in a container."""
    for result in run.root.glob("lineage-0/iterations/*/seed-*/*/attempt-1/result.json"):
        isolation = read_result(result.parent).isolation
        assert (isolation.backend, isolation.filesystem) == ("slurm", "container")
        assert isolation.measured and isolation.network == "none" and isolation.leaks == []
    return (run.lineage(0).iteration(0) / "verdict.json").exists()


def test_a_campaign_as_the_readme_has_it(user: User, checkout: Path) -> None:
    """As it is shipped, until its baseline is judged; `test_whole.py` goes on to the end."""
    commands = block("README.md", "git clone")
    run = RunPaths(checkout / "runs" / "cu_emt")
    for made_before in ("git clone", "containers/build.sh wheelhouse", "containers/build.sh image"):
        commands.take(made_before)
    with Shell(user, checkout) as shell:
        assert "Submitted batch job" in shell.type(commands.take("sbatch campaigns/cu_emt.sbatch"))
        shell.type(commands.take("export PATH="))
        deadline = time.monotonic() + 120
        while not run.lineage(0).ledger.exists():  # the data set is built first
            assert time.monotonic() < deadline, shell.type("squeue; cat mlipilot-cu_emt-*.log")
            time.sleep(1)
        assert "cu_emt" in shell.type(commands.take("mlipilot status runs/cu_emt"))
        await_jobs(shell, lambda _: is_judged(run))
        # "and show, report, verify, cancel, doctor, reproduce"
        assert "force MAE" in shell.type("mlipilot show runs/cu_emt 0")
        shell.type("mlipilot cancel runs/cu_emt", seconds=200)
        assert "report.html" in shell.type("mlipilot report runs/cu_emt")
        assert "every verdict recomputed" in shell.type("mlipilot verify runs/cu_emt")
        found = shell.type("mlipilot doctor campaigns/cu_emt.yaml --set jobs.backend=slurm")
        assert "ok    slurm: " in found and "ok    submit: " in found and "ok    isolation: " in found
        assert "job" in shell.type("cat mlipilot-cu_emt-*.log")
    commands.end()


def test_where_only_a_login_node_may_submit(user: User, checkout: Path) -> None:
    """With a short campaign; cron's part is played with cron's environment and shell."""
    crontab = block("README.md", "* * * * *")
    line = crontab.take("* * * * * ").removeprefix("* * * * * ").replace("/path/of/mlipilot", str(checkout))
    crontab.end()
    shorten(user, checkout)
    with Shell(user, checkout) as shell:
        shell.type("sed -i 's/MLIPILOT_SUBMIT:-}/MLIPILOT_SUBMIT:-login}/' campaigns/cu_emt.sbatch")
        shell.type("sbatch campaigns/cu_emt.sbatch")
        shell.type(block("README.md", "git clone").lines[-2])
        run = RunPaths(checkout / "runs" / "cu_emt")

        def cron_has_done_it(_: str) -> bool:
            path = user.environment()["PATH"]
            cron = {"HOME": str(user.home), "LOGNAME": user.name, "SHELL": "/bin/sh", "PATH": path}
            words = user.command("/bin/sh", "-c", line)
            subprocess.run(words, env=cron, cwd=user.home, check=True, timeout=120)
            return is_judged(run)

        deadline = time.monotonic() + 120
        while not run.lineage(0).ledger.exists():  # the data set is built first
            assert time.monotonic() < deadline, shell.type("squeue; cat mlipilot-cu_emt-*.log")
            time.sleep(1)
        await_jobs(shell, cron_has_done_it)
        assert "submitted as job" in shell.type("cat submitter.log")
        shell.begin("mlipilot cancel runs/cu_emt")
        while shell.is_busy():
            cron_has_done_it("")
        shell.end()
