"""What a user may choose of the QM7-derived data; apart from what needs heavy imports."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from mlipilot.datasets.options import Salt
from mlipilot_labels.geometry_settings import Sampling

NOT_OF_LABELS = {"unseen_share", "salt"}
"""Options that only say what is done with labels that are there."""


class Qm7B3lypOptions(Sampling):
    """Which molecules, which geometries, and how they are divided."""

    source: Literal["shipped", "embedded", "qm7"] = "shipped"
    """`shipped`: labels that come with the toolkit, nothing is computed. `embedded`: molecules that stand in
    for QM7, listed in the toolkit. `qm7`: the user's own qm7.mat."""
    qm7: Path | None = None
    qm7_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """What qm7.mat must hash to; not given, the digest of the published file."""
    molecules: int | tuple[str, ...] | None = None
    """That many, drawn by the seed, or those named; None: all."""
    unseen_share: float = Field(default=0.25, ge=0, lt=1)
    """Of the molecules, half tested and half sealed: none of their geometries is trained on."""
    salt: Salt = None
    shards: int = Field(default=16, ge=1, le=10_000, exclude=True)
    processes: int = Field(default=0, ge=0, exclude=True)
    """Local labelling processes; 0: one a core. Like `shards`, no part of what the data are."""

    @model_validator(mode="after")
    def _fits_the_source(self) -> Qm7B3lypOptions:
        if (self.qm7 is None) == (self.source == "qm7"):
            raise ValueError("`qm7` names the file that `source: qm7` reads: give both or neither")
        extra = self.model_fields_set - {"source", "salt", "shards", "processes"}
        if self.source == "shipped" and extra:
            names = ", ".join(sorted(extra))
            raise ValueError(
                f"the shipped labels are what they are: {names} needs `source: embedded` or `qm7`"
            )
        return self
