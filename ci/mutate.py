"""Break the files of the law on purpose, one small fault at a time, and see whether their near tests notice.

    python ci/mutate.py                                    all files of ci/mutation.toml
    python ci/mutate.py mlipilot/controller/accept.py      some of them
    python ci/mutate.py --json FILE…                       the same for programs

It works in copies of the tree, never in the tree itself, and with the same hashes each time: what a test
notices may depend on the order of a set. One process imports what the tests import, except what is of this
repository, and forks for each mutant: so a mutant costs what its tests cost. ci/mutation.toml says which
tests are a file's near ones, and which mutants are equivalent, with the reason.

Exit status 0: of each file at least 95 % of the mutants that are not equivalent are noticed.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import importlib
import json
import math
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

from mutants import Mutant, mutants

GOAL = 0.95
AT_ONCE = 2
TABLE = "ci/mutation.toml"
_PYTEST = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--hypothesis-seed=0", "--tb=no")
_HASHED_ALIKE = {"PYTHONHASHSEED": "0"}
_BECOME_SUBREAPER = 36  # of prctl(2)
_FORK = multiprocessing.get_context("fork")


class TableError(Exception):
    """The table, or a near test without any mutant, is at fault."""


@dataclass(frozen=True)
class Equivalent:
    """A mutant that no test can notice, and why; of `times` statements alike in the same function."""

    file: str
    where: str
    before: str
    after: str
    reason: str
    times: int = 1


@dataclass(frozen=True)
class Limits:
    """What a mutant's tests may take: of the processor, and of time when they wait."""

    cpu_s: float
    wall_s: float


@dataclass
class Outcome:
    """What became of a file's mutants."""

    file: str
    mutants: int
    equivalent: int
    survivors: list[Mutant]

    @property
    def score(self) -> float:
        """The share of those that are not equivalent that the tests notice."""
        counted = self.mutants - self.equivalent
        return 1 - len(self.survivors) / counted if counted else 1.0

    @property
    def line(self) -> str:
        """A row of docs/testing.md."""
        noticed = self.mutants - self.equivalent - len(self.survivors)
        counts = f"{self.mutants} | {noticed} | {self.equivalent} | {len(self.survivors)}"
        return f"| `{self.file}` | {counts} | {math.floor(1000 * self.score) / 10:.1f} % |"


def main() -> int:
    """Exit status: 0 good, 1 a score below the goal, 2 a fault of the table or of the tests."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if (
        not _HASHED_ALIKE.items() <= os.environ.items()
    ):  # Python asks for it when it begins, and mutants are forked
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | _HASHED_ALIKE)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left running, and no copy
    top = subprocess.run(["git", "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=True)
    try:
        outcomes = _all_outcomes(Path(top.stdout.strip()), asked.files, quiet=asked.json)
    except TableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if asked.json:
        print(json.dumps([_plain(outcome) for outcome in outcomes], indent=2, ensure_ascii=False))
    return 0 if all(outcome.score >= GOAL for outcome in outcomes) else 1


def _plain(outcome: Outcome) -> dict[str, Any]:
    survivors = [{k: v for k, v in asdict(m).items() if k != "source"} for m in outcome.survivors]
    return asdict(outcome) | {"survivors": survivors, "score": outcome.score}


def _all_outcomes(tree: Path, asked: list[str], *, quiet: bool) -> list[Outcome]:
    table = tomllib.loads((tree / TABLE).read_text(encoding="utf-8"))
    near: dict[str, list[str]] = table["near"]
    known = [Equivalent(**entry) for entry in table.get("equivalent", [])]
    strange = [file for file in (*asked, *(e.file for e in known)) if file not in near]
    if strange:
        raise TableError(f"{TABLE} names no near tests of {strange[0]}; it does of {', '.join(near)}")
    outcomes = []
    with _desk(tree) as copies:
        for file in asked or near:
            counted, equivalent = _sorted_out(file, mutants((tree / file).read_text(encoding="utf-8")), known)
            survivors = _survivors(copies, file, near[file], counted)
            outcomes.append(Outcome(file, len(counted) + equivalent, equivalent, survivors))
            if not quiet:
                for mutant in survivors:
                    print(f"{file}:{mutant.line} {mutant.where}\n  - {mutant.before}\n  + {mutant.after}")
                print(outcomes[-1].line, flush=True)
    return outcomes


def _sorted_out(file: str, made: list[Mutant], known: list[Equivalent]) -> tuple[list[Mutant], int]:
    """The mutants that count, and the number of those that the table calls equivalent."""
    found = Counter((mutant.where, mutant.before, mutant.after) for mutant in made)
    listed = {(e.where, e.before, e.after): e for e in known if e.file == file}
    for key, entry in listed.items():
        if found[key] != entry.times:
            raise TableError(
                f"{TABLE} lists {entry.times}, there are {found[key]}: {file} {entry.where}\n"
                f"  - {entry.before}\n  + {entry.after}"
            )
    counted = [mutant for mutant in made if (mutant.where, mutant.before, mutant.after) not in listed]
    return counted, len(made) - len(counted)


@contextlib.contextmanager
def _desk(tree: Path) -> Iterator[list[Path]]:
    """Copies of what git knows or would add, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=tree, capture_output=True, check=True
    )
    names = [name for name in listed.stdout.decode().split("\0") if name and (tree / name).is_file()]
    with tempfile.TemporaryDirectory(prefix="mutants-") as desk:
        copies = [Path(desk) / str(number) / tree.name for number in range(AT_ONCE)]
        for target, name in ((copy, name) for copy in copies for name in names):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree / name, target / name)
        yield copies


def _survivors(copies: list[Path], file: str, tests: list[str], counted: list[Mutant]) -> list[Mutant]:
    """Those that no test notices. `AT_ONCE` at a time, each in a copy of its own."""
    limits = _warm(copies, file, tests)
    free, running = list(copies), dict[BaseProcess, tuple[Path, Mutant, float]]()
    survivors, waiting = [], counted[::-1]
    try:
        while waiting or running:
            while waiting and free:
                place, mutant = free.pop(), waiting.pop()
                (place / file).write_text(mutant.source, encoding="utf-8")
                running[_start(place, tests, limits)] = place, mutant, time.monotonic() + limits.wall_s
            wait([process.sentinel for process in running], timeout=1)
            for process, (place, mutant, end) in list(running.items()):
                if process.exitcode is None and time.monotonic() < end:
                    continue
                _end(process)
                if process.exitcode == 0:
                    survivors.append(mutant)
                free.append(place)
                del running[process]
    finally:
        for process in running:
            _end(process)
    for place in copies:
        shutil.copy2(copies[0].parent / "as it was", place / file)
    return sorted(survivors, key=lambda mutant: mutant.line)


def _warm(copies: list[Path], file: str, tests: list[str]) -> Limits:
    """Run the near tests on the file as it is: they must pass. Then import what they imported."""
    shutil.copy2(copies[0] / file, copies[0].parent / "as it was")
    for place in copies:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        process = _start(place, tests, Limits(math.inf, math.inf))
        process.join()
        _end(process)
        if process.exitcode:
            log = (place.parent / "log").read_text(encoding="utf-8", errors="replace")
            raise TableError(f"the near tests of {file} do not pass as it is:\n{log[-2000:]}")
        after, wall_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - began
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        for compiled in (place / file).parent.glob(f"__pycache__/{Path(file).stem}.*"):
            compiled.unlink()
    for name in (copies[0].parent / "imported").read_text(encoding="utf-8").split():
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # pytest collects garbage several times at its end: not what is shared
    return Limits(10 + 4 * cpu_s, 60 + 10 * wall_s)


def _start(place: Path, tests: list[str], limits: Limits) -> BaseProcess:
    process = _FORK.Process(target=_watch, args=(place, tests, limits))
    process.start()
    return process


def _end(process: BaseProcess) -> None:
    """With all that it started."""
    process.terminate()
    process.join()


def _watch(place: Path, tests: list[str], limits: Limits) -> None:
    """Have a child run the tests, exit as it does, and end what it started, whatever session that is in.

    A SIGTERM ends the child before its time.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_BECOME_SUBREAPER, 1, 0, 0, 0)  # orphans come here, not to init
    signals = {signal.SIGTERM, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        _test(place, tests, limits)
    status = None
    while status is None and signal.sigwait(signals) == signal.SIGCHLD:
        status = _reaped().get(child)
    while left := _children():
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(left[0], 0)  # its own children are now ours
    os._exit(0 if status == 0 else 1)


def _children() -> list[int]:
    """Those of this process, ended or not."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it is gone
            parent = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]
            found += [int(path.parent.name)] if int(parent) == os.getpid() else []
    return found


def _reaped() -> dict[int, int]:
    """The wait status of each child that has ended."""
    ended = dict[int, int]()
    with contextlib.suppress(ChildProcessError):  # none is left
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended[found[0]] = found[1]
    return ended


def _test(place: Path, tests: list[str], limits: Limits) -> NoReturn:
    """In a process of its own, with the copy's modules: exit with pytest's status."""
    os.setsid()
    log = os.open(place.parent / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(place)
    is_first = math.isinf(limits.cpu_s)
    sys.path[0] = os.environ["PYTHONPATH"] = str(place)
    # Compiled files are known by time and length, which two mutants may have in common.
    sys.dont_write_bytecode = not is_first
    if not is_first:
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limits.cpu_s), resource.RLIM_INFINITY))
    import hypothesis
    import pytest

    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)  # no time for smaller examples
    hypothesis.settings.register_profile("mutants", database=None, deadline=None, phases=phases)
    hypothesis.settings.load_profile("mutants")
    status = int(pytest.main([*_PYTEST, "--basetemp", str(place.parent / "tmp"), *tests]))
    if is_first:
        paths = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
        outside = [name for name, path in paths.items() if path and not path.startswith(str(place))]
        (place.parent / "imported").write_text("\n".join(outside), encoding="utf-8")
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
