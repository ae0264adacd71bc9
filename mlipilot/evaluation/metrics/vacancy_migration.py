"""Barrier for an atom to hop into a vacancy beside it (eV), and its absolute error.

E_m = E(saddle) − E(vacancy at rest), in the supercell and by the settings of the vacancy's formation energy,
at the model's own lattice constant. The saddle is found by symmetry: midway between its two sites the hopping
atom is at a centre of inversion of the whole supercell (of its mirror planes, too, in fcc). So no force acts
on it there, whatever the model, and it stays there while the others relax: no band of images is needed. That
is exact where the barrier has one top, as is usually taken for the hop of copper. A model with a dip midway
has its top beside it, and its barrier is told too low. A wrong barrier is a wrong diffusion rate by exp(−ΔE_m
/ kT): 0.1 eV is a factor of seven at 600 K. Cost: two relaxations of 31 atoms. A model of which one does not
come to rest has no barrier.
"""

from __future__ import annotations

from mlipilot.evaluation.declaration import CRYSTAL, Group, Metric
from mlipilot.evaluation.lazily import Atoms, Bench
from mlipilot.evaluation.metrics.vacancy import perfect, relaxed_energy_ev, vacancy_energy_ev
from mlipilot.evaluation.metrics_file import Measurement


def midway(bench: Bench) -> Atoms:
    """The supercell with one atom less, a neighbour of it, which is held, halfway to its site."""
    from ase.constraints import FixAtoms

    atoms = perfect(bench)
    hopping = 1 + int(atoms.get_distances(0, range(1, len(atoms)), mic=True).argmin())
    atoms.positions[hopping] -= atoms.get_distance(0, hopping, mic=True, vector=True) / 2
    atoms.set_constraint(FixAtoms([hopping]))  # else rounding would grow along the way down
    del atoms[0]
    return atoms


def barrier_ev(bench: Bench) -> float:
    """E_m in eV. Raises MeasurementError when the vacancy or the saddle does not relax."""
    at_rest_ev = vacancy_energy_ev(bench)
    return relaxed_energy_ev(bench, midway(bench), "the saddle of the vacancy's hop") - at_rest_ev


def measure(bench: Bench) -> Measurement:
    """The barrier and its error."""
    found = barrier_ev(bench)
    truth = bench.truth("vacancy_migration_barrier_ev")
    return Measurement(
        {"vacancy_migration_barrier_ev": found, "vacancy_migration_barrier_error_ev": abs(found - truth)}
    )


GROUP = Group(
    name="vacancy migration",
    place=220,
    metrics=(
        Metric("vacancy_migration_barrier_ev", "eV", "none", "vacancy migration barrier", CRYSTAL),
        Metric(
            "vacancy_migration_barrier_error_ev", "eV", "lower", "vacancy migration barrier error", CRYSTAL
        ),
    ),
    measure=measure,
    reference={"vacancy_migration_barrier_ev": barrier_ev},
    source="Mishin et al., Phys. Rev. B 63, 224106 (2001)",
    exam=True,
)
