"""How each metric is measured: strict, every key with a default; the defaults are the smoke profile.

Units are in the names. A scorecard's `settings` and each profile's overrides are read as these models.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

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


class InvarianceSettings(BaseModel):
    """Random rotations, translations and permutations of a rattled cell."""

    model_config = _STRICT

    trials: int = Field(default=2, ge=1, le=100)
    rattle_a: float = Field(default=0.1, gt=0, le=0.5)
    seed: int = Field(default=17, ge=0)


class FiniteDifferenceSettings(BaseModel):
    """Central differences of the energy for some components of a rattled cell."""

    model_config = _STRICT

    components: int = Field(default=6, ge=1, le=1000)
    step_a: float = Field(default=1e-3, gt=0, le=0.1)
    rattle_a: float = Field(default=0.1, gt=0, le=0.5)
    seed: int = Field(default=19, ge=0)


class ThroughputSettings(BaseModel):
    """Model and pinned reference model timed in turns on the same rattled cell."""

    model_config = _STRICT

    repeats: Repeats = 3
    rounds: int = Field(default=5, ge=3, le=1000)
    max_relative_cost: float = Field(default=60.0, gt=1)
    """A model dearer than this is measured no further: its other metrics fail with that reason."""


class SizeSettings(BaseModel):
    """Parameters and memory; `repeats`³ cubic cells for the peak."""

    model_config = _STRICT

    repeats: Repeats = 3


class EvaluationSettings(BaseModel):
    """Settings of every measurement."""

    model_config = _STRICT

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
