"""The sandbox of a local job: bubblewrap, which shows its command nothing of this host but what it needs.

That is the system's programs and libraries, the interpreter and its packages, and what the order says the
job reads, all read-only; only the job's output and its home can be written. It has a network with a loopback
alone, sees no process but its own, has no capability, and ends with the worker. In the toolkit's place a
candidate finds what a recipe may import, as in a container (`without_toolkit`). Bubblewrap needs user
namespaces, or to be installed setuid. Without it, or one older than 0.6, jobs are plain processes.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from functools import cache
from itertools import chain
from pathlib import Path

from mlipilot.audit.protected import PACKAGE
from mlipilot.jobs.commands import import_paths
from mlipilot.jobs.container_commands import binds_of, sources_of
from mlipilot.jobs.job_files import Isolation, JobOrder
from mlipilot.jobs.job_settings import JobSettings
from mlipilot.jobs.measured import files_at, in_force, measure, read_measured
from mlipilot.paths import RunPaths

PROGRAM = "bwrap"
_SYSTEM = [
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/fonts"),
    *("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/localtime"),
]
_PROCESSORS = "/sys/devices/system/cpu"
_OF_PREFIX = (
    "bin",
    "lib",
    "lib64",
    "nvvm",
    "targets",
    "pyvenv.cfg",
)  # an environment's folder may be a project's
_GPUS = ("nvidia*", "dri", "kfd")
_SCRATCH, _MEMORY = "/tmp", "/dev/shm"  # noqa: S108 (file systems of the sandbox's own)
_MEMORY_BYTES = 2**30
"""Of each of these two, which are held in memory."""
_APART = ("--unshare-all", "--unshare-user", "--cap-drop", "ALL", "--die-with-parent")


def sandbox_argv(order: JobOrder, attempt: Path) -> list[str]:
    """The command line up to `order.argv`, or to another program that measures what is shown to it."""
    order = _fitted(order)
    memory = [
        word for path in (_MEMORY, _SCRATCH) for word in ("--size", str(_MEMORY_BYTES), "--tmpfs", path)
    ]
    words = [shutil.which(PROGRAM) or PROGRAM, *_APART, "--proc", "/proc", "--dev", "/dev", *memory]
    words += _read_only(_host_paths(order))
    for device in chain.from_iterable(map(Path("/dev").glob, _GPUS)) if order.uses_gpu else ():
        words += ["--dev-bind", str(device), str(device)]
    for path, source in sources_of(order, attempt).items():
        words += ["--bind" if path == str(attempt / "output") else "--ro-bind", source, path]
    words += ["--bind", str(attempt / "home"), str(attempt / "home")]
    words += ["--remount-ro", "/dev", "--remount-ro", "/"]
    return [*words, "--chdir", order.cwd if order.cwd in order.reads else str(attempt / "home"), "--"]


def measured_isolation(order: JobOrder, attempt: Path) -> tuple[Isolation, str, str]:
    """What is in force in the sandbox of an attempt's job, what was printed in it, and why where it fails."""
    fitted = _fitted(order)
    sources = sources_of(fitted, attempt) | {str(attempt / "home"): str(attempt / "home")}
    text, words = measure(sandbox_argv(order, attempt), sources, order.environment)
    measured = read_measured(text)
    system = [str(path) for path in _host_paths(fitted)]
    binds = dict.fromkeys(["/dev", *system], False) | binds_of(fitted, attempt)
    binds |= {str(attempt / "home"): True, _SCRATCH: True}
    isolation = in_force(
        measured,
        binds,
        files_at(sources),
        given=sources,
        variables=order.environment,
        below=system,
        backend="local",
        filesystem="sandbox",
    )
    return isolation, text, words


def why_no_sandbox() -> str | None:
    """Why jobs on this host cannot have one, or None; each program that is found is tried once."""
    found = shutil.which(PROGRAM)
    return "bubblewrap, which keeps jobs apart, is not installed" if found is None else _why_not(found)


@cache
def _why_not(bubblewrap: str) -> str | None:
    argv = [bubblewrap, *_APART, "--proc", "/proc", "--dev", "/dev", "--size", "4096", "--tmpfs", _SCRATCH]
    text, words = measure([*argv, *_read_only(map(Path, filter(_exists, _SYSTEM)))])
    measured = read_measured(text)
    if measured.complete and measured.network == "none":
        return None
    why = words or "the network is not cut off"
    return f"bubblewrap, which keeps jobs apart, does not work here: {why}"


def are_sandboxed(jobs: JobSettings) -> bool:
    """Whether jobs run in sandboxes, by the campaign's wish and on this host."""
    return jobs.backend == "local" and jobs.isolation == "auto" and why_no_sandbox() is None


def _fitted(order: JobOrder) -> JobOrder:
    """The order with what covers the toolkit where it lies here; that of a container is an image's."""
    modules = RunPaths(Path(order.run)).modules
    labels = PACKAGE.parent / "mlipilot_labels"
    if order.keeps is None:  # trusted code
        shown = {str(path): str(path) for path in (PACKAGE, labels) if path.is_dir()}
    else:
        shown = {str(PACKAGE): str(modules / PACKAGE.name)}
        shown |= {str(labels): str(modules / "nothing")} if labels.is_dir() else {}
    return order.model_copy(update={"covered": shown})


def _host_paths(order: JobOrder) -> list[Path]:
    """What is shown of the host besides what the order names; none of them below another."""
    prefixes = {Path(order.argv[0]).parent.parent, *(Path(p) for p in (sys.prefix, sys.base_prefix))}
    prefixes |= {prefix.resolve() for prefix in prefixes}
    paths = [Path(path) for path in import_paths()]
    if not any(PACKAGE.parent.glob(f"{PACKAGE.name}-*.dist-info")):  # a checkout, with all that is in it
        paths = [path for path in paths if path != PACKAGE.parent]
    paths += [prefix / name for prefix in prefixes for name in _OF_PREFIX]
    paths += [Path(path) for path in order.environment.get("LD_LIBRARY_PATH", "").split(":") if path]
    paths += [Path(path) for path in _SYSTEM] + [Path("/sys" if order.uses_gpu else _PROCESSORS)]
    run, found = Path(order.run), list[Path]()
    for path in sorted({path for path in paths if path.is_absolute() and path.exists()}):
        if not run.is_relative_to(path) and not any(path.is_relative_to(other) for other in found):
            found.append(path)
    return found


def _exists(path: str) -> bool:
    return Path(path).exists()


def _read_only(paths: Iterable[Path]) -> list[str]:
    return [word for path in paths for word in ("--ro-bind", str(path), str(path))]
