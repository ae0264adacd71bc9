"""What was seen and reached from inside a container that is started as a candidate's is: `measure.sh`, read.

The measurement is made before any code of the candidate runs, in a container of its own with the same
options, and what it printed is kept where the candidate cannot write. So no candidate can forge it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname
from tempfile import TemporaryDirectory
from typing import Literal

from mlipilot.jobs.container_commands import (
    NETWORKS,
    Network,
    bare_argv,
    binds_of,
    container_environment,
    names_inside,
    sources_of,
    write_seccomp,
)
from mlipilot.jobs.job_files import Isolation, JobOrder
from mlipilot.jobs.mounts import Mount, foreign_mounts, parse_mount
from mlipilot.programs import ask
from mlipilot.untrusted import few

SCRIPT = Path(__file__).with_name("measure.sh")
PROGRAM = ("/bin/bash", "-p", "-s")
Backend = Literal["local", "slurm"]
_PATIENCE_S = 120.0
# Apptainer's own, by which a container knows what it is; those of the host are not handed on.
_OF_APPTAINER = re.compile(
    r"(APPTAINER|SINGULARITY)_[A-Z_]+|HOME|LANG|LC_ALL|LD_LIBRARY_PATH|(USER_)?PATH|PROMPT_COMMAND|PS1|(OLD)?PWD|SHLVL|_"
)
_SAID: dict[str, Network] = {"namespace": "none", "seccomp": "seccomp", "host": "host"}
_CUT_OFF_BY: dict[Network, Literal["namespace", "seccomp"]] = {"none": "namespace", "seccomp": "seccomp"}


@dataclass(frozen=True)
class Measured:
    """One measurement."""

    complete: bool = False
    network: Network = "host"
    """What keeps it from the network, as seen from inside."""
    mounts: tuple[Mount, ...] = ()
    binds: tuple[str, ...] = ()
    """What the job is given, each as `of_host` has it."""
    variables: frozenset[str] = frozenset()
    of_image: frozenset[str] = frozenset()
    """The variables that the image sets."""
    unread: tuple[str, ...] = ()
    """Lines of the mount table that are none."""


def read_measured(text: str) -> Measured:
    """What `measure.sh` printed; anything else is incomplete."""
    lines = [line.partition(" ")[::2] for line in text.splitlines()]
    mounts, unread = [], []
    for key, value in lines:
        if key == "mount":
            try:
                mounts.append(parse_mount(value))
            except ValueError as error:
                unread.append(str(error))
    said = [value for key, value in lines if key == "network"]
    return Measured(
        complete=bool(lines) and lines[-1][0] == "measured" and len(said) == 1 and bool(mounts),
        network=_SAID.get(said[0], "host") if len(said) == 1 else "host",
        mounts=tuple(mounts),
        binds=tuple(value for key, value in lines if key == "bind"),
        variables=frozenset(value for key, value in lines if key == "variable"),
        of_image=frozenset(value for key, value in lines if key == "image"),
        unread=tuple(unread),
    )


def of_host(order: JobOrder, attempt: Path) -> list[str]:
    """Which files the paths of the job's binds are on the host: something else may be bound there first."""
    return files_at(sources_of(order, attempt))


def files_at(sources: Mapping[str, str]) -> list[str]:
    """Which file each source is, by the path at which a job finds it."""
    found = []
    for path, source in sources.items():
        with suppress(OSError):  # one that is missing is missing inside, too
            status = Path(source).stat(follow_symlinks=False)
            found.append(f"{status.st_dev}:{status.st_ino} {path}")
    return found


def isolation_of(
    measured: Measured, order: JobOrder, attempt: Path, backend: Backend, host: Sequence[str]
) -> Isolation:
    """What is in force in the container of the attempt's job; `host` is what `of_host` says there."""
    binds, own = binds_of(order, attempt), names_inside(order) | measured.of_image
    return in_force(
        measured, binds, host, given=binds, variables=own, backend=backend, filesystem="container"
    )


def in_force(
    measured: Measured,
    binds: Mapping[str, bool],
    host: Sequence[str],
    *,
    given: Iterable[str],
    variables: Iterable[str],
    below: Sequence[str] = (),
    backend: Backend,
    filesystem: Literal["container", "sandbox"],
) -> Isolation:
    """What a measurement says of an isolation in which `binds` and `variables` are on purpose.

    `given` are those binds that must be the files that `host` says. `below` these folders of the host its own
    mounts are seen, if read-only.
    """
    if not measured.complete:
        return Isolation(backend=backend, filesystem=filesystem)
    of_host = [m for m in measured.mounts if m.read_only and any(m.point.startswith(f"{p}/") for p in below)]
    shown = [m for m in measured.mounts if m not in of_host or m.point in binds]
    paths = {bind.partition(" ")[2] for bind in {*measured.binds} & {*host}}
    mounts = [
        *foreign_mounts(shown, binds),
        *measured.unread,
        *(f"{path}, which is something else there" for path in given if path not in paths),
    ]
    foreign = [name for name in measured.variables.difference(variables) if not _OF_APPTAINER.fullmatch(name)]
    return Isolation(
        backend=backend,
        filesystem=filesystem,
        network="host" if measured.network == "host" else "none",
        network_by=_CUT_OFF_BY.get(measured.network),
        measured=True,
        mounts=mounts,
        variables=sorted(foreign),
    )


def why_not_isolated(isolation: Isolation, order: JobOrder, words: str = "") -> str | None:
    """Why the job's code must not run under that isolation, and what mends it; None where it may.

    `words`: what was said where the isolation of a container could not be measured.
    """
    kind = isolation.filesystem
    if kind == "sandbox" and order.on_leak == "refuse" and (isolation.leaks or not isolation.measured):
        shows = few(isolation.leaks) or f"what, could not be measured: {words or 'nothing was said'}"
        return (
            f"its sandbox shows more of the host than it may ({shows}): `bwrap`, bash and stat must work on "
            f"{gethostname()}, or set jobs.isolation: none"
        )
    if kind == "container" and order.on_leak == "refuse":
        if not isolation.measured:
            return (
                f"what its container keeps apart could not be measured ({words or 'nothing was said'}): "
                f"`apptainer exec` must work on {gethostname()}, and the image must have bash and stat"
            )
        if isolation.leaks:
            return (
                f"its container shows more of the host than it may: {few(isolation.leaks)}. See "
                f"`bind path` in apptainer.conf of {gethostname()} and wrappers of apptainer there, or set "
                "jobs.on_leak: record"
            )
    if order.require_no_network and isolation.network != "none":
        return (
            "the campaign requires jobs without a network, and here it cannot be cut off: it takes user "
            "namespaces (sysctl user.max_net_namespaces), or an Apptainer with seccomp; "
            "for local jobs bubblewrap, and no jobs.isolation: none"
        )
    return None


def measure(
    container: Sequence[str], binds: Iterable[str] = (), environment: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """What the script prints in `container`, a command line without a program; and why, where it fails.

    `environment`: of that command line, where it is not `container_environment`.
    """
    here = str(Path("/proc/self/ns/net").stat().st_ino)
    answer = ask(
        [*container, *PROGRAM, here, *binds],
        stdin=SCRIPT.read_text(encoding="utf-8"),
        timeout_s=_PATIENCE_S,
        environment=container_environment() if environment is None else environment,
    )
    return answer.stdout, answer.words


def best_network(image: Path) -> Network:
    """The closest to no network that containers of `image` can be kept to here."""
    with TemporaryDirectory(prefix="mlipilot-") as folder:
        write_seccomp(Path(folder))
        for network in NETWORKS:
            text, _ = measure(bare_argv(image, Path(folder), network))
            if read_measured(text).network != "host":
                return network
    return "host"
