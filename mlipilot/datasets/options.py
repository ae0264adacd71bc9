"""What a campaign may set of each data set; apart from the builders, whose imports take a second."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

SALTS = 10**15
Salt = Annotated[int | None, Field(ge=0, lt=SALTS)]
"""What the frames that judge are drawn with beside the seed. A run whose campaign does not give it draws its
own, so that no recipe can be made that has seen them; `provenance.json` keeps it."""


class CuEmtOptions(BaseModel, extra="forbid", frozen=True):
    """How many frames of each split, and the seed that they all come from."""

    seed: int = Field(default=2026, ge=0)
    train: int = Field(default=200, ge=5)
    valid: int = Field(default=36, ge=4)
    test: int = Field(default=60, ge=4)
    test_large: int = Field(default=22, ge=2)
    sealed: int = Field(default=40, ge=4)
    salt: Salt = None
    md_interval_steps: int = Field(default=14, ge=1)
    md_timestep_fs: float = Field(default=5.0, gt=0, le=5.0)


class ImportedOptions(BaseModel, extra="forbid", frozen=True):
    """Which imported data set: where it lies, and the digest of its manifest."""

    path: Path
    """Of the sealed directory; a relative one is seen from the campaign file."""
    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
