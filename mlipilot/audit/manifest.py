"""`manifest-sha256.txt`: written last, it says that a directory is finished and what is in it.

The syntax is that of `sha256sum -c` (and of BagIt, RFC 8493), so a stranger verifies it without MLIPilot.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from mlipilot.audit.discarding import opened_folder, remove
from mlipilot.audit.files import files_below, sha256_bytes, sha256_file, write_atomic
from mlipilot.audit.leftovers import is_staged_claim

MANIFEST = "manifest-sha256.txt"
_LONGEST_PATH = 1000  # of a folder: deeper ones are nobody's but who would break what walks them
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


def write_manifest(directory: Path, files: Iterable[Path] | None = None) -> str:
    """Seal `directory` (all files below it, or just `files`) and return the manifest's own SHA-256.

    Raises ValueError as `manifest_text` does, and OSError.
    """
    text = manifest_text(directory, files)
    write_atomic(directory / MANIFEST, text)
    return sha256_bytes(text.encode())


def manifest_text(directory: Path, files: Iterable[Path] | None = None) -> str:
    """The manifest that would seal `directory`; hashing takes its time.

    A claim that a late worker stages beside its job's attempts, and takes away again, is left out. Raises
    ValueError for a symbolic link or a name that no line of a manifest could hold: neither can be sealed.
    """
    target = directory / MANIFEST
    lines = []
    for path in sorted(files_below(directory) if files is None else files):
        name = path.relative_to(directory).as_posix()
        if path == target or is_staged_claim(path):
            continue
        if path.is_symlink() or not all(map(_is_sealable, Path(name).parts)):
            raise ValueError(f"cannot seal {str(path)!r}: a link, or a name that no manifest can hold")
        lines.append(f"{sha256_file(path)}  {name}\n")
    return "".join(lines)


def _is_sealable(name: str) -> bool:
    """Whether a line can hold a name and give it back; what breaks lines is of many kinds, none printed."""
    return name.isprintable() and "\\" not in name and not name.startswith(" ")


def is_finished(directory: Path) -> bool:
    """Whether `directory` was sealed."""
    return (directory / MANIFEST).is_file()


def read_manifest(directory: Path) -> dict[str, str]:
    """The sealed files' SHA-256 by POSIX path. Raises ValueError naming a line that is not of the syntax."""
    entries = {}
    text = (directory / MANIFEST).read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{directory / MANIFEST}:{number}: not a manifest line")
        if match[2] in entries:
            raise ValueError(f"{directory / MANIFEST}:{number}: this file is named twice")
        entries[match[2]] = match[1]
    return entries


def check_manifest(directory: Path, *, allow_extra: bool = False) -> list[str]:
    """What differs from the seal, one line a file: changed, missing, or (unless `allow_extra`) unlisted."""
    unfinished = [f"{directory}: not finished ({MANIFEST} is missing)"]
    if not is_finished(directory):
        return unfinished
    try:
        sealed = read_manifest(directory)
    except FileNotFoundError:  # a report that is made anew begins with that
        return unfinished
    except ValueError as error:
        return [str(error)]
    problems = []
    for name, digest in sealed.items():
        path = directory / name
        found = _digest(path)
        if found is None:
            problems.append(f"{path}: missing")
        elif found != digest:
            problems.append(f"{path}: changed (SHA-256 differs from {MANIFEST})")
    if not allow_extra:
        files = [path for path in files_below(directory) if not is_staged_claim(path)]
        present = {path.relative_to(directory).as_posix() for path in files} - {MANIFEST}
        problems += [f"{directory / name}: not in {MANIFEST}" for name in sorted(present - sealed.keys())]
    return problems


def _digest(path: Path) -> str | None:
    """A regular file's SHA-256; None where there is none, or none any more."""
    with contextlib.suppress(FileNotFoundError):
        return sha256_file(path) if path.is_file() and not path.is_symlink() else None
    return None


def drop_unsealable(directory: Path) -> None:
    """Remove what a manifest cannot hold: links, sockets, pipes, names as `_is_sealable` says, empty folders.

    A folder goes with all in it where its name, or its path from `directory`, is none. For directories that
    code of a candidate wrote to.
    """
    folders, longest = [directory], len(bytes(directory)) + _LONGEST_PATH
    for folder in folders:  # which grow meanwhile
        with contextlib.suppress(OSError), opened_folder(folder) as handle, os.scandir(handle) as entries:
            for entry in list(entries):
                path = folder / entry.name
                is_folder = entry.is_dir(follow_symlinks=False)
                is_held = entry.is_file(follow_symlinks=False) or (is_folder and len(bytes(path)) <= longest)
                if not (is_held and _is_sealable(entry.name)):
                    remove(path)
                elif is_folder:
                    folders.append(path)
    for folder in reversed(folders[1:]):
        with contextlib.suppress(OSError):  # not empty: it stays
            folder.rmdir()
