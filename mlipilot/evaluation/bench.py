"""The bench: a calculator under test, by which settings, beside what it is compared with.

The calculator is that of a rebuilt model, or the truth itself as the exact oracle. The truth lies in values
of a reference calculator for a crystal, and in files of the data set for structures and molecules: no quantum
chemistry runs here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from mlipilot.evaluation.crystal import Lattice, equilibrium, rattled_cell
from mlipilot.evaluation.families import Model, Prediction
from mlipilot.evaluation.frames import TEST, bench_frames, spread
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics_file import MeasurementError
from mlipilot.evaluation.reference_molecules import (
    EQUILIBRIUM,
    SCAN,
    Molecule,
    Scan,
    read_molecules,
    read_scans,
)

if TYPE_CHECKING:
    from mlipilot.evaluation.reference import ReferenceValues

Split = Literal["test", "sealed"]
T = TypeVar("T")


@dataclass(eq=False)
class Bench:
    """A crystal, or frames and molecules, with the calculator that is measured on them."""

    calculator: Calculator
    settings: EvaluationSettings
    model: Model | None = None
    """The network behind the calculator, where there is one."""
    reference: ReferenceValues | None = None
    """Of a crystal's reference calculator, for all groups."""
    data: Path = Path("no data")
    """The data directory; a metric looks there for files of its own."""
    split: Split = "test"
    frames: Sequence[Atoms] = ()
    """Those few that stand for the set where there is no crystal."""
    batch: Sequence[Atoms] = ()
    """As many as are predicted at once."""
    molecules: Sequence[Molecule] = ()
    scans: Sequence[Scan] = ()
    _made: dict[Hashable, Any] = field(default_factory=dict, init=False)

    @classmethod
    def with_data(
        cls,
        calculator: Calculator,
        settings: EvaluationSettings,
        data: Path,
        split: Split = "test",
        model: Model | None = None,
    ) -> Bench:
        """The bench with a data directory's files. Raises InputError when one is not as it must be."""
        bench = cls(calculator, settings, model, data=data, split=split)
        if settings.system == "crystal":
            return bench
        bench.frames = bench_frames(data / TEST, settings.frames.count)
        bench.batch = bench_frames(data / TEST, settings.errors.batch_size)
        if settings.system == "molecules":
            every = read_molecules(data / EQUILIBRIUM)
            bench.molecules = [every[index] for index in spread(settings.molecules.count, len(every))]
            bench.scans = read_scans(data / SCAN) if (data / SCAN).is_file() else []
        return bench

    @property
    def lattice(self) -> Lattice:
        """Its own equilibrium crystal, sought once. Raises MeasurementError when it has none."""
        return self.once("lattice", lambda: equilibrium(self.calculator, self.settings))

    def rattled(self, repeats: int, rattle_a: float, seed: int) -> Sequence[Atoms]:
        """One rattled cell of the crystal, of `repeats`³ cubic cells; without a crystal the frames."""
        return [self._cell(repeats, rattle_a, seed)] if self.settings.system == "crystal" else self.frames

    def load(self, repeats: int) -> Sequence[Atoms]:
        """What cost is measured on: one such cell, or a batch of frames."""
        return [self._cell(repeats, 0.05, seed=0)] if self.settings.system == "crystal" else self.batch

    def _cell(self, repeats: int, rattle_a: float, seed: int) -> Atoms:
        crystal = self.settings.crystal
        return rattled_cell(crystal, crystal.lattice_constant_guess_a, repeats, rattle_a, seed)

    def truth(self, name: str) -> Any:
        """The reference value of a name that a group declares."""
        return getattr(self.reference, name)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What several measurements share, made for the first that asks.

        Raises MeasurementError, to all of them, where it cannot be made.
        """
        if key not in self._made:
            try:
                self._made[key] = make()
            except MeasurementError as error:
                self._made[key] = error
        found = self._made[key]
        if isinstance(found, MeasurementError):
            raise found
        shared: T = found
        return shared

    def predict(self, structures: Sequence[Atoms]) -> list[Prediction]:
        """Energy, forces and stress of each structure."""
        if self.model is not None:
            return self.model.predict(structures, self.settings.errors.batch_size)
        return [self._calculate(atoms) for atoms in structures]

    def _calculate(self, atoms: Atoms) -> Prediction:
        copy = atoms.copy()
        copy.calc = self.calculator
        stress = copy.get_stress() if copy.pbc.all() else np.zeros(6)
        return Prediction(copy.get_potential_energy(), copy.get_forces(), stress)
