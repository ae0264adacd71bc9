"""Candidates that attack, in a real image on a real Slurm: they reach nothing, and all of them is ended."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
from pathlib import Path

import pytest

from mlipilot.audit.ledger import read_ledger
from mlipilot.controller.verification import verify_run
from mlipilot.jobs.job_files import read_result
from mlipilot.paths import JobKey
from tests.end_to_end.cluster import IMAGE, Site
from tests.end_to_end.conftest import REPOSITORY, mlipilot
from tests.end_to_end.image.conftest import MARKS, SMALL, MakeSite
from tests.end_to_end.slurm_runs import state_of
from tests.end_to_end.villain import PILOT, Candidate, villain

pytestmark = MARKS

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
import contextlib, ctypes, glob, importlib, json, os, pathlib, shutil, socket, sys
TOLD = json.loads({told!r})
attempt = pathlib.Path(sys.argv[sys.argv.index("--output") + 1]).parent
run = attempt.parents[5]
PACKAGES = pathlib.Path("/opt/mlipilot/lib/python3.11/site-packages")

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

def uncover(path):
    libc = ctypes.CDLL(None, use_errno=True)
    for flags in (0, 0x10020000):  # as it is; in namespaces of its own, of users and of mounts
        if flags and libc.unshare(flags) or libc.umount2(os.fsencode(path), 2):
            error = OSError(os.strerror(ctypes.get_errno()))
        else:
            error = None
            break
    if error is not None:
        raise error

def rebuild(module):
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise OSError(str(error)) from None

def find_toolkit(_):
    of_recipes = {"__init__.py", "handover.py", "checkpoint.py"}
    found = {path for name in ("mlipilot", "mlipilot_labels") for path in (PACKAGES / name).rglob("*")}
    found |= set(pathlib.Path("/opt/mlipilot/share").rglob("*"))
    if all(path.name in of_recipes for path in found):
        raise OSError("nothing but what recipes import")

TRIED = [
    (write, run / "scorecard.yaml"), (write, run / "data" / "test" / "test.xyz"),
    (write, run / "spool" / "job.sh"), (write, run / "spool" / "requests"),
    (write, run.parents[1] / "sbatch"), (write, run / "lineage-0" / "ledger.jsonl"),
    (write, attempt / "result.json"), (write, attempt / "exec.argv"),
    (write, attempt / "begun.json"), (write, attempt / "ended.json"),
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
    (rebuild, "mlipilot.datasets.cu_emt"), (rebuild, "mlipilot.datasets.qm7_b3lyp.shipped"),
    (rebuild, "mlipilot.evaluation"), (rebuild, "mlipilot_labels.records"),
    (uncover, PACKAGES / "mlipilot"), (uncover, PACKAGES / "mlipilot_labels"),
    (uncover, "/opt/mlipilot/share"), (find_toolkit, None),
    (read, run / "data" / "provenance.json"), (read, run / "modules" / "mlipilot" / "handover.py"),
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
    limit_s = max(40, 2 * round(max(read_result(attempt).wall_s for attempt in results)))
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
    reasons = [iteration.verdict.reason for iteration in state.iterations[1:] if iteration.verdict]
    assert "no way out" in reasons[0] and f"ran past its limit of {limit_s} s" in reasons[1]
    said = (lineage.attempt(JobKey(1, 1, "train"), 1) / "stdout.log").read_text().splitlines()
    assert [line for line in said if not line.startswith("shut ")] == ["45 doors tried"], "\n".join(said)
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
    kinds = [record.event.kind for record in read_ledger(site.run.lineage().ledger)]
    assert kinds[-2:] == ["job_finished", "cancelled"] and "resumed" not in kinds
    assert [a.outcome for found in state_of(site.run).jobs.values() for a in found] == ["cancelled"]
    assert len(site.logs()) == 1, "the successor has begun"
    assert site.left_running() == []
