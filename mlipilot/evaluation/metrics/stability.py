"""Whether molecules stay what they are in constant-temperature dynamics.

Langevin dynamics of each reference molecule from its true equilibrium. A bond counts as broken when its
length differs by more than 0.5 Å from the equilibrium's (Fu et al., "Forces are not enough", 2022), a
hydrogen as lost when it is farther than 2.5 Å from every other atom (as in MLIPAudit, 2025); the values are
the shares of the steps done before the first of them, or before the dynamics broke, of the worst molecule.
Bonds are the pairs nearer at equilibrium than 1.2 times the sum of their covalent radii.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import Field

from mlipilot.evaluation.declaration import MOLECULES, DynamicsLimits, Group, Metric, Section, Settings
from mlipilot.evaluation.lazily import Array, Atoms, Bench, np
from mlipilot.evaluation.metrics_file import Measurement
from mlipilot.evaluation.panels import DYNAMICS, Lines

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlipilot.evaluation.dynamics import Outcome


class StabilitySettings(Settings):
    """Constant-temperature dynamics (Langevin) of each reference molecule from its equilibrium."""

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


def bonds(atoms: Atoms) -> NDArray[np.int64]:
    """Pairs of bonded atoms, (bonds, 2), each once."""
    from ase.neighborlist import natural_cutoffs, neighbor_list

    first, second = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=1.2))
    pairs: NDArray[np.int64] = np.column_stack([first, second])[first < second]
    return pairs


def lengths_a(atoms: Atoms, pairs: NDArray[np.int64]) -> Array:
    """Distances in Å of the pairs, (pairs,); no periodic images."""
    separations = atoms.positions[pairs[:, 0]] - atoms.positions[pairs[:, 1]]
    distances: Array = np.linalg.norm(separations, axis=1)
    return distances


@dataclass
class _Watch:
    """Looks at a molecule at every step, and remembers when it first broke."""

    atoms: Atoms
    """At its equilibrium now, later wherever the dynamics have it."""
    settings: StabilitySettings
    changes_a: list[float] = field(default_factory=list)
    """The largest change of a bond length at each step."""
    bond_broken_at: int | None = None
    hydrogen_lost_at: int | None = None

    def __post_init__(self) -> None:
        self.pairs = bonds(self.atoms)
        self.equilibrium_a = lengths_a(self.atoms, self.pairs)
        self.hydrogens = (self.atoms.numbers == 1).nonzero()[0]

    def look(self, step: int) -> None:
        """To be called at every step."""
        changes = abs(lengths_a(self.atoms, self.pairs) - self.equilibrium_a)
        self.changes_a.append(float(changes.max(initial=0.0)))
        if self.bond_broken_at is None and self.changes_a[-1] > self.settings.max_bond_change_a:
            self.bond_broken_at = step
        if self._loneliest_hydrogen_a() > self.settings.hydrogen_lost_a:
            self.hydrogen_lost_at = step

    def _loneliest_hydrogen_a(self) -> float:
        positions = self.atoms.positions
        distances = np.linalg.norm(positions[self.hydrogens, None] - positions[None], axis=2)
        distances[np.arange(len(self.hydrogens)), self.hydrogens] = np.inf
        return float(distances.min(axis=1).max(initial=0.0))


def measure(bench: Bench) -> Measurement:
    """Both shares; the largest bond change of each molecule over time as curves."""
    from mlipilot.evaluation.dynamics import BrokenError, run_nvt, thermalised
    from mlipilot.evaluation.ensemble import Ensemble

    settings = bench.settings.section(StabilitySettings)
    # streams of their own: noise that repeats a molecule's velocities would drive it along them
    noise, *seeds = np.random.SeedSequence(settings.seed).spawn(1 + len(bench.molecules))
    starts = {
        molecule.name: thermalised(molecule.atoms, settings.temperature_k, seed)
        for molecule, seed in zip(bench.molecules, seeds, strict=True)
    }
    ensemble = Ensemble(bench, starts)
    watches = [_Watch(atoms, settings) for atoms in ensemble.members]

    def observe(step: int) -> None:
        for watch in watches:
            watch.look(step)
        ensemble.check(settings.temperature_k, settings.limits)
        if any(watch.hydrogen_lost_at is not None for watch in watches):
            raise BrokenError("a hydrogen was lost")  # nothing is left to be seen

    outcome = run_nvt(ensemble.atoms, settings, settings.duration_ps, settings.temperature_k, noise, observe)
    curves: dict[str, Array] = {"stability_bound_a": np.array([settings.max_bond_change_a])}
    for index, watch in enumerate(watches):
        changes = np.array(watch.changes_a)
        curves[f"stability_{index}_time_ps"] = np.arange(len(changes)) * settings.timestep_fs / 1000
        curves[f"stability_{index}_bond_change_a"] = changes
    return Measurement(
        {
            "md_stable_fraction": _fraction(outcome, [watch.bond_broken_at for watch in watches]),
            "md_hydrogen_kept_fraction": _fraction(outcome, [watch.hydrogen_lost_at for watch in watches]),
        },
        curves=curves,
    )


def _fraction(outcome: Outcome, failed_at: Sequence[int | None]) -> float:
    """Share of the steps before the first of `failed_at`, or before the dynamics broke."""
    steps = [step for step in failed_at if step is not None]
    return min(
        outcome.completed_fraction, *(min(step / outcome.steps_asked, 1 - 1e-9) for step in steps), 1.0
    )


GROUP = Group(
    name="stability",
    place=120,
    metrics=(
        Metric("md_stable_fraction", "1", "higher", "MD stable fraction", MOLECULES),
        Metric("md_hydrogen_kept_fraction", "1", "higher", "MD hydrogen kept fraction", MOLECULES),
    ),
    measure=measure,
    sections=(Section("stability", StabilitySettings, MOLECULES),),
    panels=(
        Lines(
            figure=DYNAMICS,
            title="Largest change of a bond, NVT dynamics",
            caption="the largest change of a bond length, a line for each molecule, with the bound beyond "
            "which it counts as broken.",
            arrays=("stability_*_time_ps", "stability_*_bond_change_a"),
            labels=("time (ps)", "change of length (Å)"),
            bound="stability_bound_a",
        ),
    ),
    source="Fu et al., Forces are not enough (2022); MLIPAudit (2025)",
)
