"""A local job in its sandbox: what hostile code finds of this host there, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mlipilot
from mlipilot.audit.files import write_json
from mlipilot.audit.manifest import check_manifest
from mlipilot.audit.protected import hash_protected
from mlipilot.controller.prepare import write_modules
from mlipilot.jobs import sandbox
from mlipilot.jobs.backend import Submission
from mlipilot.jobs.commands import import_paths
from mlipilot.jobs.job_files import JobOrder, JobResult, read_result
from mlipilot.jobs.job_settings import JobSettings
from mlipilot.jobs.local_backend import LocalBackend
from tests.jobs.conftest import wait
from tests.waiting import wait_until

MakeOrder = Callable[..., JobOrder]
SECRET = "sk-of-the-controller"
needs_sandbox = pytest.mark.skipif(sandbox.why_no_sandbox() is not None, reason=str(sandbox.why_no_sandbox()))
# Each statement asks one thing of the sandbox; what an exception says of it is the answer then.
_ASK = """
import json, os, sys
answers = {}
for name, code in json.loads(sys.argv[1]).items():
    space = {}
    try:
        exec(code, space)
        answers[name] = space.get("answer")
    except BaseException as error:
        answers[name] = type(error).__name__
print(json.dumps(answers))
"""


@pytest.fixture
def make_inside(run: Path, make_order: MakeOrder) -> MakeOrder:
    """Orders of candidates, in a run that has what covers the toolkit."""
    write_modules(run / "modules")
    (run / "data" / "train").mkdir()
    (run / "data" / "test").mkdir()
    (run / "data" / "test" / "test.xyz").write_text("the questions")
    write_json(run / "protected.json", hash_protected(run))

    def make(code: str, limit_s: float = 60, **fields: Any) -> JobOrder:
        reads = [str(run / "recipe"), str(run / "data" / "train")]
        order = make_order(code, limit_s).model_copy(update={"reads": reads, "keeps": {"kept": 100}})
        return order.model_copy(update=fields)

    return make


def _start(attempt: Path, order: JobOrder) -> LocalBackend:
    backend = LocalBackend(sandboxed=True)
    backend.ensure_started(Submission(attempt, order, anchor="0" * 64, kind="train"))
    return backend


def _finish(attempt: Path, order: JobOrder) -> JobResult:
    _start(attempt, order)
    assert wait(attempt).phase == "sealed"
    assert check_manifest(attempt) == []
    return read_result(attempt)


def _ask(run: Path, make: MakeOrder, questions: dict[str, str]) -> tuple[dict[str, Any], JobResult]:
    order = make("").model_copy(update={"argv": [sys.executable, "-c", _ASK, json.dumps(questions)]})
    result = _finish(run / "attempt", order)
    log = (run / "attempt" / "stdout.log").read_text()
    assert log, (run / "attempt" / "stderr.log").read_text()
    answers: dict[str, Any] = json.loads(log)
    return answers, result


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@needs_sandbox
def test_a_candidate_finds_of_this_host_what_it_needs_and_nothing_else(
    run: Path, make_inside: MakeOrder, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    (run.parent / "of somebody else").touch()
    package, home = Path(mlipilot.__file__).parent, Path.home()
    address = listener.getsockname()
    dials = "import socket; socket.create_connection({}, 2); answer = True"
    answers, result = _ask(
        run,
        make_inside,
        {
            "recipe": "answer = open('train.py').read()",
            "toolkit": f"import os; answer = sorted(os.listdir({str(package)!r}))",
            "labels": "import mlipilot_labels.geometries",
            "evaluator": "import mlipilot.evaluation",
            "imports": "import mlipilot.handover, torch; answer = True",
            "run": f"import os; answer = sorted(os.listdir({str(run)!r}))",
            "data": f"import os; answer = sorted(os.listdir({str(run / 'data')!r}))",
            "attempt": f"import os; answer = sorted(os.listdir({str(run / 'attempt')!r}))",
            "checkout": f"import os; answer = os.path.exists({str(package.parent / 'tests')!r})",
            "etc": "open('/etc/shadow')",
            "host's /tmp": f"import os; answer = os.listdir({str(run.parent)!r})",
            "home": f"import os; answer = sorted(os.listdir({str(home)!r}))",
            "processes": "import os; answer = sum(name.isdigit() for name in os.listdir('/proc'))",
            "parent": "answer = open('/proc/1/environ').read()",
            "network": dials.format(address),
            "capabilities": "answer = open('/proc/self/status').read().partition('CapEff:')[2].split()[0]",
            "remount": "import os; answer = os.system('mount -o remount,rw,bind /usr 2>/dev/null') == 0",
            **{
                f"write {place}": f"open({str(path)!r}, 'a')"
                for place, path in {
                    "recipe": run / "recipe" / "train.py",
                    "packages": Path(os.__file__).with_name("__pycache__") / "x.pyc",
                    "toolkit": package / "__init__.py",
                    "system": "/usr/x",
                    "root": "/x",
                    "devices": "/dev/x",
                }.items()
            },
            **{
                f"use {path}": f"open({str(path)!r}, 'w'); answer = True"
                for path in (run / "attempt" / "output" / "kept", "/tmp/x", "/dev/shm/x")
            },
        },
    )
    assert {n: a for n, a in answers.items() if n.startswith("use ")} == dict.fromkeys(
        (f"use {path}" for path in (run / "attempt" / "output" / "kept", "/tmp/x", "/dev/shm/x")), True
    )
    assert {a for n, a in answers.items() if n.startswith("write ")} <= {
        *("OSError", "PermissionError", "FileNotFoundError")
    }, answers
    assert answers["recipe"] == "pass" and answers["imports"] is True
    assert answers["toolkit"] == ["__init__.py", "checkpoint.py", "handover.py"]
    assert answers["labels"] == answers["evaluator"] == "ModuleNotFoundError"
    assert answers["run"] == ["attempt", "data", "recipe"] and answers["data"] == ["train"]
    assert answers["attempt"] == ["home", "output"] and answers["checkout"] is False
    assert answers["etc"] == "FileNotFoundError" and answers["host's /tmp"] == [run.name]
    shown = {
        path.relative_to(home).parts[0] for path in map(Path, import_paths()) if path.is_relative_to(home)
    }
    assert answers["home"] == "FileNotFoundError" or set(answers["home"]) <= shown | {"tmp"}
    assert answers["processes"] <= 3 and SECRET not in answers["parent"]
    assert answers["network"] in ("ConnectionRefusedError", "OSError")
    assert int(answers["capabilities"], 16) == 0 and answers["remount"] is False
    isolation = result.isolation
    assert (isolation.backend, isolation.filesystem, isolation.network) == ("local", "sandbox", "none")
    assert isolation.measured and isolation.leaks == [] and isolation.network_by == "namespace"


@needs_sandbox
def test_trusted_code_finds_the_whole_toolkit_and_what_it_reads(run: Path, make_inside: MakeOrder) -> None:
    code = f"import mlipilot.evaluation.runner; print(open({str(run / 'data/test/test.xyz')!r}).read())"
    order = make_inside(code, keeps=None, reads=[str(run / "data")], cwd=str(run / "attempt" / "home"))
    assert _finish(run / "attempt", order).outcome == "ok"
    assert (run / "attempt" / "stdout.log").read_text() == "the questions\n"


@needs_sandbox
@pytest.mark.parametrize(
    ("code", "limit_s", "outcome", "status", "reason"),
    [
        ("import sys; sys.exit(3)", 60, "failed", 3, "exit status 3"),
        ("import os; os.kill(os.getpid(), 11)", 60, "failed", -11, "ended by signal 11"),
        ("import time; time.sleep(60)", 1, "time_limit", None, "the job ran past its limit of 1 s"),
    ],
)
def test_how_a_command_ended_inside_is_known(
    run: Path,
    make_inside: MakeOrder,
    code: str,
    limit_s: float,
    outcome: str,
    status: int | None,
    reason: str,
) -> None:
    result = _finish(run / "attempt", make_inside(code, limit_s))
    assert (result.outcome, result.exit_status, result.reason) == (outcome, status, reason)


@needs_sandbox
def test_its_time_and_memory_are_counted(run: Path, make_inside: MakeOrder) -> None:
    code = "import time; x = b'1' * 100_000_000\nwhile time.process_time() < 0.5: pass"
    result = _finish(run / "attempt", make_inside(code))
    assert (result.cpu_s or 0) >= 0.5 and (result.peak_memory_mib or 0) > 100


_DAEMON = """
import subprocess, sys, time
subprocess.Popen(["sleep", {0!r}], start_new_session=True)
time.sleep({1})
"""


def _sleepers(seconds: str) -> list[Path]:
    words = [b"sleep", seconds.encode(), b""]
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [entry] if entry.read_bytes().split(b"\0") == words else []
        except OSError:
            continue
    return found


@needs_sandbox
def test_nothing_of_a_sandbox_outlives_its_job_or_its_worker(run: Path, make_inside: MakeOrder) -> None:
    assert _finish(run / "attempt", make_inside(_DAEMON.format("4401", 0.1))).outcome == "failed"  # no `kept`
    wait_until(lambda: not _sleepers("4401"))
    other = run / "attempt-2"
    backend = _start(other, _at(other, make_inside(_DAEMON.format("4402", 60))))
    wait_until(lambda: bool(_sleepers("4402")))
    backend.cancel(other)
    assert read_result(other).outcome == "cancelled"
    wait_until(lambda: not _sleepers("4402"))
    third = run / "attempt-3"
    backend = _start(third, _at(third, make_inside(_DAEMON.format("4403", 60))))
    wait_until(lambda: bool(_sleepers("4403")))
    backend._workers[third].kill()
    assert wait(third).outcome == "lost"
    wait_until(lambda: not _sleepers("4403"))


def _at(attempt: Path, order: JobOrder) -> JobOrder:
    return order.model_copy(update={"environment": order.environment | {"HOME": str(attempt / "home")}})


@needs_sandbox
def test_a_file_in_memory_has_a_most_size(run: Path, make_inside: MakeOrder) -> None:
    questions = {
        path: f"import os; s = os.statvfs({path!r}); answer = s.f_blocks * s.f_frsize"
        for path in ("/tmp", "/dev/shm")
    }
    answers, _ = _ask(run, make_inside, questions)
    assert set(answers.values()) == {2**30}


@needs_sandbox
def test_a_sandbox_that_shows_more_is_refused(
    run: Path, make_inside: MakeOrder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrapper around bubblewrap binds the whole host, say, or hands the network on."""
    (tmp_path / "bin").mkdir()
    wrapper = tmp_path / "bin" / "bwrap"
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("bwrap")} --ro-bind /var /var "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    result = _finish(run / "attempt", make_inside("print('on')"))
    assert result.outcome == "not_isolated" and "/var (" in str(result.reason)
    assert not (run / "attempt" / "stdout.log").exists()
    recorded = _finish(run / "attempt-2", make_inside("print('on')", on_leak="record"))
    assert recorded.outcome == "failed" and any("/var (" in mount for mount in recorded.isolation.mounts)


def test_a_sandbox_that_cannot_be_had_any_more_is_not_done_without(
    run: Path, make_inside: MakeOrder, stand_in: Callable[[str, str], None]
) -> None:
    stand_in("bwrap", "exit 1")
    result = _finish(run / "attempt", make_inside("print('on')"))
    assert result.outcome == "not_isolated" and "could not be measured" in str(result.reason)
    assert "jobs.isolation: none" in str(result.reason) and not (run / "attempt" / "stdout.log").exists()


def test_without_bubblewrap_jobs_are_plain_processes_and_it_is_said_why(no_programs: None) -> None:
    sandbox._why_not.cache_clear()
    try:
        assert str(sandbox.why_no_sandbox()).endswith("is not installed")
        assert not sandbox.are_sandboxed(JobSettings())
    finally:
        sandbox._why_not.cache_clear()


def test_a_bubblewrap_that_does_not_work_is_quoted(stand_in: Callable[[str, str], None]) -> None:
    stand_in("bwrap", "echo 'bwrap: No permissions to create new namespace' >&2; exit 1")
    sandbox._why_not.cache_clear()
    try:
        assert "No permissions to create new namespace" in str(sandbox.why_no_sandbox())
    finally:
        sandbox._why_not.cache_clear()


@needs_sandbox
def test_who_wants_none_has_none() -> None:
    assert sandbox.are_sandboxed(JobSettings())
    assert not sandbox.are_sandboxed(JobSettings(isolation="none"))
    assert not sandbox.are_sandboxed(JobSettings(backend="slurm"))
