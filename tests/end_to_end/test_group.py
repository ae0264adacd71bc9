"""Two users of a group carry one run: alice begins it, bob goes on with it, ends it, reads it.

Once with `umask 002` and setgid, once with default ACLs and the usual umask; jobs are local processes.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import stat
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlipilot.audit.files import SECRET, write_json
from mlipilot.audit.process_identity import ProcessIdentity
from mlipilot.jobs.attempt_claims import claimant
from mlipilot.paths import JobKey, RunPaths
from tests.documents.user import User
from tests.end_to_end.cluster import needs_slurm
from tests.end_to_end.conftest import write_campaign
from tests.end_to_end.slurm_runs import state_of
from tests.events import event
from tests.pair import GROUP, Pair, needs_root, two_users
from tests.report.synthetic import SyntheticRun, make_spec
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("users of a group"), needs_root]

_NOBODY = 0xFFFFFFFF
_LONG = {"iterations": 0, "optimizer_steps": 100_000}
_SHORT = {"iterations": 0, "optimizer_steps": 8}


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with two_users() as found:
        yield found


def _shared(pair: Pair, name: str, *, by_acl: bool) -> Path:
    """A folder of the group's."""
    folder = pair.desk / name
    folder.mkdir()
    os.chown(folder, pair.alice.uid, pair.gid)
    folder.chmod(0o2775)
    if by_acl:  # owner, owner's group, the group by name, mask, others: read, write and enter, but for others
        entries = ((1, 7, _NOBODY), (4, 7, _NOBODY), (8, 7, pair.gid), (0x10, 7, _NOBODY), (0x20, 5, _NOBODY))
        acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
        for kind in ("access", "default"):
            try:
                os.setxattr(folder, f"system.posix_acl_{kind}", acl)
            except OSError:
                pytest.skip("this file system has no ACLs")
    return folder


def _place_data(pair: Pair, folder: Path, data: Path, budget: dict[str, int], umask: str) -> RunPaths:
    """A campaign in the group's folder, and its data set, which alice copied there."""
    campaign = folder / "campaign"
    campaign.mkdir(mode=0o755)
    write_campaign(campaign, seeds=[1], budget=budget)
    for path in (campaign, *campaign.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    copied = pair.desk / f"{folder.name}-data"
    shutil.copytree(data, copied)
    pair.own(pair.alice, copied, umask=0)
    pair.do(pair.alice, f"mkdir -p {folder}/runs/tiny && cp -r {copied} {folder}/runs/tiny/data", umask=umask)
    return RunPaths(folder / "runs" / "tiny")


def _begin(pair: Pair, user: User, folder: Path, umask: str) -> subprocess.Popen[bytes]:
    """`mlipilot run` of the campaign, whose process is the controller."""
    line = f'umask {umask}; exec "$0" -m mlipilot run campaign/tiny.yaml'
    python = pair.python
    return subprocess.Popen(
        user.command("bash", "-c", line, python),
        cwd=folder,
        env=pair.environment(user),
        stdout=(folder / "log").open("wb"),
        stderr=subprocess.STDOUT,
    )


def _training(run: RunPaths) -> Path:
    return run.lineage(0).iteration(0) / "seed-1" / "train" / "attempt-1"


@pytest.mark.parametrize(
    ("umask", "by_acl"),
    [("002", False), pytest.param("022", True, marks=pytest.mark.sweep)],
    ids=["umask", "ACL"],
)
def test_what_one_user_begins_another_ends(tiny_data: Path, pair: Pair, umask: str, by_acl: bool) -> None:
    folder = _shared(pair, f"run-{umask}", by_acl=by_acl)
    run = _place_data(pair, folder, tiny_data, _SHORT, umask)
    first = _begin(pair, pair.alice, folder, umask)
    try:
        wait_until(lambda: (_training(run) / "stdout.log").exists(), 120)
        first.send_signal(signal.SIGTERM)
        assert first.wait(60) == 130
    finally:
        first.kill()
    said = pair.do(pair.bob, f"mlipilot resume {run.root}", umask=umask, seconds=900)
    assert "report:" in said and state_of(run).finished
    owners = {path.stat(follow_symlinks=False).st_uid for path in run.root.rglob("*")}
    assert owners == {pair.alice.uid, pair.bob.uid}
    shut = [
        path
        for path in run.root.rglob("*")
        if not path.is_symlink() and not path.stat().st_mode & stat.S_IWGRP
    ]
    assert not shut, "each of these keeps the other user out"
    assert {path.stat(follow_symlinks=False).st_gid for path in run.root.rglob("*")} == {pair.gid}
    for line in ("status", "report", "verify", "cancel"):
        pair.do(pair.alice, f"mlipilot {line} {run.root}", umask=umask)
    pair.do(pair.bob, f"mlipilot verify {run.root}", umask=umask)


def test_a_controller_heeds_another_users_wish_to_cancel(tiny_data: Path, pair: Pair) -> None:
    folder = _shared(pair, "cancelled", by_acl=False)
    run = _place_data(pair, folder, tiny_data, _LONG, "002")
    first = _begin(pair, pair.alice, folder, "002")
    try:
        wait_until(lambda: (_training(run) / "stdout.log").exists(), 240)
        said = pair.do(pair.bob, f"mlipilot resume {run.root}", umask="002", status=2)
        assert "of mlipilot-alice" in said, "who holds it is told by name"
        said = pair.do(pair.bob, f"mlipilot cancel {run.root}", umask="002")
        assert "waiting for the controller of lineage-0, process" in said and "cancelled" in said
        assert first.wait(60) == 1
    finally:
        first.kill()
    assert state_of(run).cancelled and not state_of(run).in_flight()


@pytest.mark.sweep
def test_the_process_of_another_user_is_named_and_left_to_them(tiny_data: Path, pair: Pair) -> None:
    folder = _shared(pair, "orphaned", by_acl=False)
    run = _place_data(pair, folder, tiny_data, _LONG, "002")
    first = _begin(pair, pair.alice, folder, "002")
    try:
        wait_until(lambda: (_training(run) / "stdout.log").exists(), 240)
    finally:
        first.kill()
        first.wait()
    begun = time.monotonic()
    said = pair.do(pair.bob, f"mlipilot cancel {run.root}", umask="002", status=75)
    worker = claimant(_training(run))
    assert isinstance(worker, ProcessIdentity) and worker.alive
    assert f"mlipilot-alice, or root, can end it: `kill {worker.pid}`" in said
    assert time.monotonic() - begun < 60  # it has patience for 150 s, with what it can end
    pair.do(pair.alice, f"kill {worker.pid}")
    wait_until(lambda: not worker.alive)


def test_a_secret_stays_its_owners_whatever_the_folder_grants(pair: Pair) -> None:
    folder = _shared(pair, "secret", by_acl=True)
    write_json(folder / "endpoint.json", {"token": "x"}, mode=SECRET)
    write_json(folder / "plain.json", {})
    assert stat.S_IMODE((folder / "endpoint.json").stat().st_mode) == SECRET
    pair.own(pair.alice, folder / "endpoint.json", umask=0o066)
    assert "Permission denied" in pair.do(pair.bob, f"cat {folder}/endpoint.json", status=1)
    assert pair.do(pair.bob, f"echo >>{folder}/plain.json") == ""


@needs_slurm
def test_the_slurm_job_of_another_user_is_named_and_left_to_them(pair: Pair) -> None:
    """Nobody serves the run; alice's job is held."""
    folder = _shared(pair, "queued", by_acl=False)
    made = SyntheticRun(folder / "run", make_spec(seeds=[1], jobs={"backend": "slurm"}))
    made.propose(0, None, {})
    key, name = JobKey(0, 1, "train"), f"mlp-{secrets.token_hex(8)}-l0.0000.s1.t.a1"
    made.ledger.append(event("job_submitted"))
    made.lineage.attempt(key, 1).mkdir(parents=True)
    write_json(made.lineage.attempt(key, 1) / "slurm.json", {"name": name, "needs": None})
    for kind in ("requests", "receipts", "intents"):
        (made.run.spool / kind).mkdir(parents=True)
    sbatch = f"sbatch --parsable --hold --job-name={name} -p gpu -o /dev/null --wrap true"
    number = pair.do(pair.alice, sbatch).strip()
    try:
        (made.run.spool / "requests" / name).write_text("template=train\n")
        (made.run.spool / "receipts" / name).write_text(f"status=submitted\njob_id={number}\ntime=1\n")
        pair.own(pair.alice, folder / "run", umask=0o002, gid=pair.gid)
        begun = time.monotonic()
        said = pair.do(pair.bob, f"mlipilot cancel {made.run.root}", umask="002", status=75)
        assert time.monotonic() - begun < 30  # so, too
        assert f"mlipilot-alice or an operator of Slurm can do so at once: `scancel {number}`" in said
        state = state_of(made.run)
        assert state.cancelled and len(state.in_flight()) == 1, "whether it ended is not known"
        assert "PENDING" in pair.do(pair.bob, f"squeue -h -j {number} -o %T")
        said = pair.do(pair.alice, f"mlipilot cancel {made.run.root}", umask="002")
        assert "scancel" in said and not state_of(made.run).in_flight()
    finally:
        subprocess.run(["scancel", "--quiet", number], check=False)


@pytest.mark.sweep
def test_what_is_told_to_type_opens_the_run(pair: Pair) -> None:
    """A run that was begun under the usual umask, outside of any folder of the group's."""
    folder = _shared(pair, "shut", by_acl=False)
    folder.chmod(0o755)
    made = SyntheticRun(folder / "run", make_spec(seeds=[1]))
    made.propose(0, None, {})
    made.ledger.append(event("paused", reason="the endpoint is down"))
    pair.own(pair.alice, made.run.root)
    said = pair.do(pair.bob, f"mlipilot cancel {made.run.root}", status=2)
    typed = said.partition("types `")[2].partition("`")[0].replace("GROUP", GROUP)
    pair.do(pair.alice, typed)
    pair.do(pair.bob, f"mlipilot cancel {made.run.root}", umask="002")
    pair.do(pair.alice, f"mlipilot cancel {made.run.root}", umask="002")
