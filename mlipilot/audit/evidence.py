"""What submitters left of a run's jobs: in its own spool, and in `merged/` what came with copied lineages.

No digest holds any of it: it lies in the run, and whoever owns the run can rewrite it.
"""

from __future__ import annotations

import re
from pathlib import Path

from mlipilot.audit.accounts import EXTRACT, MOST_BYTES, Extract, extract_in
from mlipilot.audit.files import read_regular, write_atomic
from mlipilot.paths import RunPaths

NAME = re.compile(r"mlp-([0-9a-f]{16})-[a-z0-9][a-z0-9.-]{0,80}")
"""Of a job and its request: the hexadecimal digits begin the hash of a record of a ledger."""
_REQUESTED = "requested"
"""In a folder of `merged/`: the names of all requests, one a line, without what was asked for."""
_SETTLED = "settled"
"""In a spool: a line for each request of which nothing more is to come, its name and a tab first."""
_FOLDER = re.compile(r"[A-Za-z0-9._-]{1,80}")


def spools(run: RunPaths) -> list[Path]:
    """The run's own spool, then a folder for each run whose lineages were copied here."""
    try:
        copied = sorted(path for path in run.merged.iterdir() if _FOLDER.fullmatch(path.name))
    except (FileNotFoundError, NotADirectoryError):
        copied = []
    if run.merged.is_symlink():
        copied = []
    return [run.spool, *(path for path in copied if path.is_dir() and not path.is_symlink())]


def requested_names(spool: Path) -> set[str]:
    """The names of all jobs that were ever asked for there."""
    names = {path.name for path in spool.glob("requests/mlp-*")}
    for file in (_REQUESTED, _SETTLED):
        try:
            text = read_regular(spool / file, MOST_BYTES).decode("utf-8", errors="replace")
        except OSError:
            continue
        names |= {line.partition("\t")[0] for line in text.split("\n")[:-1]}  # a torn end has no name yet
    return {name for name in names if NAME.fullmatch(name)}


def extracts(run: RunPaths) -> dict[Path, Extract]:
    """Each submitter's extract of its cluster's accounts, by the folder in which it is."""
    found = {spool: extract_in(spool) for spool in spools(run)}
    return {spool: extract for spool, extract in found.items() if extract is not None}


def keep_evidence(source: RunPaths, target: RunPaths, name: str) -> None:
    """Keep in `target` what the submitters of `source` left, its own under `name`; the newer one wins.

    Each file is published whole. Raises OSError.
    """
    for spool in spools(source):
        names, extract = requested_names(spool), extract_in(spool)
        folder = target.merged / (name if spool == source.spool else spool.name)
        if spool.is_symlink() or (extract is None and not names):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        if names - (known := requested_names(folder)):
            write_atomic(folder / _REQUESTED, "".join(f"{each}\n" for each in sorted(names | known)))
        earlier = extract_in(folder)
        if extract is not None and (earlier is None or earlier.time < extract.time):
            write_atomic(folder / EXTRACT, read_regular(spool / EXTRACT, MOST_BYTES))
