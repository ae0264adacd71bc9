"""Energy of the strongly compressed crystal above its equilibrium (eV/atom), and its error in per cent.

E(d) − E₀ per atom, where the nearest neighbours are d apart (2.1 Å for Cu: EMT says 2.3 eV/atom). A model
without a repulsive wall fails here long before dynamics fall through it.
"""

from __future__ import annotations

import math

from mlipilot.evaluation.crystal import cubic_cell, energy_per_atom
from mlipilot.evaluation.reference_values import ReferenceValues, percent_error
from mlipilot.evaluation.results import Measurement
from mlipilot.evaluation.subject import Subject

_NEIGHBOURS_PER_LATTICE_CONSTANT = {"fcc": math.sqrt(1 / 2), "bcc": math.sqrt(3) / 2}


def compressed_energy_ev_per_atom(subject: Subject) -> float:
    """Energy above the subject's own equilibrium."""
    crystal = subject.settings.crystal
    distance_a = subject.settings.compression.neighbour_distance_a
    cell = cubic_cell(crystal, distance_a / _NEIGHBOURS_PER_LATTICE_CONSTANT[crystal.structure])
    return energy_per_atom(subject.calculator, cell) - subject.lattice.energy_ev_per_atom


def measure(subject: Subject, reference: ReferenceValues) -> Measurement:
    """The energy and its error."""
    found = compressed_energy_ev_per_atom(subject)
    truth = reference.compressed_pair_energy_ev_per_atom
    return Measurement(
        {
            "compressed_pair_energy_ev_per_atom": found,
            "compressed_pair_energy_error_percent": percent_error(found, truth),
        }
    )
