"""What a directory's filesystem really does; run as a program of its own, because a dead file server hangs.

    python filesystem_probe.py DIRECTORY

Prints one JSON object: the directory that was tried (the nearest that exists), its free bytes, and for each
property null or what did not hold. Standard library only: it is run by path.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path


def nearest(path: Path) -> Path:
    """`path`, or the nearest directory above it that exists."""
    path = path.resolve()
    while not path.is_dir():
        path = path.parent
    return path


def rename(folder: Path) -> str | None:
    """Rename over a file, and make the directory durable. Returns what went wrong, None where nothing did."""
    old, new = folder / "state", folder / ".state"
    old.write_text("old")
    with new.open("w") as stream:
        stream.write("new")
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(old)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return None if old.read_text() == "new" and not new.exists() else "a rename did not replace the file"


def link(folder: Path) -> str | None:
    """Link twice: by a link made once one worker of many claims a job. Returns what went wrong, or None."""
    source, claim = folder / "worker", folder / "claim"
    source.write_text("")
    os.link(source, claim)
    try:
        os.link(source, claim)
    except FileExistsError:
        return None
    return "a link was made twice"


def lock(folder: Path) -> str | None:
    """Lock in one process, then in another, which is refused till then. Returns what went wrong, or None."""
    path = folder / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    got_it_while_held = _other_process_locks(path)
    os.close(descriptor)
    if got_it_while_held:
        return "two processes held the same flock"
    return None if _other_process_locks(path) else "a flock was not given back when its holder closed it"


def _other_process_locks(path: Path) -> bool:
    child = os.fork()
    if child == 0:
        descriptor = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def _tried(probe: Callable[[Path], str | None], folder: Path) -> str | None:
    try:
        return probe(folder)
    except OSError as error:
        return f"{error.strerror or error}"


def main(target: str) -> None:
    """Try everything in a temporary directory and print what was found."""
    directory = nearest(Path(target))
    found: dict[str, str | int | None] = {"directory": str(directory), "writable": None}
    try:
        folder = Path(tempfile.mkdtemp(dir=directory, prefix=".mlipilot-doctor-"))
    except OSError as error:
        found["writable"] = error.strerror or str(error)
    else:
        try:
            found |= {probe.__name__: _tried(probe, folder) for probe in (rename, link, lock)}
            space = os.statvfs(folder)
            found["free_bytes"] = space.f_bavail * space.f_frsize
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
