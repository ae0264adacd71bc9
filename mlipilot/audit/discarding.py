"""Removing what code of a candidate left, of any depth, number, mode or name, and counting it.

Everything goes by descriptors and single names, and no link is followed. A folder is moved up before it is
emptied, so however deep folders lie in each other, two descriptors and one batch of names are held, and no
path is long. A kill leaves folders that are removed like anything else.
"""

from __future__ import annotations

import itertools
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel, Field

from mlipilot.audit.files import allow_owner
from mlipilot.untrusted import clip

MOST_ENTRIES = 5_000_000
"""Files and folders that are removed at a time, in minutes: who is not dead yet could make more for ever."""
_BATCH = 2**16
_SHOWN, _LONGEST = 5, 80
_UNOPENED = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC  # asks for no rights, waits for no pipe


class Dropped(BaseModel, extra="forbid"):
    """What a candidate left besides what was expected of it, and was removed."""

    entries: int = Field(default=0, description="files, folders and all else")
    bytes: int = Field(default=0, description="of the files, by their lengths")
    names: list[str] = Field(default=[], description="a few of them, as ASCII with escapes")
    left: bool = Field(default=False, description="not all of it could be removed")

    @property
    def words(self) -> str:
        """For people."""
        and_more = ", …" if self.entries > len(self.names) else ""
        return f"{self.entries} entries of {self.bytes} bytes were dropped: {', '.join(self.names)}{and_more}"


@contextmanager
def opened_folder(name: str | Path, at: int | None = None) -> Iterator[int]:
    """A descriptor of a folder, which its owner can list and empty from then on. Raises OSError."""
    handle = os.open(name, _UNOPENED | os.O_DIRECTORY, dir_fd=at)
    try:
        allow_owner(handle, stat.S_IRWXU)
        folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=handle)
    finally:
        os.close(handle)
    try:
        yield folder
    finally:
        os.close(folder)


def open_regular(name: str, at: int) -> int:
    """A descriptor to read a regular file by. Raises ValueError for what is none, and OSError."""
    handle = os.open(name, _UNOPENED, dir_fd=at)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("no regular file")
        allow_owner(handle, stat.S_IRUSR)
        return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(handle)


def names_in(folder: int) -> list[str]:
    """Names in a folder, and not more of them than can be held."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in itertools.islice(entries, _BATCH)]


class Bin:
    """What is dropped, counted in `dropped`. Folders wait in `place` until they are emptied."""

    def __init__(self, place: int) -> None:
        self._place, self._moved, self.dropped = place, 0, Dropped()
        self._prefix = f".dropped.{secrets.token_hex(4)}."

    def drop(self, at: int, name: str, shown: str | None = None) -> bool:
        """Remove an entry of the folder `at`; False where that cannot be. `shown`: its name on record."""
        counted = self.dropped
        if counted.entries >= MOST_ENTRIES:
            return False
        try:
            found = os.stat(name, dir_fd=at, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                with opened_folder(name, at):  # to be moved it must be writable
                    os.rename(name, self._waiting(self._moved), src_dir_fd=at, dst_dir_fd=self._place)
                self._moved += 1
            else:
                os.unlink(name, dir_fd=at)
                counted.bytes += found.st_size if stat.S_ISREG(found.st_mode) else 0
        except FileNotFoundError:  # somebody else was quicker
            return True
        except OSError:
            return False
        counted.entries += 1
        if shown is not None and len(counted.names) < _SHOWN:
            counted.names.append(clip(ascii(shown)[1:-1], _LONGEST))
        return True

    def drop_but(self, at: int, stays: Callable[[str], bool], shown_in: str | None = None) -> None:
        """Remove every entry of a folder, but for those that stay."""
        while True:
            strangers = [
                name for name in names_in(at) if not stays(name) and not name.startswith(self._prefix)
            ]
            done = [self.drop(at, n, None if shown_in is None else shown_in + n) for n in strangers]
            if not any(done):  # nothing is left, or nothing that can be removed
                self.dropped.left |= bool(strangers)
                return

    def empty(self) -> None:
        """Remove the folders that were dropped, and those in them, which are dropped first."""
        for number in itertools.count():
            if number >= self._moved:
                return
            try:
                with opened_folder(self._waiting(number), self._place) as folder:
                    self.drop_but(folder, lambda _: False)
                os.rmdir(self._waiting(number), dir_fd=self._place)
            except OSError:
                self.dropped.left = True

    def _waiting(self, number: int) -> str:
        return f"{self._prefix}{number}"


def remove(*paths: Path) -> None:
    """Remove whatever there is at each path, as far as that can be done."""
    for path in paths:
        with suppress(OSError), opened_folder(path.parent) as folder:
            bin_ = Bin(folder)
            bin_.drop(folder, path.name)
            bin_.empty()
