"""Reading the files of a hand-over: the two that are allowed, bounded, and no other; torch is not needed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mlipilot.errors import MlipilotError
from mlipilot.handover import CONFIG, WEIGHTS

MAX_BYTES = {CONFIG: 64 * 1024, WEIGHTS: 256 * 1024 * 1024}
_PICKLE_SUFFIXES = {".pt", ".pth", ".pkl", ".pickle", ".model", ".bin", ".ckpt", ".joblib", ".npy", ".npz"}


class HandoverError(MlipilotError):
    """The hand-over is refused; the text says why and how to mend it."""

    exit_status = 3


def read_files(model_dir: Path) -> dict[str, bytes]:
    """The bytes of the two files, through one directory handle so that no path can change meanwhile.

    Raises HandoverError for a file that is missing, too large, no regular file, or does not belong there.
    """
    try:
        handle = os.open(model_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise HandoverError(f"there is no {model_dir.name}/: the training wrote no model") from None
    except OSError as error:
        raise HandoverError(f"{model_dir.name}/ is no plain directory: {error.strerror}") from None
    try:
        for name in sorted(os.listdir(handle)):  # noqa: PTH208 - a handle, not a path
            if name not in MAX_BYTES:
                raise HandoverError(_stranger(name))
        return {name: _read_file(handle, name, limit) for name, limit in MAX_BYTES.items()}
    finally:
        os.close(handle)


def _stranger(name: str) -> str:
    if Path(name).suffix.lower() in _PICKLE_SUFFIXES:
        return f"{name!r} may hold a pickle, which is never loaded; hand over {CONFIG} and {WEIGHTS} only"
    return f"{name!r} does not belong here; hand over {CONFIG} and {WEIGHTS} only"


def _read_file(directory: int, name: str, limit: int) -> bytes:
    try:
        # a symbolic link is refused, and a named pipe does not block
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except FileNotFoundError:
        raise HandoverError(f"{name} is missing") from None
    except OSError as error:
        raise HandoverError(f"{name} is a link or cannot be read: {error.strerror}") from None
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        raise HandoverError(f"{name} is no regular file")
    with os.fdopen(handle, "rb") as stream:
        if found.st_size > limit:
            raise HandoverError(f"{name} has {found.st_size} bytes; at most {limit} are read")
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise HandoverError(f"{name} grew beyond {limit} bytes while it was read")
    return data
