"""Taking one step out of a recipe that later steps have gone on from: the reverse of its patch."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlipilot.audit.files import files_below, sha256_bytes


def tree(directory: Path) -> dict[str, bytes]:
    """The files of a directory by their names in it. Raises OSError for what is no regular file."""
    found = {}
    for path in files_below(directory):
        if path.is_symlink() or not path.is_file():
            raise OSError(f"{path}: not a regular file")
        found[path.relative_to(directory).as_posix()] = path.read_bytes()
    return found


def digest_of(files: Mapping[str, bytes]) -> str:
    """What `tree_digest` gives of a directory of these files."""
    lines = [f"{sha256_bytes(data)}  {name}\n" for name, data in sorted(files.items())]
    return sha256_bytes("".join(lines).encode())


def undone(
    before: Mapping[str, bytes], after: Mapping[str, bytes], now: Mapping[str, bytes]
) -> dict[str, bytes] | None:
    """The files `now` without what led from `before` to `after`; None where a later step has changed that.

    A file that came or went, or is no text in UTF-8, is taken as a whole.
    """
    found = dict(now)
    for name in before.keys() | after.keys():
        old, new, here = before.get(name), after.get(name), now.get(name)
        if old == new:
            continue
        if old is None and here == new:
            del found[name]
            continue
        back = old if here == new else _undone_lines(old, new, here)
        if back is None:
            return None
        found[name] = back
    return found


def _undone_lines(before: bytes | None, after: bytes | None, now: bytes | None) -> bytes | None:
    if before is None or after is None or now is None:
        return None
    if any(b"\0" in text or not _is_text(text) for text in (before, after, now)):
        return None
    old, new, here = (text.splitlines(keepends=True) for text in (before, after, now))
    place = dict(_same_places(new, here))
    place |= {-1: -1, len(new): len(here)}  # the ends of a file belong together
    changes = []
    for what, i, j, a, b in _differences(new, old):
        first, last = place.get(i - 1), place.get(j)
        if what == "equal":
            continue
        whole = [place.get(line) for line in range(i, j)]
        start = whole[0] if whole else None if first is None else first + 1
        if start is None or whole != list(range(start, start + j - i)):
            return None
        if not whole and last != start:  # where lines went, others have come since
            return None
        changes.append((start, start + j - i, old[a:b]))
    for start, end, lines in reversed(changes):
        here[start:end] = lines
    return b"".join(here)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _same_places(one: list[bytes], other: list[bytes]) -> Iterator[tuple[int, int]]:
    for what, i, j, a, _ in _differences(one, other):
        if what == "equal":
            yield from zip(range(i, j), range(a, a + j - i), strict=True)


def _differences(one: list[bytes], other: list[bytes]) -> list[tuple[str, int, int, int, int]]:
    return list(difflib.SequenceMatcher(None, one, other, autojunk=False).get_opcodes())
