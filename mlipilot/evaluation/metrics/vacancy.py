"""Vacancy formation energy (eV) and its absolute error.

E_f = E(N − 1, relaxed) − (N − 1)/N · E(N), at fixed cell and the subject's own lattice constant
(the standard definition, e.g. Mishin et al., Phys. Rev. B 63, 224106 (2001)); relaxed with ASE's BFGS.
"""

from __future__ import annotations

from ase.optimize import BFGS

from mlipilot.evaluation.crystal import cubic_cell, energy_per_atom
from mlipilot.evaluation.reference_values import ReferenceValues
from mlipilot.evaluation.results import Measurement, MeasurementError
from mlipilot.evaluation.subject import Subject


def formation_energy_ev(subject: Subject) -> float:
    """E_f in eV. Raises MeasurementError when the relaxation does not converge."""
    settings = subject.settings.vacancy
    atoms = cubic_cell(subject.settings.crystal, subject.lattice.lattice_constant_a, settings.repeats)
    bulk_ev_per_atom = energy_per_atom(subject.calculator, atoms)
    del atoms[0]
    atoms.calc = subject.calculator
    converged = BFGS(atoms, logfile=None).run(fmax=settings.fmax_ev_per_a, steps=settings.max_steps)
    if not converged:
        raise MeasurementError(
            f"the vacancy did not relax to {settings.fmax_ev_per_a:g} eV/Å in {settings.max_steps} steps"
        )
    return float(atoms.get_potential_energy()) - len(atoms) * bulk_ev_per_atom


def measure(subject: Subject, reference: ReferenceValues) -> Measurement:
    """The formation energy and its error."""
    found = formation_energy_ev(subject)
    return Measurement(
        {
            "vacancy_formation_energy_ev": found,
            "vacancy_formation_energy_error_ev": abs(found - reference.vacancy_formation_energy_ev),
        }
    )
