"""The command lines that run code inside an image, as pure functions.

What the flags are for: `--containall --cleanenv --no-home --no-mount` leave nothing of the host but what is
bound, `--no-eval` keeps the environment file's values from being expanded, `--net --network none` leaves a
loopback interface of its own, `--no-privs` takes root's capabilities from a job that root starts (it could
make device nodes in its output). Seen with Apptainer 1.4: a plain `exec` can write the user's home.
SingularityCE has all of them since 3.11, and is called where a host has it instead.
"""

from __future__ import annotations

import math
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlipilot.errors import InputError
from mlipilot.jobs.order import JobOrder

Network = Literal["none", "host"]
PROGRAMS = ("apptainer", "singularity")
PYTHON = "/opt/mlipilot/bin/python"  # of every image that containers/mlipilot.def describes
KILL_AFTER_S = 10
_APART = ("--containall", "--cleanenv", "--no-home", "--no-eval", "--no-mount", "home,cwd,bind-paths")
# Only what has a meaning inside: the image brings its own programs and libraries.
_HOST_ONLY = ("PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH", "LANG", "LC_ALL")
_SCRATCH = {"HOME": "/tmp", "TMPDIR": "/tmp", "MPLCONFIGDIR": "/tmp"}  # noqa: S108 (a tmpfs of the container's)


@dataclass(frozen=True)
class Container:
    """An image whose digest was checked, and the network of containers here: none where it can be cut off."""

    image: Path
    network: Network


def find_program() -> str:
    """What runs images on this host: Apptainer, unless it has SingularityCE alone."""
    return next((name for name in PROGRAMS if shutil.which(name)), PROGRAMS[0])


def job_argv(
    order: JobOrder,
    attempt: Path,
    image: Path,
    *,
    network: str,
    gpu_tool: str = "--nv",
    program: str = PROGRAMS[0],
) -> list[str]:
    """The host's command line for an attempt: a time limit around `apptainer exec` around the job.

    The job sees `order.reads` read-only and `attempt/output` writable, each at its own path, and no
    network when `network` is "none". Raises InputError for a path that a bind cannot name.
    """
    flags = ["--no-privs"] + ([gpu_tool] if order.uses_gpu else [])
    for path in order.reads:
        flags += ["--bind", f"{_bindable(path)}:{path}:ro"]
    output = str(attempt / "output")
    flags += ["--bind", f"{_bindable(output)}:{output}"]
    flags += ["--pwd", order.cwd if order.cwd in order.reads else output]
    flags += ["--env-file", str(attempt / "exec.env")]
    limit = ["timeout", "--signal=TERM", f"--kill-after={KILL_AFTER_S}", f"{math.ceil(order.wall_limit_s)}"]
    return [*limit, *_exec(program, network), *flags, str(image), *order.argv]


def trusted_argv(run: Path, image: Path, argv: Sequence[str], *, network: str = "host") -> list[str]:
    """The toolkit's own code inside the image, on this host, with the whole run writable."""
    flags = ["--bind", f"{_bindable(str(run))}:{run}", "--pwd", str(run)]
    return [*_exec(find_program(), network), *flags, str(image), *argv]


def probe_argv(image: Path) -> list[str]:
    """Ends well where containers can be cut off from the network."""
    return [*_exec(find_program(), "none"), str(image), "true"]


def _exec(program: str, network: str) -> list[str]:
    cut_off = ["--net", "--network", "none"] if network == "none" else []
    return [program, "--silent", "exec", *_APART, *cut_off]


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
