"""What a user may choose of the QM7-derived data; apart from what needs heavy imports."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

NOT_OF_LABELS = {"unseen_share"}
"""Options that only say what is done with labels that are there."""


class Sampling(BaseModel):
    """How geometries are drawn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=2026, ge=0)
    temperatures_k: tuple[float, ...] = (300.0, 1000.0)
    """Of the normal-mode samples, in turn."""
    normal_mode: int = Field(default=5, ge=0, description="geometries for each temperature")
    rattled: int = Field(default=4, ge=0)
    rattle_sigma_a: float = Field(default=0.05, gt=0, le=0.3)
    soft_mode_floor_per_cm: float = Field(default=200.0, gt=0)
    clash_ratio: float = Field(default=0.7, gt=0, lt=1, description="of the sum of covalent radii")
    torn_ratio: float = Field(default=1.4, gt=1.25, description="of the sum of covalent radii, for bonds")

    @field_validator("temperatures_k")
    @classmethod
    def _positive(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(value <= 0 for value in values):
            raise ValueError("temperatures are above 0 K")
        return values

    @property
    def geometries(self) -> int:
        """How many geometries are made of one molecule."""
        return 1 + len(self.temperatures_k) * self.normal_mode + self.rattled


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
    shards: int = Field(default=16, ge=1, le=10_000, exclude=True)
    processes: int = Field(default=0, ge=0, exclude=True)
    """Local labelling processes; 0: one a core. Like `shards`, no part of what the data are."""

    @model_validator(mode="after")
    def _fits_the_source(self) -> Qm7B3lypOptions:
        if (self.qm7 is None) == (self.source == "qm7"):
            raise ValueError("`qm7` names the file that `source: qm7` reads: give both or neither")
        extra = self.model_fields_set - {"source", "shards", "processes"}
        if self.source == "shipped" and extra:
            names = ", ".join(sorted(extra))
            raise ValueError(
                f"the shipped labels are what they are: {names} needs `source: embedded` or `qm7`"
            )
        return self
