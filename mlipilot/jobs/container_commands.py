"""The command lines that run code inside an image, as pure functions; for scripts, see `sbatch/container.sh`.

What the flags are for: `--containall --cleanenv --no-home --no-mount` leave nothing of the host but what is
bound, `--no-eval` keeps the environment file's values from being expanded, `--net --network none` leaves a
loopback interface of its own, `--no-privs` takes root's capabilities from a job that root starts (it could
make device nodes in its output). Seen with Apptainer 1.4: a plain `exec` can write the user's home; with all
these flags APPTAINER_BIND and APPTAINERENV_* still reach inside, as do TERM and the variables of proxies.
SingularityCE has all of them since 3.11, and is called where a host has it instead.
"""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlipilot.audit.files import write_atomic
from mlipilot.errors import InputError
from mlipilot.jobs.job_files import JobOrder

Network = Literal["none", "seccomp", "host"]
"""How a container is kept from the network: by a namespace that has a loopback alone; by a filter of system
calls that lets no socket be made, which needs no namespace; not at all."""
NETWORKS: tuple[Network, ...] = ("none", "seccomp", "host")  # the best first
PROGRAMS = ("apptainer", "singularity")
PYTHON = "/opt/mlipilot/bin/python"  # of every image that containers/mlipilot.def describes
_PACKAGES = "/opt/mlipilot/lib/python3.11/site-packages"  # of that Python
KILL_AFTER_S = 10
APART = ("--containall", "--cleanenv", "--no-home", "--no-eval", "--no-mount", "home,cwd,hostfs,bind-paths")
"""Leave a container nothing of the host but what is bound. No other module spells such options."""
OFF_NETWORK = ("--net", "--network", "none")
"""Leave it a loopback interface of its own."""
# Only what has a meaning inside: the image brings its own programs and libraries.
_HOST_ONLY = ("PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH", "LANG", "LC_ALL")
_SCRATCH = {"HOME": "/tmp", "TMPDIR": "/tmp", "MPLCONFIGDIR": "/tmp"}  # noqa: S108 (a tmpfs of the container's)
_SECCOMP = "exec.seccomp"
# Sockets, and the interface by which they can be had without the call of that name.
_REFUSED_CALLS = ("socket", "socketcall", "io_uring_setup")
_ARCHITECTURES = {"x86_64": "X86_64", "aarch64": "AARCH64", "ppc64le": "PPC64LE"}
# Where Apptainer keeps what it has unpacked: of no consequence inside. sbatch/common.sh says the same.
_OF_NO_CONSEQUENCE = {
    f"{brand}_{what}DIR" for brand in ("APPTAINER", "SINGULARITY") for what in ("CACHE", "TMP", "CONFIG")
}


@dataclass(frozen=True)
class Container:
    """An image whose digest was checked, and how containers here are kept from the network."""

    image: Path
    network: Network


def find_program() -> str:
    """What runs images on this host: Apptainer, unless it has SingularityCE alone."""
    return next((name for name in PROGRAMS if shutil.which(name)), PROGRAMS[0])


def container_argv(
    order: JobOrder, attempt: Path, image: Path, *, network: Network, program: str = PROGRAMS[0]
) -> list[str]:
    """The host's command line for an attempt up to `order.argv`: a time limit around `apptainer exec`.

    Another program in the place of `order.argv` measures what its container shows. It sees `order.reads`
    read-only and `attempt/output` writable, each at its own path. Raises InputError for a path that a bind
    cannot name.
    """
    flags = ["--no-privs"] + (["--nv"] if order.uses_gpu else [])
    sources = sources_of(order, attempt)
    for path, is_writable in binds_of(order, attempt).items():
        flags += ["--bind", f"{_bindable(sources[path])}:{path}" + ("" if is_writable else ":ro")]
    output = str(attempt / "output")
    flags += ["--pwd", order.cwd if order.cwd in order.reads else output]
    flags += ["--env-file", str(attempt / "exec.env")]
    limit = ["timeout", "--signal=TERM", f"--kill-after={KILL_AFTER_S}", f"{math.ceil(order.wall_limit_s)}"]
    return [*limit, *_exec(program, network, attempt), *flags, str(image)]


def binds_of(order: JobOrder, attempt: Path) -> dict[str, bool]:
    """Where the job's container shows something of the host, and whether it is writable."""
    return dict.fromkeys(sources_of(order, attempt), False) | {str(attempt / "output"): True}


def sources_of(order: JobOrder, attempt: Path) -> dict[str, str]:
    """What of the host is shown there."""
    return {path: path for path in (*order.reads, str(attempt / "output"))} | order.covered


def without_toolkit(modules: Path) -> dict[str, str]:
    """What covers the toolkit in a candidate's container: what a recipe may import, out of `modules`.

    No data set that is built in, no label and no evaluator is in its sight. A mount that a container begins
    with cannot be taken away in it, nor in a namespace that is made inside (mount_namespaces(7): locked).
    """
    return {
        f"{_PACKAGES}/mlipilot": str(modules / "mlipilot"),
        f"{_PACKAGES}/mlipilot_labels": str(modules / "nothing"),
        "/opt/mlipilot/share": str(modules / "nothing"),
    }


def trusted_argv(run: Path, image: Path, argv: Sequence[str], *, network: Network) -> list[str]:
    """The toolkit's own code inside the image, on this host, with the whole run writable."""
    flags = ["--bind", f"{_bindable(str(run))}:{run}", "--pwd", str(run)]
    return [
        *_exec(find_program(), "host" if network == "seccomp" else network, run),
        *flags,
        str(image),
        *argv,
    ]


def bare_argv(image: Path, folder: Path, network: Network) -> list[str]:
    """A container that shows nothing but the image; `folder` is where `write_seccomp` has written."""
    return [*_exec(find_program(), network, folder), "--no-privs", str(image)]


def _exec(program: str, network: Network, folder: Path) -> list[str]:
    cut_off: dict[Network, tuple[str, ...]] = {
        "none": OFF_NETWORK,
        "seccomp": ("--security", f"seccomp:{folder / _SECCOMP}"),
        "host": (),
    }
    return [program, "--silent", "exec", *APART, *cut_off[network]]


def container_environment(inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment in which Apptainer is started: without what it would bind, or hand on to the job.

    A site's profile or module may set APPTAINER_BIND and the like for everybody; of TERM and the variables of
    proxies, which may hold a password, `--cleanenv` keeps nothing back.
    """
    return {name: value for name, value in inherited.items() if not _is_left_out(name.upper())}


def _is_left_out(name: str) -> bool:
    of_apptainer = name.startswith(("APPTAINER", "SINGULARITY")) and name not in _OF_NO_CONSEQUENCE
    return of_apptainer or name == "TERM" or name.endswith("_PROXY")


def write_container_files(attempt: Path, environment: Mapping[str, str]) -> None:
    """Write what the command lines of an attempt's containers name."""
    write_atomic(attempt / "exec.env", environment_file(environment))
    write_seccomp(attempt)


def write_seccomp(folder: Path) -> None:
    """Write the filter under which no socket can be made, for processors of this machine's kind alone."""
    native = _ARCHITECTURES.get(platform.machine(), platform.machine().upper())
    rule = {"names": _REFUSED_CALLS, "action": "SCMP_ACT_ERRNO"}
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": [f"SCMP_ARCH_{native}"],
        "syscalls": [rule],
    }
    write_atomic(folder / _SECCOMP, json.dumps(profile))


def names_inside(order: JobOrder) -> set[str]:
    """The names of the variables that an attempt's job is given."""
    return {name for name in order.environment if name not in _HOST_ONLY} | {
        *_SCRATCH,
        "CUDA_VISIBLE_DEVICES",
    }


def environment_file(environment: Mapping[str, str]) -> str:
    """The text of `exec.env`: the job's variables as they hold inside the container."""
    inside = {k: v for k, v in environment.items() if k not in _HOST_ONLY} | _SCRATCH
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(inside.items()))


def _bindable(path: str) -> str:
    if any(character in path for character in ":,\n\\"):
        raise InputError(
            f"{path!r} cannot be bound into a container: it holds a colon, comma, backslash or line break",
            mend="move the run to a directory without them",
        )
    return path
