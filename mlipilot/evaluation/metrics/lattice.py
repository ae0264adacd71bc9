"""Lattice constant (Å) and bulk modulus B = V d²E/dV² (GPa) at zero pressure, with their errors in per cent.

From a Birch-Murnaghan fit to energies at evenly spaced linear strains (`crystal.equilibrium`). Not matcalc's
equation of state: that gives the modulus only, and relaxes each cell, which cubic symmetry makes needless.
"""

from __future__ import annotations

from mlipilot.evaluation.declaration import CRYSTAL, Group, Metric
from mlipilot.evaluation.lazily import Bench, np
from mlipilot.evaluation.metrics_file import Measurement, percent_error


def measure(bench: Bench) -> Measurement:
    """Both values and errors, and the two energy-volume curves (Å³/atom, eV/atom)."""
    found = bench.lattice
    constant_a, modulus_gpa = found.lattice_constant_a, found.bulk_modulus_gpa
    return Measurement(
        {
            "lattice_constant_a": constant_a,
            "lattice_constant_error_percent": percent_error(constant_a, bench.truth("lattice_constant_a")),
            "bulk_modulus_gpa": modulus_gpa,
            "bulk_modulus_error_percent": percent_error(modulus_gpa, bench.truth("bulk_modulus_gpa")),
        },
        curves={
            "eos_model_volume_a3_per_atom": found.volumes_a3_per_atom,
            "eos_model_energy_ev_per_atom": found.energies_ev_per_atom,
            "eos_reference_volume_a3_per_atom": np.array(bench.truth("eos_volumes_a3_per_atom")),
            "eos_reference_energy_ev_per_atom": np.array(bench.truth("eos_energies_ev_per_atom")),
        },
    )


GROUP = Group(
    name="lattice",
    place=40,
    metrics=(
        Metric("lattice_constant_a", "Å", "none", "lattice constant", CRYSTAL),
        Metric("lattice_constant_error_percent", "%", "lower", "lattice constant error", CRYSTAL),
        Metric("bulk_modulus_gpa", "GPa", "none", "bulk modulus", CRYSTAL),
        Metric("bulk_modulus_error_percent", "%", "lower", "bulk modulus error", CRYSTAL),
    ),
    measure=measure,
    reference={
        "lattice_constant_a": lambda bench: bench.lattice.lattice_constant_a,
        "bulk_modulus_gpa": lambda bench: bench.lattice.bulk_modulus_gpa,
        "eos_volumes_a3_per_atom": lambda bench: bench.lattice.volumes_a3_per_atom.tolist(),
        "eos_energies_ev_per_atom": lambda bench: bench.lattice.energies_ev_per_atom.tolist(),
    },
    source="Birch, Phys. Rev. 71, 809 (1947)",
)
