"""The recorded image: refused unless its SHA-256 is the record's, then entered with the run read-only.

Everything below the check (data, training, evaluation, comparison) is done by the toolkit of the image, in
one container that sees nothing of the host but the run (read-only) and the output.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mlipilot.audit.files import sha256_file
from mlipilot.errors import InputError

DIGEST_VARIABLE = "MLIPILOT_IMAGE_SHA256"  # set inside an image by whoever has checked it
Network = Literal["none", "host"]
_APART = ["--containall", "--cleanenv", "--no-home", "--no-eval", "--no-mount", "home,cwd,bind-paths"]


def image_argv(
    *,
    run: Path,
    output: Path,
    image: Path,
    digest: str,
    arguments: Sequence[str],
    network: Network = "none",
    gpu: bool = False,
) -> list[str]:
    """The host's command line for `mlipilot ARGUMENTS` inside `image`.

    Raises InputError for a path that a bind cannot name.
    """
    return [
        *_exec(network),
        *(["--nv"] if gpu else []),
        *("--env", f"{DIGEST_VARIABLE}={digest}"),
        *("--env", "MPLCONFIGDIR=/tmp"),  # there is no home to write to
        *("--bind", f"{_bindable(run)}:{run}:ro"),
        *("--bind", f"{_bindable(output)}:{output}"),
        *("--pwd", str(output)),
        str(image),
        *("python", "-m", "mlipilot", *arguments),
    ]


def _exec(network: Network) -> list[str]:
    cut_off = ["--net", "--network", "none"] if network == "none" else []
    return ["apptainer", "--silent", "exec", *_APART, *cut_off]


def _bindable(path: Path) -> Path:
    if any(character in str(path) for character in ":,\n\\"):
        raise InputError(
            "this path cannot be bound into a container: it holds a colon, comma, backslash or line break",
            file=path,
            mend="move it to a directory without them",
        )
    return path


def check_image(image: Path, recorded: str | None) -> str:
    """The SHA-256 of `image`. Raises InputError unless it is the one that the run recorded."""
    if not image.is_file():
        raise InputError("there is no image here", file=image, mend="--image names a SIF file")
    if recorded is None:
        raise InputError(
            "the run was made without an image, so this cannot be its own",
            file=image,
            mend="leave --image out and unset MLIPILOT_IMAGE: it is then reproduced in this environment",
        )
    found = sha256_file(image)
    if found != recorded:
        raise InputError(
            f"this is another image: its SHA-256 is {found}, the run recorded {recorded}",
            file=image,
            mend="name the image that the run was made in",
        )
    return found


def is_inside(recorded: str | None) -> bool:
    """Whether this process runs in the image that the run recorded."""
    return recorded is not None and os.environ.get(DIGEST_VARIABLE) == recorded


def network_of_containers(image: Path) -> Network:
    """`none` where a container can be cut off from the network, else `host`.

    Raises InputError without Apptainer.
    """
    if shutil.which("apptainer") is None:
        raise InputError("apptainer is not on the PATH, and --image needs it")
    probe = [*_exec("none"), str(image), "true"]
    tried = subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return "none" if tried.returncode == 0 else "host"
