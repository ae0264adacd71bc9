"""Copying what another machine wrote: folders and regular files by plain names, and nothing else.

A source may be hostile: no link in it is followed, no pipe is waited for, no device is read.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path

from mlipilot.audit.claims import LOCK
from mlipilot.audit.files import sha256_file
from mlipilot.errors import InputError

_TARGET = re.compile(r"iterations/[0-9]{4,9}")
_MEND = "no record of a run speaks of such: if you trust the rest, take it away there"


def files_of(top: Path) -> dict[str, Path]:
    """Every file below the folder `top`, by its path there, and a lineage's link `incumbent`.

    Raises InputError naming what no run has: another link, a pipe, a device, a socket, a name that cannot be
    shown. Raises OSError for what cannot be read.
    """
    if not stat.S_ISDIR(top.lstat().st_mode):
        raise InputError("this is no folder", file=top, mend=_MEND)
    found = {}
    for folder, folders, names, handle in os.fwalk(top, onerror=_raise):
        for name in (*folders, *names):
            if not name.isprintable() or "\\" in name:
                where = Path(folder)
                raise InputError(f"there is a file of the name {name!a}", file=where, mend=_MEND)
            path, mode = Path(folder) / name, os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                continue
            if stat.S_ISLNK(mode) and not _is_incumbent(path, top):
                raise InputError(f"this is a link, to {str(path.readlink())!a}", file=path, mend=_MEND)
            if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
                raise InputError("this is neither a file nor a folder", file=path, mend=_MEND)
            found[path.relative_to(top).as_posix()] = path
    return found


def _raise(error: OSError) -> None:
    raise error


def _is_incumbent(path: Path, top: Path) -> bool:
    return path == top / "incumbent" and _TARGET.fullmatch(str(path.readlink())) is not None


def copy_tree(source: Path, target: Path) -> None:
    """Make the folder `target` a copy of `source`, without the lock of a controller. Raises as `files_of`."""
    target.mkdir(parents=True)
    for name, path in files_of(source).items():
        copy = target / name
        if copy.parent.name == "controller" and copy.name == LOCK:
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            copy.symlink_to(path.readlink())
        else:
            copy_file(path, copy)


def copy_file(source: Path, target: Path) -> None:
    """Copy a regular file that is no link to a name that is free. Raises OSError."""
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InputError("this is no regular file", file=source, mend=_MEND)
        with target.open("xb") as copy:
            shutil.copyfileobj(stream, copy, 2**20)


def first_difference(first: Path, second: Path) -> str | None:
    """The first file in which two copies of a lineage differ, by its path there; who carried it apart.

    Raises as `files_of`.
    """
    mine, other = files_of(first), files_of(second)
    for name in sorted(mine.keys() | other.keys()):
        if not name.startswith("controller/") and not _is_same(mine.get(name), other.get(name)):
            return name
    return None


def _is_same(first: Path | None, second: Path | None) -> bool:
    if first is None or second is None:
        return False
    if first.is_symlink() or second.is_symlink():
        return first.is_symlink() and second.is_symlink() and first.readlink() == second.readlink()
    return first.stat().st_size == second.stat().st_size and sha256_file(first) == sha256_file(second)
