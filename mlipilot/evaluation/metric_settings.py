"""How each metric is measured: strict, every key with a default; the defaults are the smoke profile.

Units are in the names. A scorecard's `settings` and each profile's overrides are read as these models.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mlipilot.evaluation.catalog import System

REFERENCE_FILE = "reference.json"
"""Beside the data: the true values that a crystal's metrics are compared with."""

_STRICT = ConfigDict(extra="forbid", frozen=True)
SmallStrain = Annotated[float, Field(ge=-0.05, le=0.05)]
Repeats = Annotated[int, Field(ge=1, le=8)]


class CrystalSettings(BaseModel):
    """The crystal that the solid-state metrics are measured on, and the calculator that is the truth."""

    model_config = _STRICT

    symbol: str = "Cu"
    structure: Literal["fcc", "bcc"] = "fcc"
    lattice_constant_guess_a: float = Field(default=3.6, gt=1, lt=10)
    reference: Literal["emt"] = "emt"
    emt_asap_cutoff: bool = False
    """ASE's EMT has two cutoffs, about 6 meV/atom apart: it must be the one the data were labelled with."""


class ErrorsSettings(BaseModel):
    """Errors on labelled structures."""

    model_config = _STRICT

    batch_size: int = Field(default=16, ge=1, le=1024)


class LatticeSettings(BaseModel):
    """Equation of state around the equilibrium volume."""

    model_config = _STRICT

    max_abs_strain: float = Field(default=0.02, gt=0, le=0.1)
    """Largest linear strain on both sides."""
    points: int = Field(default=9, ge=5, le=51)


class ElasticitySettings(BaseModel):
    """Stress-strain fits. Small strains on both sides: a wider shear range shifts C44 by ten per cent."""

    model_config = _STRICT

    normal_strains: tuple[SmallStrain, ...] = (-0.01, -0.005, 0.005, 0.01)
    shear_strains: tuple[SmallStrain, ...] = (-0.01, -0.005, 0.005, 0.01)


class VacancySettings(BaseModel):
    """A vacancy in `repeats`³ cubic cells."""

    model_config = _STRICT

    repeats: Repeats = 2
    fmax_ev_per_a: float = Field(default=0.02, gt=0, le=0.5)
    max_steps: int = Field(default=60, ge=1, le=2000)


class CompressionSettings(BaseModel):
    """The crystal squeezed until neighbours are this close."""

    model_config = _STRICT

    neighbour_distance_a: float = Field(default=2.1, gt=0.5, lt=5)


class DynamicsLimits(BaseModel):
    """When a trajectory counts as broken."""

    model_config = _STRICT

    max_force_ev_per_a: float = Field(default=50.0, gt=0)
    max_temperature_factor: float = Field(default=5.0, gt=1)
    """Instantaneous temperature over the target."""


class NveSettings(BaseModel):
    """Constant-energy dynamics (velocity Verlet), once for each temperature."""

    model_config = _STRICT

    repeats: Repeats = 2
    temperatures_k: tuple[Annotated[float, Field(gt=0, le=5000)], ...] = Field(default=(600.0,), min_length=1)
    timestep_fs: float = Field(default=4.0, gt=0, le=10)
    duration_ps: float = Field(default=0.6, gt=0, le=1000)
    seed: int = Field(default=11, ge=0)
    limits: DynamicsLimits = DynamicsLimits()


class NvtSettings(BaseModel):
    """Constant-temperature dynamics (Langevin) for the radial distribution function.

    Model and reference start from the same snapshot, equilibrated with the reference calculator.
    """

    model_config = _STRICT

    repeats: Repeats = 2
    temperature_k: float = Field(default=600.0, gt=0, le=5000)
    timestep_fs: float = Field(default=4.0, gt=0, le=10)
    friction_per_ps: float = Field(default=10.0, gt=0, le=1000)
    equilibration_ps: float = Field(default=2.0, ge=0, le=1000)
    """Run with the reference calculator only."""
    duration_ps: float = Field(default=0.6, gt=0, le=1000)
    sample_every: int = Field(default=5, ge=1, le=1000)
    rdf_max_a: float = Field(default=5.0, gt=1, le=20)
    rdf_bins: int = Field(default=50, ge=10, le=2000)
    seed: int = Field(default=13, ge=0)
    limits: DynamicsLimits = DynamicsLimits()


class FramesSettings(BaseModel):
    """Labelled frames that stand for the set where there is no crystal: spread evenly over test/test.xyz."""

    model_config = _STRICT

    count: int = Field(default=3, ge=1, le=1000)


class FrameNveSettings(BaseModel):
    """Constant-energy dynamics without a crystal: from those frames, or from the reference molecules.

    The vibrations of a molecule at its equilibrium begin at twice the temperature: half goes into the bonds.
    """

    model_config = _STRICT

    temperature_k: float = Field(default=300.0, gt=0, le=5000)
    starts: int = Field(default=1, ge=1, le=100)
    """Trajectories of each structure, from other velocities; the worst counts."""
    timestep_fs: float = Field(default=0.5, gt=0, le=10)
    duration_ps: float = Field(default=0.1, gt=0, le=1000)
    seed: int = Field(default=11, ge=0)
    limits: DynamicsLimits = DynamicsLimits(max_temperature_factor=10.0)
    """Wider than a crystal's: few atoms fluctuate, and a distorted frame relaxes into heat."""


class MoleculesSettings(BaseModel):
    """How many of the reference molecules are measured, spread evenly over test/equilibrium.xyz."""

    model_config = _STRICT

    count: int = Field(default=3, ge=1, le=1000)


class StabilitySettings(BaseModel):
    """Constant-temperature dynamics (Langevin) of each reference molecule from its equilibrium."""

    model_config = _STRICT

    temperature_k: float = Field(default=500.0, gt=0, le=5000)
    timestep_fs: float = Field(default=0.5, gt=0, le=10)
    duration_ps: float = Field(default=0.1, gt=0, le=1000)
    friction_per_ps: float = Field(default=10.0, gt=0, le=1000)
    max_bond_change_a: float = Field(default=0.5, gt=0, le=5)
    """Beyond it a bond counts as broken, as in Fu et al., "Forces are not enough" (2022)."""
    hydrogen_lost_a: float = Field(default=2.5, gt=1, le=10)
    """A hydrogen this far from every other atom is lost."""
    seed: int = Field(default=13, ge=0)
    limits: DynamicsLimits = DynamicsLimits(max_temperature_factor=10.0)


class RelaxationSettings(BaseModel):
    """Each reference molecule relaxed by the model, from the true equilibrium."""

    model_config = _STRICT

    fmax_ev_per_a: float = Field(default=0.01, gt=0, le=0.5)
    max_steps: int = Field(default=100, ge=1, le=10000)


class FrequenciesSettings(BaseModel):
    """Harmonic frequencies at the relaxed geometry, by central differences of the forces."""

    model_config = _STRICT

    step_a: float = Field(default=0.01, gt=0, le=0.1)


class InvarianceSettings(BaseModel):
    """Random rotations, translations and permutations of a rattled cell, or of frames as they are."""

    model_config = _STRICT

    trials: int = Field(default=2, ge=1, le=100)
    rattle_a: float = Field(default=0.1, gt=0, le=0.5)
    seed: int = Field(default=17, ge=0)


class FiniteDifferenceSettings(BaseModel):
    """Central differences of the energy for some components of a rattled cell, or of each frame."""

    model_config = _STRICT

    components: int = Field(default=6, ge=1, le=1000)
    step_a: float = Field(default=1e-3, gt=0, le=0.1)
    rattle_a: float = Field(default=0.1, gt=0, le=0.5)
    seed: int = Field(default=19, ge=0)


class ThroughputSettings(BaseModel):
    """Model and pinned reference model timed in turns on the same rattled cell, or on a batch of frames."""

    model_config = _STRICT

    repeats: Repeats = 3
    rounds: int = Field(default=5, ge=3, le=1000)
    max_relative_cost: float = Field(default=60.0, gt=1)
    """A model dearer than this is measured no further: its other metrics fail with that reason."""


class SizeSettings(BaseModel):
    """Parameters and memory; `repeats`³ cubic cells for the peak."""

    model_config = _STRICT

    repeats: Repeats = 3


_COMMON = {"system", "errors", "invariance", "finite_difference", "throughput"}
SECTIONS: dict[System, set[str]] = {
    "crystal": _COMMON | {"crystal", "lattice", "elasticity", "vacancy", "compression", "nve", "nvt", "size"},
    "structures": _COMMON | {"frames", "frame_nve"},
    "molecules": _COMMON | {"frames", "frame_nve", "molecules", "stability", "relaxation", "frequencies"},
}
"""What of the settings each system reads."""


class EvaluationSettings(BaseModel):
    """Settings of every measurement."""

    model_config = _STRICT

    system: System = "crystal"
    """What is measured; it decides which metrics there are (`catalog.metrics_of`)."""
    crystal: CrystalSettings = CrystalSettings()
    errors: ErrorsSettings = ErrorsSettings()
    lattice: LatticeSettings = LatticeSettings()
    elasticity: ElasticitySettings = ElasticitySettings()
    vacancy: VacancySettings = VacancySettings()
    compression: CompressionSettings = CompressionSettings()
    nve: NveSettings = NveSettings()
    nvt: NvtSettings = NvtSettings()
    invariance: InvarianceSettings = InvarianceSettings()
    finite_difference: FiniteDifferenceSettings = FiniteDifferenceSettings()
    throughput: ThroughputSettings = ThroughputSettings()
    size: SizeSettings = SizeSettings()
    frames: FramesSettings = FramesSettings()
    frame_nve: FrameNveSettings = FrameNveSettings()
    molecules: MoleculesSettings = MoleculesSettings()
    stability: StabilitySettings = StabilitySettings()
    relaxation: RelaxationSettings = RelaxationSettings()
    frequencies: FrequenciesSettings = FrequenciesSettings()

    @model_validator(mode="after")
    def _sections_are_read(self) -> EvaluationSettings:
        unread = sorted(self.model_fields_set - SECTIONS[self.system])
        if unread:
            wanted = [system for system, sections in SECTIONS.items() if unread[0] in sections]
            raise ValueError(
                f"{unread[0]!r} is not read where system is {self.system!r} (it is of {' and '.join(wanted)})"
            )
        return self
