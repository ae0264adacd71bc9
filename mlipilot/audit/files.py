"""Publishing and hashing files so that a kill at any line leaves either the old state or the new one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlipilot.untrusted import open_untrusted

SECRET = 0o600
"""Mode of a file that only its owner may read, whatever the folder grants to others."""
PLAIN = 0o666
"""Mode of any other: less what the umask takes away, or as the folder's default ACL has it."""
_NO_LINK_BETWEEN_FOLDERS = (errno.EPERM, errno.EXDEV)  # of BeeGFS, of AFS; within one they link


def beside(path: Path) -> Path:
    """A new name in `path`'s folder for what is to become `path`; `audit/leftovers.py` knows its form."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def fsync_directory(directory: Path) -> None:
    """Make a rename inside `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _staged(path: Path, data: str | bytes, mode: int = PLAIN, folder: Path | None = None) -> Iterator[Path]:
    """`data`, durable under a temporary name in `folder`, which is `path`'s own unless told otherwise.

    Gone at the end unless it was renamed. Umask, setgid and default ACL rule its rights, as of any new file:
    the kernel applies them only to a mode that is given when the file is made.
    """
    temporary = beside(path if folder is None else folder / path.name)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data.encode() if isinstance(data, str) else data)
            stream.flush()
            os.fsync(stream.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, data: str | bytes, mode: int = PLAIN, staged_in: Path | None = None) -> None:
    """Publish `data` as `path`: temporary sibling, fsync, rename, fsync of the directory.

    `staged_in`: as of `publish_new`. Raises OSError (a full disk, say) with nothing half-written left behind.
    """
    with _staged(path, data, mode, staged_in) as temporary:
        temporary.replace(path)
    fsync_directory(path.parent)


def publish_new(path: Path, data: str | bytes, staged_in: Path | None = None) -> bool:
    """Publish `data` as `path` if that name is free: of any callers, on any hosts, exactly one gets True.

    Whole and durable as `write_atomic` makes it. Where somebody else may seal `path`'s folder meanwhile,
    `staged_in` names another folder of the file system for the temporary file, which would be sealed as
    well. Raises OSError.
    """
    if path.exists():
        return False
    with _staged(path, data, folder=staged_in) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            # A file server may have made the link and lost its answer; the second try then finds our own.
            if temporary.stat().st_nlink != 2:
                return False
        except OSError as error:
            if staged_in is None or error.errno not in _NO_LINK_BETWEEN_FOLDERS:
                raise
            return publish_new(path, data)
    fsync_directory(path.parent)
    return True


def write_json(path: Path, value: Any, mode: int = PLAIN) -> None:
    """Publish `value` as readable JSON with sorted keys; NaN and infinity are refused."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_atomic(path, text + "\n", mode)


def append_line(path: Path, line: str) -> None:
    """Append one line in a single write and make it durable.

    Raises OSError when the line could not be written whole; the torn part is cut off again.
    """
    data = line.encode() + b"\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PLAIN)
    try:
        size = os.fstat(descriptor).st_size
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError(28, "No space left on device", str(path))
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def whole_lines(path: Path) -> tuple[list[bytes], bytes]:
    """The lines that were appended to a file, and a torn one at its end; none where there is no file."""
    *lines, torn = (path.read_bytes() if path.is_file() else b"").split(b"\n")
    return lines, torn


def cut_torn_line(path: Path) -> None:
    """Cut off what a kill or a full disk in the middle of an append left; only for who may append."""
    lines, torn = whole_lines(path)
    if torn:
        with path.open("rb+") as stream:
            stream.truncate(sum(len(line) + 1 for line in lines))


def read_regular(path: Path, most_bytes: int) -> bytes:
    """A file that anybody may have left: no link is followed, no pipe waited for.

    Raises OSError, also for what is no regular file or a larger one.
    """
    with open_untrusted(path) as stream:
        data = stream.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes // 2**20} MiB", str(path))
    return data


def sha256_bytes(data: bytes) -> str:
    """Lower-case hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Lower-case hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_below(directory: Path) -> list[Path]:
    """Every file and symbolic link below `directory`, sorted by POSIX path; links are not followed.

    Raises PermissionError for a folder that may not be read: what is in it is not nothing.
    """
    found = [
        Path(root) / name
        for root, folders, names in os.walk(directory, onerror=_unless_gone)
        for name in [*names, *(f for f in folders if (Path(root) / f).is_symlink())]
    ]
    return sorted(found, key=lambda path: path.relative_to(directory).as_posix())


def _unless_gone(error: OSError) -> None:
    if isinstance(error, PermissionError):
        raise error


def tree_digest(directory: Path) -> str:
    """SHA-256 over the sorted `<sha256>  <path>` lines of a tree, as `sha256sum` would print them."""
    lines = [
        f"{sha256_file(path)}  {path.relative_to(directory).as_posix()}\n" for path in files_below(directory)
    ]
    return sha256_bytes("".join(lines).encode())


def allow_owner(handle: int, rights: int) -> None:
    """Give its owner `rights` to what a descriptor, which may be one of O_PATH, stands for."""
    mode = stat.S_IMODE(os.fstat(handle).st_mode)
    if mode & rights != rights:
        with contextlib.suppress(PermissionError):  # another user's
            Path(f"/proc/self/fd/{handle}").chmod(mode | rights)
