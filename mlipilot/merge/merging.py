"""Copying the lineages of other runs of the same campaign into one run.

All is checked before anything is copied. A lineage is staged, checked against the run that it is to belong
to, and renamed: whenever this is killed, a lineage is there whole or not at all, and the next call goes on.
Nothing that is there is overwritten.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from mlipilot.audit.evidence import keep_evidence
from mlipilot.audit.files import beside, fsync_directory, publish_new, read_regular
from mlipilot.audit.ledger import read_ledger
from mlipilot.audit.places import clusters_of
from mlipilot.audit.protected import differences, hash_protected, read_protected
from mlipilot.audit.rights import check_may_write
from mlipilot.controller.findings import share_lessons
from mlipilot.controller.verification import verify_lineage
from mlipilot.errors import InputError, PausedError
from mlipilot.merge.checks import check_idle, check_run, check_same_campaign
from mlipilot.merge.copying import copy_file, copy_tree, first_difference
from mlipilot.paths import LineagePaths, RunPaths

_DIGEST_BYTES = 2**12
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def merge_runs(into: RunPaths, sources: Sequence[RunPaths], tell: Callable[[str], None]) -> None:
    """Copy the lineages of `sources` into the run `into`, which is made where there is none.

    Raises InputError for what does not belong together, naming it; PausedError on a full disk.
    """
    for source in sources:
        if into.root in (source.root, *source.root.parents) or source.root in into.root.parents:
            raise InputError(
                f"a run is not merged with itself, nor into a part of it: {into.root}", file=source.root
            )
        check_run(source)
    first = into if into.spec.exists() else sources[0]
    for source in sources:
        check_same_campaign(first, source)
        check_idle(source)
    check_idle(into)
    fresh = _not_there_yet(into, sources)
    for lineage in fresh:
        _verify(lineage, RunPaths(lineage.root.parent), lineage)
    with _room(into):
        if not into.spec.exists():
            _begin(sources[0], into)
        check_may_write(into.root, into.prepare_lock, into.findings, into.findings_lock, into.merged)
        with FileLock(into.prepare_lock), _staging(into.merging):
            for source in sources:
                if source.image_digest.exists():  # for jobs from now on, the first one's image
                    publish_new(into.image_digest, read_regular(source.image_digest, _DIGEST_BYTES))
            for source in sources:
                for lineage in source.lineages():
                    if lineage in fresh:
                        _copy_lineage(lineage, into)
                        tell(f"lineage {lineage.number} of {lineage.root.parent} is copied")
                    share_lessons(into, lineage.number, read_ledger(into.lineage(lineage.number).ledger))
                keep_evidence(source, into, _name(source))
    known = sum(len(source.lineages()) for source in sources) - len(fresh)
    if known:
        tell(f"{known} {'was' if known == 1 else 'were'} there already, byte for byte the same")


def _not_there_yet(into: RunPaths, sources: Sequence[RunPaths]) -> list[LineagePaths]:
    """The lineages to be copied, by number. Raises InputError where two of one number differ."""
    known = {lineage.number: lineage for lineage in into.lineages()}
    fresh = []
    for lineage in (lineage for source in sources for lineage in source.lineages()):
        there = known.setdefault(lineage.number, lineage)
        if there is lineage:
            fresh.append(lineage)
        elif (name := first_difference(there.root, lineage.root)) is not None:
            raise InputError(
                f"{name} differs from that in {there.root}: there are two lineages of a number",
                file=lineage.root,
                mend="let each cluster carry its own (`sbatch --array=4-7`); one that went on after "
                "it was copied is merged into a new directory",
            )
    return sorted(fresh, key=lambda lineage: lineage.number)


@contextmanager
def _room(into: RunPaths) -> Iterator[None]:
    """A full disk is a pause."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise PausedError(f"no space is left for {into.root}: free some, and type it again") from error


@contextmanager
def _staging(folder: Path) -> Iterator[None]:
    """An empty folder, which is gone at the end; what a killed merge left in it goes before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _begin(source: RunPaths, into: RunPaths) -> None:
    """What lineages share, in a new directory that is there whole or not at all."""
    if into.root.exists():
        mend = "name a run, or a directory that is not there yet"
        raise InputError("this is no run", file=into.root, mend=mend)
    into.root.parent.mkdir(parents=True, exist_ok=True)
    staged = RunPaths(beside(into.root))
    try:
        staged.root.mkdir()
        for path in (source.spec, source.scorecard, source.protected):
            copy_file(path, staged.root / path.name)
        for folder in filter(Path.exists, (source.recipe, source.modules, source.data)):
            copy_tree(folder, staged.root / folder.name)
        torn = differences(read_protected(staged.protected), hash_protected(staged.root))
        if torn := [name for name in torn if name.startswith("run/")]:
            mend = "copy the run again, whole"
            raise InputError(
                f"{torn[0].removeprefix('run/')} is not as the run has it on record",
                file=source.root,
                mend=mend,
            )
        os.sync()
        staged.root.rename(into.root)
    finally:
        shutil.rmtree(staged.root, ignore_errors=True)


def _copy_lineage(lineage: LineagePaths, into: RunPaths) -> None:
    """Raises InputError for a lineage that does not verify."""
    staged = LineagePaths(into.merging / lineage.root.name)
    copy_tree(lineage.root, staged.root)
    _verify(staged, into, lineage)
    os.sync()
    target = into.lineage(lineage.number).root
    if target.exists():
        raise InputError("somebody began this lineage meanwhile", file=target)
    staged.root.rename(target)
    fsync_directory(into.root)


def _verify(copy: LineagePaths, run: RunPaths, source: LineagePaths) -> None:
    problems = verify_lineage(run, copy)
    if problems:
        said = problems[0].replace(str(copy.root), str(source.root))
        mend = f"if it is a torn copy, copy it again; `mlipilot verify {source.root.parent}` says all"
        raise InputError(f"this lineage does not verify: {said}", file=source.root, mend=mend)


def _name(source: RunPaths) -> str:
    """Where what the submitter of `source` left is kept: the same name each time."""
    lineages = source.lineages()
    clusters = [name for lineage in lineages for name in clusters_of(read_ledger(lineage.ledger))]
    cluster = re.sub(r"[^A-Za-z0-9_-]", "_", clusters[0])[:40] if clusters else "run"
    return f"{cluster}-{lineages[0].number}"
