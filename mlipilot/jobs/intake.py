"""Taking over what code of a candidate left: what its order says, bounded, and nothing else.

An attempt is hashed when it is sealed, and again whenever somebody verifies the run. So what is in it must be
little, and of names that a manifest can hold, whatever the candidate did: the files that are expected are
copied, up to a size, into files that nothing else holds; of the logs head and tail are kept; all the rest is
counted and removed. What is read is bounded by those sizes, what is removed by `MOST_ENTRIES`, what is held
by one batch of names. A candidate can make itself invalid by what it leaves, and do no more. All of it can be
done again, as after a kill: what was at fault is missing then.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlipilot.audit.discarding import Bin, Dropped, names_in, open_regular, opened_folder
from mlipilot.audit.files import PLAIN
from mlipilot.audit.manifest import MANIFEST
from mlipilot.paths import STDERR, STDOUT

LOG_HEAD_BYTES = 4 * 1024**2
"""Of a log that is too long: as much as a report reads of it."""
LOG_TAIL_BYTES = 1024**2
_OWN_BYTES = 1024**2  # of a file that trusted code wrote, which has some kilobytes
_CHUNK = 2**20
_LOGS = (STDOUT, STDERR)
_OWN = re.compile(
    r"(job|worker|begun|kept|ended|slurm|result)\.json"
    r"|exec\.(argv|env|binds|sources|seccomp|cpu_limit|memory_limit|cpu_spent|excess)"
    rf"|container\.[a-z]+|measured(\.host|\.log)?|measure\.sh|{re.escape(MANIFEST)}"
)
_UNUSABLE = (ValueError, OSError)


@dataclass(frozen=True)
class Taken:
    """What is wrong with what was expected, by the candidate's own fault, and what was dropped."""

    faults: list[str]
    dropped: Dropped


def take_over(attempt: Path, keeps: Mapping[str, int]) -> Taken:
    """Leave nothing in an attempt but its own files, its logs and, of its output, the files of `keeps`.

    `keeps` says how many bytes each may have. The attempt's processes must have ended. Raises OSError where
    the disk is full.
    """
    with opened_folder(attempt) as folder:
        intake = _Intake(Bin(folder))
        intake.own_files(folder)
        intake.expected(folder, "output", keeps, "")
        return intake.end()


def drop_lost(attempt: Path) -> None:
    """Of an attempt that was lost keep its own files and its logs, bounded as they are in `take_over`."""
    with suppress(OSError), opened_folder(attempt) as folder:
        intake = _Intake(Bin(folder))
        intake.own_files(folder)
        intake.nothing(folder, "output")
        intake.end()


class _Intake:
    def __init__(self, bin_: Bin) -> None:
        self._bin, self._faults = bin_, list[str]()

    def own_files(self, folder: int) -> None:
        """What lies beside the output: of trusted code, a log, or dropped."""
        self._bin.drop_but(folder, lambda n: n in ("output", *_LOGS) or bool(_OWN.fullmatch(n)), "")
        for name in filter(_OWN.fullmatch, names_in(folder)):
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode) or found.st_size > _OWN_BYTES:
                self._refuse(folder, name, name, "is not what trusted code wrote")
        for name in _LOGS:
            try:
                source = open_regular(name, folder)
            except FileNotFoundError:  # its command never began
                continue
            except _UNUSABLE:
                self._refuse(folder, name, name, "is no regular file")
            else:
                _publish(folder, name, _log(source))

    def expected(self, at: int, name: str, keeps: Mapping[str, int], inside: str) -> None:
        """The folder `name` with `keeps`, by their paths in it; `inside` is its own path in the output."""
        heads = {path.partition("/")[0] for path in keeps}
        try:
            with opened_folder(name, at) as folder:
                self._bin.drop_but(folder, lambda n: n in heads, f"output/{inside}")
                for head in sorted(heads):
                    below = {p.partition("/")[2]: n for p, n in keeps.items() if p.partition("/")[0] == head}
                    if "" in below:
                        self._take(folder, head, below[""], inside + head)
                    else:
                        self.expected(folder, head, below, f"{inside}{head}/")
        except FileNotFoundError:
            self._faults.append(f"there is no {inside or 'output'}")
        except (NotADirectoryError, PermissionError):
            self._refuse(at, name, inside or "output", "is no folder")

    def nothing(self, at: int, name: str) -> None:
        """Drop an entry."""
        self._bin.drop(at, name, name)

    def end(self) -> Taken:
        """Empty the bin."""
        self._bin.empty()
        if self._bin.dropped.left:
            self._faults.append("not all of what it left besides could be removed")
        return Taken(self._faults, self._bin.dropped)

    def _take(self, folder: int, name: str, most_bytes: int, shown: str) -> None:
        try:
            source = open_regular(name, folder)
        except FileNotFoundError:
            self._faults.append(f"there is no {shown}")
            return
        except _UNUSABLE:
            self._refuse(folder, name, shown, "is no regular file")
            return
        size = os.fstat(source).st_size
        if size > most_bytes:
            os.close(source)
            self._refuse(folder, name, shown, f"has {size} bytes; at most {most_bytes} are taken")
        else:
            _publish(folder, name, _bytes(source, [(0, size)]))

    def _refuse(self, folder: int, name: str, shown: str, why: str) -> None:
        self._bin.drop(folder, name, shown)
        self._faults.append(f"{shown} {why}")


def _log(source: int) -> Iterator[bytes]:
    """A log, or its head and its tail and a line that says what was cut out between them."""
    size = os.fstat(source).st_size
    cut = size - LOG_HEAD_BYTES - LOG_TAIL_BYTES
    if cut <= 0:
        yield from _bytes(source, [(0, size)])
        return
    words = f"\n[mlipilot: {cut} of {size} bytes were cut out here]\n".encode()
    yield from _bytes(source, [(0, LOG_HEAD_BYTES), words, (size - LOG_TAIL_BYTES, LOG_TAIL_BYTES)])


def _bytes(source: int, parts: Iterable[tuple[int, int] | bytes]) -> Iterator[bytes]:
    """Parts of a file, by where they begin and how long they are, and bytes between; closes it."""
    with os.fdopen(source, "rb") as stream:
        for part in parts:
            if isinstance(part, bytes):
                yield part
                continue
            start, left = part
            stream.seek(start)
            while left > 0 and (chunk := stream.read(min(left, _CHUNK))):
                left -= len(chunk)
                yield chunk


def _publish(folder: int, name: str, chunks: Iterator[bytes]) -> None:
    """Put a new file in the place of one: whoever still holds that cannot change this."""
    fresh = f".{name}.{secrets.token_hex(4)}"
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PLAIN, dir_fd=folder)
    try:
        with os.fdopen(handle, "wb") as stream:
            for chunk in chunks:
                stream.write(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        os.unlink(fresh, dir_fd=folder)
        raise
