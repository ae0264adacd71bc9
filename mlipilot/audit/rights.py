"""Who may read and write a run: what the operating system refuses, in words that name file, owner and mend.

A run may be carried by several users of a group. Its files get the rights that umask, setgid and default
ACLs give (`audit/files.py`); where those keep somebody out, they are told once and nothing is written.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from mlipilot.errors import InputError
from mlipilot.paths import LineagePaths, RunPaths

_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def refusal(error: OSError) -> InputError | None:
    """The clear error for what the operating system did not allow; None for any other failure."""
    if error.errno not in _REFUSED:
        return None
    if not isinstance(error.filename, str | os.PathLike):
        return InputError(
            f"the operating system refuses this to {user_name()}: {error.strerror}",
            mend="have whoever may do it type it",
        )
    path = Path(error.filename).absolute()
    return _no_right(*_refused_place(path), error.strerror or "refused")


def check_may_write(*paths: Path) -> None:
    """Whether each of `paths` can be written, or made where it is missing: better asked before any work.

    Raises InputError naming the first that cannot.
    """
    for path in paths:
        place = _nearest(path.absolute())
        if not _may(place, "write"):
            raise _no_right(place, "write", "refused")


def written_by_a_controller(run: RunPaths, lineage: LineagePaths) -> Iterator[Path]:
    """The files and folders that a controller of `lineage` appends to or makes files in."""
    yield from (run.root, lineage.root, lineage.ledger, lineage.transcript)
    yield from (lineage.controller, lineage.controller / "lock", run.findings)
    yield from (run.prepare_lock, run.findings_lock, run.report_lock, run.figures, run.export)
    if run.spool.exists():
        yield from (run.spool / folder for folder in ("requests", "cancel", "endpoint"))
    yield from (lineage.iteration(0).parent, lineage.revision(0, 0).parent)
    # Of iterations, only the newest may still be open.
    newest = max(lineage.iteration(0).parent.glob("[0-9]*"), default=None)
    if newest is not None:
        yield from (newest, *newest.glob("seed-*/"), *newest.glob("seed-*/*/"))


def user_name(uid: int | None = None) -> str:
    """What a user is called, this process's if none is given; the number of one without a name."""
    uid = os.geteuid() if uid is None else uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _refused_place(path: Path) -> tuple[Path, str]:
    """Which file or folder kept the user from `path`, and from what."""
    place = _nearest(path)
    if place != path:
        return place, "write" if _may(place, "read") else "read"
    for wish in ("read", "write"):
        if not _may(path, wish):
            return path, wish
    return path.parent, "write"  # what is renamed or removed is an entry of its folder


def _nearest(path: Path) -> Path:
    """`path`, or the nearest folder above it that can be seen."""
    while path != path.parent:
        try:
            path.lstat()
        except OSError:
            path = path.parent
        else:
            break
    return path


def _may(place: Path, wish: str) -> bool:
    needed = os.R_OK if wish == "read" else os.W_OK
    if place.is_dir():
        needed |= os.X_OK
    return os.access(place, needed, effective_ids=os.access in os.supports_effective_ids)


def _no_right(place: Path, wish: str, said: str) -> InputError:
    me = user_name()
    try:
        found, is_read_only = place.stat(), bool(os.statvfs(place).f_flag & os.ST_RDONLY)
    except OSError:
        return InputError(f"{me} may not {wish} here ({said})", file=place, mend="see the folder's rights")
    if wish == "write" and is_read_only:
        mend = (
            "work where it can be written; `status`, `show`, `verify`, `report --output DIR` only read a run"
        )
        return InputError("the file system is read-only here", file=place, mend=mend)
    what = "folder" if stat.S_ISDIR(found.st_mode) else "file"
    owner, group = user_name(found.st_uid), _group_name(found.st_gid)
    return InputError(
        f"{me} may not {wish} this {what}: it is {owner}'s, of group {group}, {stat.filemode(found.st_mode)}",
        file=place,
        mend=_mend(place, "rX" if wish == "read" else "rwX", found),
    )


def _mend(place: Path, rights: str, found: os.stat_result) -> str:
    if found.st_uid == os.geteuid():
        return f"`chmod u+{rights} {place}`"
    run = next((folder for folder in (place, *place.parents) if _is_run(folder)), None)
    in_group = found.st_gid in (os.getegid(), *os.getgroups())
    if run is None:
        command = f"{'' if in_group else f'chgrp GROUP {place} && '}chmod g+{rights} {place}"
    else:  # not the key of a served model, which stays its owner's
        group = "" if in_group else "-exec chgrp GROUP {} + "
        command = f"find {run} ! -name endpoint.json {group}-exec chmod g+{rights} {{}} +"
        command += " -type d -exec chmod g+s {} +" if "w" in rights else ""
    return (
        f"{user_name(found.st_uid)} types `{command}`{'' if in_group else ' with a GROUP that both are in'}; "
        "for later runs: `umask 002`, and a folder with `chmod g+s` or default ACLs, before they begin"
    )


def _is_run(folder: Path) -> bool:
    try:
        return RunPaths(folder).spec.exists()
    except OSError:
        return False


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
