"""An imported data set in a campaign: the sealed directory is copied into the run, if it is the one named."""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import BaseModel

from mlipilot.audit.files import sha256_file
from mlipilot.audit.manifest import MANIFEST
from mlipilot.datasets.base import Progress, appearing, check_sealed
from mlipilot.datasets.options import ImportedOptions
from mlipilot.errors import InputError


def build(options: BaseModel, out_dir: Path, progress: Progress | None = None) -> None:
    """Copy the data set to `out_dir`; all of it appears at once, or nothing.

    Raises InputError when it is not there, was changed since it was sealed, or is not the one that is named.
    """
    assert isinstance(options, ImportedOptions)  # noqa: S101 - the registry pairs builders and options
    source = options.path
    check_sealed(source)
    found = sha256_file(source / MANIFEST)
    if found != options.manifest_sha256:
        raise InputError(
            f"this data set is another one than the campaign names (manifest SHA-256 {found})",
            file=source,
            mend=f"restore the one with {options.manifest_sha256}, or name this one in the campaign",
        )
    with appearing(out_dir) as directory:
        shutil.copytree(source, directory, dirs_exist_ok=True)
    if progress is not None:
        progress(1, 1, "copied")
