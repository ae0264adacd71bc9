"""What is measured: a calculator on the bench; a rebuilt model, or the truth itself as the exact oracle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from mlipilot.evaluation.crystal import Lattice, equilibrium
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.model import Prediction, RebuiltModel
from mlipilot.evaluation.results import MeasurementError


class Subject:
    """A calculator with the settings it is measured by; remembers its equilibrium lattice.

    `model` is the network behind the calculator, where there is one.
    """

    def __init__(
        self, calculator: Calculator, settings: EvaluationSettings, model: RebuiltModel | None = None
    ) -> None:
        self.calculator = calculator
        self.settings = settings
        self.model = model
        self._lattice: Lattice | MeasurementError | None = None

    @classmethod
    def of_model(cls, model: RebuiltModel, settings: EvaluationSettings) -> Subject:
        """The subject for a rebuilt model."""
        return cls(model.calculator(), settings, model)

    @property
    def lattice(self) -> Lattice:
        """Its own equilibrium crystal, sought once. Raises MeasurementError when it has none."""
        if self._lattice is None:
            try:
                self._lattice = equilibrium(self.calculator, self.settings)
            except MeasurementError as error:
                self._lattice = error
        if isinstance(self._lattice, MeasurementError):
            raise self._lattice
        return self._lattice

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
