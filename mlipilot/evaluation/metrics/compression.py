"""Energy of the strongly compressed crystal above its equilibrium (eV/atom), and its error in per cent.

E(d) − E₀ per atom, where the nearest neighbours are d apart (2.1 Å for Cu: EMT says 2.3 eV/atom). A model
without a repulsive wall fails here long before dynamics fall through it.
"""

from __future__ import annotations

import math

from pydantic import Field

from mlipilot.evaluation.declaration import CRYSTAL, Group, Metric, Section, Settings
from mlipilot.evaluation.lazily import Bench
from mlipilot.evaluation.metrics_file import Measurement, percent_error

_NEIGHBOURS_PER_LATTICE_CONSTANT = {"fcc": math.sqrt(1 / 2), "bcc": math.sqrt(3) / 2}


class CompressionSettings(Settings):
    """The crystal squeezed until neighbours are this close."""

    neighbour_distance_a: float = Field(default=2.1, gt=0.5, lt=5)


def compressed_energy_ev_per_atom(bench: Bench) -> float:
    """Energy above the calculator's own equilibrium."""
    from mlipilot.evaluation.crystal import cubic_cell, energy_per_atom

    crystal = bench.settings.crystal
    distance_a = bench.settings.section(CompressionSettings).neighbour_distance_a
    cell = cubic_cell(crystal, distance_a / _NEIGHBOURS_PER_LATTICE_CONSTANT[crystal.structure])
    return energy_per_atom(bench.calculator, cell) - bench.lattice.energy_ev_per_atom


def measure(bench: Bench) -> Measurement:
    """The energy and its error."""
    found = compressed_energy_ev_per_atom(bench)
    truth = bench.truth("compressed_pair_energy_ev_per_atom")
    return Measurement(
        {
            "compressed_pair_energy_ev_per_atom": found,
            "compressed_pair_energy_error_percent": percent_error(found, truth),
        }
    )


GROUP = Group(
    name="compression",
    place=70,
    metrics=(
        Metric("compressed_pair_energy_ev_per_atom", "eV/atom", "none", "compressed pair energy", CRYSTAL),
        Metric("compressed_pair_energy_error_percent", "%", "lower", "compressed pair energy error", CRYSTAL),
    ),
    measure=measure,
    sections=(Section("compression", CompressionSettings, CRYSTAL),),
    reference={"compressed_pair_energy_ev_per_atom": compressed_energy_ev_per_atom},
)
