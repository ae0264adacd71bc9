"""The command line that runs a job's code inside an image, as a pure function.

What the flags are for: `--containall --cleanenv --no-home --no-mount` leave nothing of the host but what is
bound, `--no-eval` keeps the environment file's values from being expanded, `--net --network none` leaves a
loopback interface of its own, `--no-privs` takes root's capabilities from a job that root starts (it could
make device nodes in its output). Seen with Apptainer 1.4: a plain `exec` can write the user's home.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlipilot.errors import InputError
from mlipilot.jobs.order import JobOrder

KILL_AFTER_S = 10
# Only what has a meaning inside: the image brings its own programs and libraries.
_HOST_ONLY = ("PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH", "LANG", "LC_ALL")
_SCRATCH = {"HOME": "/tmp", "TMPDIR": "/tmp", "MPLCONFIGDIR": "/tmp"}  # noqa: S108 (a tmpfs of the container's)


def job_argv(
    order: JobOrder, attempt: Path, image: Path, *, network: str, gpu_tool: str = "--nv"
) -> list[str]:
    """The host's command line for an attempt: a time limit around `apptainer exec` around the job.

    The job sees `order.reads` read-only and `attempt/output` writable, each at its own path, and no
    network when `network` is "none". Raises InputError for a path that a bind cannot name.
    """
    flags = ["--containall", "--cleanenv", "--no-home", "--no-eval", "--no-mount", "home,cwd,bind-paths"]
    flags += ["--no-privs"]
    if network == "none":
        flags += ["--net", "--network", "none"]
    if order.uses_gpu:
        flags.append(gpu_tool)
    for path in order.reads:
        flags += ["--bind", f"{_bindable(path)}:{path}:ro"]
    output = str(attempt / "output")
    flags += ["--bind", f"{_bindable(output)}:{output}"]
    flags += ["--pwd", order.cwd if order.cwd in order.reads else output]
    flags += ["--env-file", str(attempt / "exec.env")]
    limit = ["timeout", "--signal=TERM", f"--kill-after={KILL_AFTER_S}", f"{math.ceil(order.wall_limit_s)}"]
    return [*limit, "apptainer", "--silent", "exec", *flags, str(image), *order.argv]


def trusted_argv(run: Path, image: Path, argv: Sequence[str]) -> list[str]:
    """The toolkit's own code inside the image, with the whole run writable."""
    flags = ["--containall", "--cleanenv", "--no-home", "--no-eval", "--no-mount", "home,cwd,bind-paths"]
    flags += ["--bind", f"{_bindable(str(run))}:{run}", "--pwd", str(run)]
    return ["apptainer", "--silent", "exec", *flags, str(image), *argv]


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
