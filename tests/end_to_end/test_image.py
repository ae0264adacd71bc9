"""Campaigns as users run them: `sbatch campaigns/….sbatch`, in a real image, on a real Slurm."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.ledger import read_ledger
from mlipilot.audit.verify import verify_run
from mlipilot.campaign.paths import JobKey
from mlipilot.jobs.order import Isolation, read_result
from tests.end_to_end.cluster import IMAGE, Site, needs_image, needs_slurm
from tests.end_to_end.conftest import REPOSITORY, mlipilot
from tests.end_to_end.slurm_runs import state_of
from tests.end_to_end.villain import PILOT, Candidate, villain

# One worker carries the campaign of two lineages, and the others take its data set.
pytestmark = [pytest.mark.slow, needs_slurm, needs_image, pytest.mark.xdist_group("image campaigns")]
SMALL = {"max_in_flight": 2, "require_no_network": True, "resources": {"memory_mib": 1500}}
MakeSite = Callable[..., Site]


@pytest.fixture(scope="module")
def login(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where somebody on the login node stands: nowhere near the run."""
    return tmp_path_factory.mktemp("login")


@pytest.fixture(scope="module")
def two_lineages(tmp_path_factory: pytest.TempPathFactory, login: Path) -> Iterator[Site]:
    """A campaign that has run to its end, though one controller was told of its time limit in the middle."""
    site = Site(
        tmp_path_factory.mktemp("two") / "site",
        lineages=2,
        seeds=[1],
        budget={"iterations": 1, "optimizer_steps": 8},
        jobs=SMALL,
    )
    try:
        job = site.sbatch()
        training = "lineage-*/iterations/0000/seed-*/train/attempt-1/stdout.log"
        site.wait_until(lambda: len(list(site.run.root.glob(training))) == 2)
        found = json.loads(mlipilot("status", site.run.root, "--json", cwd=login).stdout)
        assert [lineage["phase"] for lineage in found["lineages"]] == ["running", "running"]
        subprocess.run(["scancel", "--batch", "--signal=USR2", f"{job}_1"], check=True)
        site.wait_for_the_end()
        yield site
    finally:
        site.end_all()


@pytest.fixture
def make_site(two_lineages: Site, tmp_path: Path) -> Iterator[MakeSite]:
    """A site whose run has its data set already; what Slurm has of it in the end is ended."""
    sites = []

    def make(**settings: Any) -> Site:
        sites.append(Site(tmp_path / "site", data=two_lineages.run.data, seeds=[1], **settings))
        return sites[-1]

    yield make
    for site in sites:
        site.end_all()


def test_a_controller_that_reaches_its_time_limit_is_followed_by_another(two_lineages: Site) -> None:
    site = two_lineages
    assert len(site.logs()) == 3 and "before its time: " in site.said()
    for lineage in (0, 1):
        kinds = [record.kind for record in read_ledger(site.run.lineage(lineage).ledger)]
        assert (kinds.count("resumed"), kinds[-1]) == (lineage, "finished"), site.said()
        jobs = state_of(site.run, lineage).jobs
        assert all([attempt.number for attempt in attempts] == [1] for attempts in jobs.values()), jobs
        for key in jobs:
            isolation = read_result(site.run.lineage(lineage).attempt(key, 1)).isolation
            assert isolation == Isolation(backend="slurm", filesystem="container", network="none")
    names = sorted(path.name for path in (site.run.spool / "requests").iterdir())
    assert sorted(path.name for path in (site.run.spool / "started").iterdir()) == [f"{n}.0" for n in names]
    assert site.left_running() == []


def test_on_the_login_node_the_runs_directory_is_enough(two_lineages: Site, login: Path) -> None:
    run = two_lineages.run
    found = json.loads(mlipilot("status", run.root, "--json", cwd=login).stdout)
    assert [lineage["phase"] for lineage in found["lineages"]] == ["finished", "finished"]
    ledger = run.lineage(1).ledger.read_bytes()
    mlipilot("resume", run.root, "--lineage", "1", cwd=login)  # nothing is left to do but the report
    mlipilot("verify", run.root, cwd=login)
    assert run.lineage(1).ledger.read_bytes() == ledger and list(login.iterdir()) == []
    assert json.loads(_in_the_image(two_lineages, "status", "runs/tiny", "--json")) == found
    _in_the_image(two_lineages, "report", "runs/tiny")
    _in_the_image(two_lineages, "verify", "runs/tiny")


def _in_the_image(site: Site, *arguments: str) -> str:
    """What a verb says on a host that has Apptainer and no Python of ours, as the README has it."""
    command = ["apptainer", "exec", str(IMAGE), "mlipilot", *arguments]
    done = subprocess.run(command, cwd=site.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_changed_image_ends_a_campaign_before_it_begins(make_site: MakeSite) -> None:
    assert IMAGE is not None
    site = make_site(budget={"iterations": 0, "optimizer_steps": 8}, jobs=SMALL)
    changed = site.root / IMAGE.name
    shutil.copyfile(IMAGE, changed)
    shutil.copyfile(IMAGE.with_name("images.lock"), site.root / "images.lock")
    with changed.open("r+b") as file:
        file.seek(changed.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    job = site.sbatch(MLIPILOT_IMAGE=str(changed))
    site.wait_for_the_end()
    record = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, check=True)
    assert "ExitCode=2:0" in record.stdout
    assert f"{changed} is not the one in images.lock beside it" in site.said().splitlines()[-1]
    assert len(site.logs()) == 1 and not site.run.spool.exists() and not site.run.lineages()


# It and its children hold out against every signal that can be ignored.
HORDE = """
import os, signal, time
for name in ("SIGTERM", "SIGHUP", "SIGINT", "SIGUSR1", "SIGUSR2"):
    signal.signal(getattr(signal, name), signal.SIG_IGN)
for _ in range(200):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        break
else:
    print("two hundred", flush=True)
while True:
    time.sleep(60)
"""


# It tries every door out of its container, says how that went, and gives up.
DOORS = """
import contextlib, ctypes, glob, json, os, pathlib, shutil, socket, sys
TOLD = json.loads({told!r})
attempt = pathlib.Path(sys.argv[sys.argv.index("--output") + 1]).parent
run = attempt.parents[5]

def write(path):
    path = pathlib.Path(path)
    if not path.exists():
        raise OSError("it is not there")
    if path.is_dir():
        path /= TOLD["token"]
    with path.open("a") as file:
        file.write(" ")

def remount(path):
    libc = ctypes.CDLL(None, use_errno=True)
    for flags in (0x1020, 0x1000):  # once more and writable, or bound over itself
        if libc.mount(os.fsencode(path), os.fsencode(path), None, flags, None):
            raise OSError(os.strerror(ctypes.get_errno()))
    write(path)

def make_device(path):
    os.mknod(path, 0o60600, os.makedev(254, 0))

def read(path):
    pathlib.Path(path).read_bytes()

def find_secret(variable):
    for name in glob.glob("/proc/[0-9]*/environ"):
        if variable.encode() in pathlib.Path(name).read_bytes():
            return
    raise OSError("no environment has it")

def connect(address):
    kind = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(kind) as caller:
        caller.settimeout(5)
        caller.connect(address)

def call(program):
    if shutil.which(program) is None:
        raise OSError("there is no such program")

def end(process):
    os.kill(process, 9)

TRIED = [
    (write, run / "scorecard.yaml"), (write, run / "data" / "test" / "test.xyz"),
    (write, run / "spool" / "job.sh"), (write, run / "spool" / "requests"),
    (write, run.parents[1] / "sbatch"), (write, run / "lineage-0" / "ledger.jsonl"),
    (write, attempt / "result.json"), (write, attempt / "exec.argv"),
    (write, run / "lineage-0/iterations/0000/seed-1/train/attempt-1/output"),
    (write, "train.py"), (write, "."), (remount, "."), (write, run / "data" / "train"),
    (write, "/opt/mlipilot"), (write, "/opt/mlipilot/bin/python"), (write, TOLD["home"]),
    (make_device, attempt / "output" / "disk"),
    (read, run / "data" / "test" / "test.xyz"), (read, run / "data" / "sealed" / "sealed.xyz"),
    (read, run / "lineage-0" / "ledger.jsonl"), (read, run / "lineage-0" / "transcript.jsonl"),
    (read, "/etc/slurm/slurm.conf"), (read, TOLD["image"]), (find_secret, "OPENAI_API_KEY"),
    (connect, ("127.0.0.1", TOLD["port"])), (connect, ("127.0.0.1", 6817)),
    (connect, "/run/munge/munge.socket.2"), (connect, "/var/run/munge/munge.socket.2"),
    (call, "sbatch"), (call, "squeue"), (call, "scancel"), (call, "apptainer"),
    (end, TOLD["process"]),
]
for door, what in TRIED:
    try:
        door(what)
        print("OPEN", door.__name__, what)
    except OSError as error:
        print("shut", door.__name__, what, error)
print(len(TRIED), "doors tried", flush=True)
sys.exit("no way out")
"""


def test_hostile_candidates_reach_nothing_and_the_campaign_goes_on(
    make_site: MakeSite, two_lineages: Site
) -> None:
    results = two_lineages.run.root.glob("lineage-*/iterations/*/*/train/attempt-1")
    limit_s = max(40, 3 * round(max(read_result(attempt).wall_s for attempt in results)))
    token, secret = secrets.token_hex(8), f"sk-{secrets.token_hex(16)}"
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    bystander = subprocess.Popen(["sleep", "3600"])
    told = {"token": token, "port": listener.getsockname()[1], "process": bystander.pid}
    told |= {"home": str(Path.home()), "image": str(IMAGE)}
    doors = DOORS.replace("{told!r}", repr(json.dumps(told)))
    site = make_site(
        pilot=PILOT,
        budget={"iterations": 2, "optimizer_steps": 3},
        jobs=SMALL | {"smoke": False, "train_wall_limit_s": limit_s},
    )
    try:
        with villain(
            [Candidate("doors", {"train.py": doors}), Candidate("horde", {"train.py": HORDE})]
        ) as url:
            site.sbatch(OPENAI_BASE_URL=url, OPENAI_API_KEY=secret)
            site.wait_for_the_end()
        assert bystander.poll() is None
        with pytest.raises(BlockingIOError):
            listener.accept()
    finally:
        bystander.kill()
        bystander.wait()
        listener.close()
    state, lineage = state_of(site.run), site.run.lineage()
    assert state.finished == "the budget of 2 iterations is used up" and state.incumbent == 0, site.said()
    reasons = [str((iteration.verdict or {})["reason"]) for iteration in state.iterations[1:]]
    assert "no way out" in reasons[0] and f"ran past its limit of {limit_s} s" in reasons[1]
    said = (lineage.attempt(JobKey(1, 1, "train"), 1) / "stdout.log").read_text().splitlines()
    assert [line for line in said if not line.startswith("shut ")] == ["33 doors tried"], "\n".join(said)
    assert verify_run(site.run).problems == []
    assert site.left_running() == []
    for script in ("job.sh", "common.sh"):
        assert (site.run.spool / script).read_bytes() == (REPOSITORY / "sbatch" / script).read_bytes()
    assert not (Path.home() / token).exists() and not (site.root / "sbatch" / token).exists()
    files = [path for path in site.root.rglob("*") if path.is_file()]
    assert not [path for path in files if secret.encode() in path.read_bytes()]


def _write_recipe(site: Site, train: str) -> None:
    recipe = site.root / "campaigns" / "recipe"
    recipe.mkdir()
    (recipe / "recipe.yaml").write_text("{}\n")
    (recipe / "train.py").write_text(train)


def test_cancel_ends_what_does_not_want_to_end(make_site: MakeSite, login: Path) -> None:
    site = make_site(recipe="recipe", budget={"iterations": 0, "optimizer_steps": 8}, jobs=SMALL)
    _write_recipe(site, HORDE)
    site.sbatch()
    log = site.run.root / "lineage-0/iterations/0000/seed-1/train/attempt-1/stdout.log"
    site.wait_until(lambda: log.exists() and "two hundred" in log.read_text())
    assert len(site.queue()) == 4, site.queue()  # controller, successor, training, evaluation
    mlipilot("cancel", site.run.root, cwd=login)
    site.wait_for_the_end(seconds=60)
    kinds = [record.kind for record in read_ledger(site.run.lineage().ledger)]
    assert kinds[-2:] == ["job_finished", "cancelled"] and "resumed" not in kinds
    assert [a.outcome for found in state_of(site.run).jobs.values() for a in found] == ["cancelled"]
    assert len(site.logs()) == 1, "the successor has begun"
    assert site.left_running() == []
