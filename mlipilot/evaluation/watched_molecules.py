"""Constant-temperature dynamics of the reference molecules, which several metrics look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import Field

from mlipilot.evaluation.declaration import FewAtomsLangevin, Kelvin, Seed
from mlipilot.evaluation.lazily import Array, Atoms, Bench, np

if TYPE_CHECKING:
    from mlipilot.evaluation.dynamics import Outcome

SAMPLE_EVERY = 10


class StabilitySettings(FewAtomsLangevin):
    """Constant-temperature dynamics (Langevin) of each reference molecule from its equilibrium."""

    temperature_k: Kelvin = 500.0
    max_bond_change_a: float = Field(default=0.5, gt=0, le=5)
    """Beyond it a bond counts as broken; the bound of Fu et al., "Forces are not enough" (2023)."""
    hydrogen_lost_a: float = Field(default=2.5, gt=1, le=10)
    """A hydrogen this far from every other atom is lost."""
    seed: Seed = 13


def has_bonds(bench: Bench) -> bool:
    """Whether a molecule on the bench has any."""
    from mlipilot.evaluation.bonds import bonds

    return any(len(bonds(molecule.atoms)) for molecule in bench.molecules)


@dataclass
class Watch:
    """Looks at a molecule at every step, and remembers when it first broke."""

    atoms: Atoms
    """At its equilibrium now, later wherever the dynamics have it."""
    settings: StabilitySettings
    changes_a: list[float] = field(default_factory=list)
    """The largest change of a bond length at each step."""
    samples_a: list[Array] = field(default_factory=list)
    """Positions at every tenth step, (atoms, 3) each, the start left out."""
    bond_broken_at: int | None = None
    hydrogen_lost_at: int | None = None

    def __post_init__(self) -> None:
        from mlipilot.evaluation.bonds import bonds, lengths_a

        self.pairs = bonds(self.atoms)
        self.equilibrium_a = lengths_a(self.atoms.positions, self.pairs)
        self.hydrogens = (self.atoms.numbers == 1).nonzero()[0]

    def look(self, step: int) -> None:
        """To be called at every step."""
        from mlipilot.evaluation.bonds import lengths_a

        changes = abs(lengths_a(self.atoms.positions, self.pairs) - self.equilibrium_a)
        self.changes_a.append(float(changes.max(initial=0.0)))
        if self.bond_broken_at is None and self.changes_a[-1] > self.settings.max_bond_change_a:
            self.bond_broken_at = step
        if self._loneliest_hydrogen_a() > self.settings.hydrogen_lost_a:
            self.hydrogen_lost_at = step
        if step and step % SAMPLE_EVERY == 0:
            self.samples_a.append(self.atoms.positions.copy())

    def _loneliest_hydrogen_a(self) -> float:
        positions = self.atoms.positions
        distances = np.linalg.norm(positions[self.hydrogens, None] - positions[None], axis=2)
        distances[np.arange(len(self.hydrogens)), self.hydrogens] = np.inf
        return float(distances.min(axis=1).max(initial=0.0))


def watched(bench: Bench) -> tuple[Outcome, list[Watch]]:
    """How far the dynamics of all molecules came, and what was seen of each; made once for all who ask.

    They end when a molecule has lost a hydrogen.
    """
    return bench.once("watched molecules", lambda: _run(bench))


def _run(bench: Bench) -> tuple[Outcome, list[Watch]]:
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
    watches = [Watch(atoms, settings) for atoms in ensemble.members]

    def observe(step: int) -> None:
        for watch in watches:
            watch.look(step)
        ensemble.check(settings.temperature_k, settings.limits)
        if any(watch.hydrogen_lost_at is not None for watch in watches):
            raise BrokenError("a hydrogen was lost")  # nothing is left to be seen

    outcome = run_nvt(ensemble.atoms, settings, settings.duration_ps, settings.temperature_k, noise, observe)
    return outcome, watches
