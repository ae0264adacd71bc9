"""What keeps a job's code apart in a container or sandbox, tried as jobs run.

The options of a container are promises that a site's configuration can weaken. So the container is measured
as before each job (`jobs/measured.py`), and a script inside tries to see, write and call what it must not.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlipilot.audit.process_identity import stat_fields
from mlipilot.doctor.apptainer import explain_start
from mlipilot.doctor.check import Check, Status, failed, ok, warning
from mlipilot.errors import InputError
from mlipilot.jobs.container_commands import (
    APART,
    NETWORKS,
    OFF_NETWORK,
    Network,
    binds_of,
    container_argv,
    container_environment,
    find_program,
    write_container_files,
)
from mlipilot.jobs.job_files import JobOrder
from mlipilot.jobs.job_settings import JobSettings
from mlipilot.jobs.measured import isolation_of, measure, of_host, read_measured
from mlipilot.jobs.sandbox import why_no_sandbox
from mlipilot.programs import Answer, ask

_LIMIT_S = 90
_VARIABLE = "MLIPILOT_DOCTOR"
_RECIPE = "# a recipe\n"
_OPEN = "the code of candidates has your files and your network"
# Runs inside, where only a shell and coreutils can be counted on; bash is needed for the socket.
_SCRIPT = r"""
secret=$1 home=$2 recipe=$3 output=$4 port=$5 pid=$6
say() { printf 'probe %s=%s\n' "$1" "$2"; }
[ ! -e "$secret" ] || say file seen
say home "$(stat -c %d:%i "$home" 2>/dev/null)"
say variable "$MLIPILOT_DOCTOR"
[ ! -r "/proc/$pid/stat" ] || { read -r line <"/proc/$pid/stat"; say process "$line"; }
( echo changed >>"$recipe/train.py" ) 2>/dev/null
( echo new >"$recipe/new.py" ) 2>/dev/null
( echo written >"$output/written" ) 2>/dev/null
if command -v bash >/dev/null; then
  bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0"' "$port" 2>/dev/null
fi
say script ended
"""


@dataclass(frozen=True)
class Found:
    """What one container could do."""

    started: bool
    words: str
    """Why it did not start."""
    faults: tuple[str, ...]
    reached: bool
    """Whether it reached this host's network, or might have."""


def check_isolation(
    image: Path, directory: Path, *, require_no_network: bool, may_leak: bool = False
) -> Iterator[Check]:
    """Two lines: files, home, environment and processes; and the network. `directory` is where runs lie.

    `may_leak`: jobs run nevertheless, because `jobs.on_leak` is record.
    """
    try:
        tried = list(_probe_all(image, directory))
    except (OSError, InputError) as error:
        mend = "runs must lie where they can be written, in a directory without colon, comma and backslash"
        yield failed("isolation", f"cannot be tried in {directory}: {error}", mend)
        return
    found = next((found for found in reversed(tried) if found.started), tried[-1])
    if not found.started:
        yield failed("isolation", f"a container does not start: {found.words}", explain_start(found.words))
        return
    if found.faults:
        yield Check(
            "isolation",
            "warning" if may_leak else "failed",
            f"{' '.join(APART)} do not hold: {'; '.join(found.faults)}",
            "a candidate's code could do the same, so jobs refuse to run: ask the site what its "
            "apptainer.conf binds or allows, and whether `apptainer` is a wrapper; jobs.on_leak: record lets "
            "them run",
        )
    else:
        text = (
            "tried and measured: mounts, files, home, environment and processes of the host hidden; "
            "read-only binds hold"
        )
        yield ok("isolation", text)
    yield _network(tried, require_no_network=require_no_network)


def check_sandbox(jobs: JobSettings | None) -> Check:
    """What keeps local jobs apart here; None: of no campaign."""
    needed = jobs is not None and jobs.require_no_network
    if jobs is not None and jobs.isolation == "none":
        return warning("sandbox", f"jobs.isolation is none: {_OPEN}", "jobs.isolation: auto")
    why = why_no_sandbox()
    if why is None:
        return ok("sandbox", "tried and measured: local jobs run under bubblewrap, with no network")
    mend = (
        "install bubblewrap 0.6 or later (`apt install bubblewrap`, `dnf install bubblewrap`) where user "
        "namespaces are allowed"
    )
    return (failed if needed else warning)("sandbox", f"{why}: {_OPEN}", mend)


def _probe_all(image: Path, directory: Path) -> Iterator[Found]:
    """What came of each way to keep a container from the network, until one does."""
    for network in NETWORKS:
        found = _probe(image, directory, network)
        yield found
        if found.started and not found.reached:
            return


def _network(tried: Sequence[Found], *, require_no_network: bool) -> Check:
    by_namespace, *others = tried
    if not others:
        return ok("network", f"tried: {' '.join(OFF_NETWORK)} keeps a job from this host's network")
    if by_namespace.started:
        text = f"a job reaches this host's network in spite of {' '.join(OFF_NETWORK)}"
    else:
        text = f"no job can have a network namespace here: {by_namespace.words}"
    if not others[-1].reached:
        return ok("network", f"{text}; tried: with a filter of system calls instead it can make no socket")
    status: Status = "failed" if require_no_network else "warning"
    needed = "jobs.require_no_network is true, but " if require_no_network else ""
    mend = (
        "ask the site for network namespaces (sysctl user.max_net_namespaces), or an Apptainer with seccomp; "
        "without either jobs run with the host's network, which their results, `status` and the report say"
    )
    return Check("network", status, f"{needed}{text}", mend)


def run_in_image(
    image: Path,
    attempt: Path,
    argv: Sequence[str],
    *,
    network: Network,
    reads: Sequence[Path] = (),
    gpu: bool = False,
) -> Answer:
    """Run `argv` as a job is run, `attempt/output` being all that it may write."""
    order = _order(attempt, argv, reads, gpu=gpu)
    command = [*_container(order, attempt, image, network), *argv]
    environment = container_environment() | {_VARIABLE: secrets.token_hex(8)}
    return ask(command, timeout_s=_LIMIT_S + 20, environment=environment)


def _order(attempt: Path, argv: Sequence[str], reads: Sequence[Path], *, gpu: bool = False) -> JobOrder:
    """An order with a directory for its attempt, which holds what containers need of it."""
    (attempt / "output").mkdir(parents=True, exist_ok=True)
    write_container_files(attempt, {})
    return JobOrder(
        name="doctor",
        argv=list(argv),
        cwd=str(attempt / "output"),
        environment={},
        wall_limit_s=_LIMIT_S,
        run=str(attempt),
        protected="",
        read_only={},
        reads=[str(path) for path in reads],
        uses_gpu=gpu,
    )


def _container(order: JobOrder, attempt: Path, image: Path, network: Network) -> list[str]:
    """A job's container without a time limit, which `ask` has: only the host may have its program."""
    program = find_program()
    argv = container_argv(order, attempt, image, network=network, program=program)
    return argv[argv.index(program) :]


@contextmanager
def scratch_in(directory: Path) -> Iterator[Path]:
    """A temporary directory beside the runs, so that their filesystem is the one that is bound."""
    scratch = Path(tempfile.mkdtemp(dir=directory, prefix=".mlipilot-doctor-"))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _probe(image: Path, directory: Path, network: Network) -> Found:
    with scratch_in(directory) as scratch, socket.create_server(("127.0.0.1", 0)) as listener:
        secret, recipe, attempt = scratch / "secret", scratch / "recipe", scratch / "attempt"
        secret.write_text("", encoding="utf-8")
        recipe.mkdir()
        (recipe / "train.py").write_text(_RECIPE, encoding="utf-8")
        given = [secret, Path.home(), recipe, attempt / "output", listener.getsockname()[1], os.getpid()]
        argv = ["/bin/sh", "-c", _SCRIPT, "sh", *map(str, given)]
        answer = run_in_image(image, attempt, argv, network=network, reads=[recipe])
        lines = [line.removeprefix("probe ") for line in answer.stdout.splitlines()]
        said = dict(line.partition("=")[::2] for line in lines)
        if said.get("script") != "ended":
            return Found(started=False, words=answer.words, faults=(), reached=True)
        order = _order(attempt, argv, [recipe])
        text, words = measure(_container(order, attempt, image, network), binds_of(order, attempt))
        measured = read_measured(text)
        isolation = isolation_of(measured, order, attempt, "local", of_host(order, attempt))
        unmeasured = () if measured.complete else (f"what a container shows cannot be measured: {words}",)
        return Found(
            started=True,
            words="",
            faults=(*_faults(said, recipe, attempt), *unmeasured, *isolation.leaks),
            reached=_was_called(listener) or isolation.network == "host",
        )


def _faults(said: dict[str, str], recipe: Path, attempt: Path) -> Iterator[str]:
    if "file" in said:
        yield "a file of the host that was not bound can be seen"
    home = Path.home()
    if home.is_dir() and said.get("home") == f"{home.stat().st_dev}:{home.stat().st_ino}":
        yield f"the home directory {home} can be seen"
    if said.get("variable"):
        yield "variables of the host's environment are passed on"
    if _start_ticks(said.get("process", "")) == _start_ticks(Path("/proc/self/stat").read_text()):
        yield "processes of the host can be seen"
    changed = (recipe / "train.py").read_text(encoding="utf-8") != _RECIPE
    if changed or len(list(recipe.iterdir())) != 1:
        yield "a read-only bind can be written"
    if not (attempt / "output" / "written").is_file():
        yield "a job's output directory cannot be written"


def _start_ticks(stat: str) -> str | None:
    """When a process began, which tells it from one of the same number in another namespace."""
    fields = stat_fields(stat)
    return fields[19] if len(fields) > 19 else None


def _was_called(listener: socket.socket) -> bool:
    listener.settimeout(0.05)
    try:
        connection, _ = listener.accept()
    except OSError:
        return False
    connection.close()
    return True
