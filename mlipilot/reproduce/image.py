"""The recorded image: refused unless its SHA-256 is the record's, and what of a reproduction it does.

The data set is rebuilt by the toolkit in it, and each training and evaluation runs in a container of its own,
by the command line of a Slurm job's. This toolkit, outside, hashes, seals and compares.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mlipilot.audit.files import sha256_file
from mlipilot.controller.prepare import IMAGE_DIGEST
from mlipilot.errors import CheckFailedError, InputError
from mlipilot.jobs.container_commands import (
    PYTHON,
    Container,
    Network,
    container_environment,
    find_program,
    trusted_argv,
)
from mlipilot.jobs.measured import best_network
from mlipilot.paths import RunPaths
from mlipilot.programs import ask

_DATA_S = 24 * 3600


def check_image(image: Path, recorded: str | None) -> None:
    """Raises InputError unless the SHA-256 of `image` is the one that the run recorded."""
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


def is_inside(recorded: str | None) -> bool:
    """Whether this process runs in the image that the run recorded."""
    return recorded is not None and os.environ.get(IMAGE_DIGEST) == recorded


def network_of_containers(image: Path) -> Network:
    """How containers of the image can be kept from the network here, as measured from inside.

    Raises InputError without Apptainer and SingularityCE.
    """
    if shutil.which(find_program()) is None:
        mend = "reproduce it on a host that has one; containers cannot be started inside an image"
        raise InputError("neither apptainer nor singularity is on the PATH, and --image needs one", mend=mend)
    return best_network(image)


def rebuild_data(output: RunPaths, container: Container) -> None:
    """Build the data set and the reference values of a reproduction with the image's own toolkit.

    Raises CheckFailedError with what it said.
    """
    argv = [PYTHON, "-m", "mlipilot.reproduce", str(output.root)]
    command = trusted_argv(output.root, container.image, argv, network=container.network)
    answer = ask(command, timeout_s=_DATA_S, environment=container_environment())
    if not answer.ok:
        raise CheckFailedError(f"the image did not rebuild the data set: {answer.words}")
