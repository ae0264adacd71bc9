"""How geometries are drawn: settings alone, which are read without any heavy import."""

from __future__ import annotations

from pydantic import BaseModel, Field, field_validator


class Sampling(BaseModel, extra="forbid", frozen=True):
    """How geometries are drawn."""

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
