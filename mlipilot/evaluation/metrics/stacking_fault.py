"""Errors of the intrinsic and the unstable stacking fault energy of fcc, in mJ/m².

One half of the crystal slides over the other between two (111) planes along ⟨112⟩, rigidly: γ(s) = (E(s) −
E(0)) / A (Vítek, Phil. Mag. 18, 773 (1968)). At the end of the way, a/√6, lies the intrinsic fault; the
unstable energy is the largest on the way. Each slide is one tilted periodic cell, of one atom a layer, with
one fault and no surface, at the volume per atom of the model's own equilibrium crystal. The first energy says
how far apart partial dislocations are, the second how hard it is to make one (Rice, J. Mech. Phys. Solids 40,
239 (1992)). Three neighbouring planes tell the fault from fcc: to a model that sees less it costs nothing.
Cost: one prediction of 17 cells of 12 atoms.
"""

from __future__ import annotations

import math

from pydantic import Field

from mlipilot.evaluation.declaration import CRYSTAL, Group, Metric, Section, Settings
from mlipilot.evaluation.lazily import Array, Atoms, Bench, np
from mlipilot.evaluation.metrics_file import Measurement


class StackingFaultSettings(Settings):
    """The way of the slide, in a cell of so many planes."""

    layers: int = Field(default=12, ge=6, le=100)
    points: int = Field(default=17, ge=3, le=201)
    """Along the way, both ends included."""


def slid(bench: Bench, share: float) -> Atoms:
    """The crystal after this share of the way."""
    from ase import Atoms as Structure

    from mlipilot.evaluation.crystal import cubic_cell

    crystal = bench.settings.crystal
    cell = cubic_cell(crystal, bench.lattice.lattice_constant_a)
    constant_a = math.cbrt(4 * cell.get_volume() / len(cell))
    side_a = constant_a / math.sqrt(2)
    first, second = side_a * np.array([[1, 0, 0], [1 / 2, math.sqrt(3) / 2, 0]])
    hollow = (first + second) / 3  # from an atom to where the next plane's rests: a/√6
    to_next = hollow + np.array([0, 0, constant_a / math.sqrt(3)])
    layers = bench.settings.section(StackingFaultSettings).layers
    positions = np.array([layer * to_next for layer in range(layers)])
    # the plane above the last one is the first: as far aside as the tilt says
    tilted = np.array([first, second, layers * to_next + share * hollow])
    return Structure([crystal.symbol] * layers, positions, cell=tilted, pbc=True)


def energies_mj_per_m2(bench: Bench) -> Array:
    """γ along the way, (points,)."""
    from ase import units

    shares = np.linspace(0, 1, bench.settings.section(StackingFaultSettings).points)
    structures = [slid(bench, float(share)) for share in shares]
    energies_ev = np.array([one.energy_ev for one in bench.predict(structures)])
    area_a2 = float(np.linalg.norm(np.cross(*structures[0].cell.array[:2])))
    found: Array = (energies_ev - energies_ev[0]) / area_a2 / units.J * 1e23  # J/Å² is 1e23 mJ/m²
    return found


def measure(bench: Bench) -> Measurement:
    """Both errors; γ along the way of both as curves."""
    found = energies_mj_per_m2(bench)
    truth = np.array(bench.truth("stacking_fault_energies_mj_per_m2"))
    return Measurement(
        {
            "intrinsic_stacking_fault_error_mj_per_m2": float(abs(found[-1] - truth[-1])),
            "unstable_stacking_fault_error_mj_per_m2": float(abs(found.max() - truth.max())),
        },
        curves={"stacking_fault_model_mj_per_m2": found, "stacking_fault_reference_mj_per_m2": truth},
    )


def _as_list(bench: Bench) -> list[float]:
    found: list[float] = energies_mj_per_m2(bench).tolist()
    return found


GROUP = Group(
    name="stacking fault",
    place=260,
    metrics=(
        Metric(
            "intrinsic_stacking_fault_error_mj_per_m2",
            "mJ/m²",
            "lower",
            "intrinsic stacking fault error",
            CRYSTAL,
        ),
        Metric(
            "unstable_stacking_fault_error_mj_per_m2",
            "mJ/m²",
            "lower",
            "unstable stacking fault error",
            CRYSTAL,
        ),
    ),
    measure=measure,
    sections=(Section("stacking_fault", StackingFaultSettings, CRYSTAL),),
    reference={"stacking_fault_energies_mj_per_m2": _as_list},
    source="Vítek, Phil. Mag. 18, 773 (1968)",
    exam=True,
)
