"""What of a scorecard's settings says what lies on the bench, whatever is measured there."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mlipilot.evaluation.declaration import ALL, CRYSTAL, FRAMES, MOLECULES, Section, Settings, System


class CrystalSettings(Settings):
    """The crystal that the solid-state metrics are measured on, and the calculator that is the truth."""

    symbol: str = "Cu"
    structure: Literal["fcc", "bcc"] = "fcc"
    lattice_constant_guess_a: float = Field(default=3.6, gt=1, lt=10)
    reference: Literal["emt"] = "emt"
    emt_asap_cutoff: bool = False
    """ASE's EMT has two cutoffs, about 6 meV/atom apart: it must be the one the data were labelled with."""


class LatticeSettings(Settings):
    """Equation of state around the equilibrium volume."""

    max_abs_strain: float = Field(default=0.02, gt=0, le=0.1)
    """Largest linear strain on both sides."""
    points: int = Field(default=9, ge=5, le=51)


class FramesSettings(Settings):
    """Labelled frames that stand for the set where there is no crystal: spread evenly over test/test.xyz."""

    count: int = Field(default=3, ge=1, le=1000)


class MoleculesSettings(Settings):
    """How many of the reference molecules are measured, spread evenly over test/equilibrium.xyz."""

    count: int = Field(default=3, ge=1, le=1000)


class ErrorsSettings(Settings):
    """How many structures are predicted at once."""

    batch_size: int = Field(default=16, ge=1, le=1024)


class BenchSettings(Settings):
    """The sections that are of no group's own."""

    system: System = "crystal"
    """What is measured; it decides which metrics there are (`catalog.metrics_of`)."""
    crystal: CrystalSettings = CrystalSettings()
    lattice: LatticeSettings = LatticeSettings()
    frames: FramesSettings = FramesSettings()
    molecules: MoleculesSettings = MoleculesSettings()
    errors: ErrorsSettings = ErrorsSettings()


BENCH_SECTIONS = [
    Section("system", Settings, ALL),
    Section("crystal", CrystalSettings, CRYSTAL),
    Section("lattice", LatticeSettings, CRYSTAL),
    Section("frames", FramesSettings, FRAMES),
    Section("molecules", MoleculesSettings, MOLECULES),
    Section("errors", ErrorsSettings),
]
"""What of them each system reads."""
