"""Requests of which nothing more is to come: the submitter keeps a line of each in one file of the spool.

`sbatch/submitter_settled.sh` writes it: the request's name, `key=value`s and `end`, separated by tabs. A line
is there before the request's own files go, so whoever misses one of those finds it here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from mlipilot.untrusted import open_untrusted

_LINE = re.compile(rb"(mlp-[a-z0-9.-]{18,98})\t([\t -~]*)\tend")


class SettledRequests:
    """What `spool/settled` says, by the request's name. What was read once stands."""

    def __init__(self, spool: Path) -> None:
        self._path = spool / "settled"
        self._file: tuple[int, int] | None = None
        self._read_bytes = 0
        self._lines: dict[str, str] = {}

    def names(self) -> set[str]:
        """The names of all of them."""
        self._read_on()
        return set(self._lines)

    def get(self, name: str) -> Mapping[str, str] | None:
        """What is said of a request, or None while it is not settled."""
        self._read_on()
        line = self._lines.get(name)
        return None if line is None else dict(part.partition("=")[::2] for part in line.split("\t"))

    def _read_on(self) -> None:
        """What came since the last look; a last line that is not whole has not come yet.

        The file is opened each time: only that makes a file server's client look for news.
        """
        try:
            opened = open_untrusted(self._path)
        except PermissionError:
            raise
        except OSError:
            return  # the submitter puts the file in its place
        with opened as stream:
            about = os.fstat(stream.fileno())
            file = about.st_dev, about.st_ino
            if file != self._file or about.st_size < self._read_bytes:
                self._file, self._read_bytes = file, 0
            if about.st_size == self._read_bytes:
                return
            stream.seek(self._read_bytes)
            whole, newline, _ = stream.read().rpartition(b"\n")
        self._read_bytes += len(whole) + len(newline)
        for line in whole.split(b"\n"):
            match = _LINE.fullmatch(line)
            if match is not None:
                # A second line may be of who found half of the request's files gone.
                self._lines.setdefault(match[1].decode(), match[2].decode())
