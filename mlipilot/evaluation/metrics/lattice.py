"""Lattice constant (Å) and bulk modulus B = V d²E/dV² (GPa) at zero pressure, with their errors in per cent.

From a Birch-Murnaghan fit to energies at evenly spaced linear strains (`crystal.equilibrium`). Not matcalc's
equation of state: that gives the modulus only, and relaxes each cell, which cubic symmetry makes needless.
"""

from __future__ import annotations

import numpy as np

from mlipilot.evaluation.reference_values import ReferenceValues, percent_error
from mlipilot.evaluation.results import Measurement
from mlipilot.evaluation.subject import Subject


def measure(subject: Subject, reference: ReferenceValues) -> Measurement:
    """Both values and errors, and the two energy-volume curves (Å³/atom, eV/atom)."""
    lattice = subject.lattice
    return Measurement(
        {
            "lattice_constant_a": lattice.lattice_constant_a,
            "lattice_constant_error_percent": percent_error(
                lattice.lattice_constant_a, reference.lattice_constant_a
            ),
            "bulk_modulus_gpa": lattice.bulk_modulus_gpa,
            "bulk_modulus_error_percent": percent_error(lattice.bulk_modulus_gpa, reference.bulk_modulus_gpa),
        },
        curves={
            "eos_model_volume_a3_per_atom": lattice.volumes_a3_per_atom,
            "eos_model_energy_ev_per_atom": lattice.energies_ev_per_atom,
            "eos_reference_volume_a3_per_atom": np.array(reference.eos_volumes_a3_per_atom),
            "eos_reference_energy_ev_per_atom": np.array(reference.eos_energies_ev_per_atom),
        },
    )
