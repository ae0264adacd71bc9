"""Energies of the surfaces (100), (110) and (111): mean absolute error in meV/Å² (1 meV/Å² = 16.02 mJ/m²).

γ = (E(slab) − N E(bulk)) / 2A of a slab of N atoms with two faces of area A, cut from the crystal at the
model's own lattice constant and not relaxed: relaxing moves copper's energies by a few per cent, and what is
compared needs no optimiser. Where nothing but bulk was trained on, surfaces are extrapolation, and
models tend to give them too little energy (Deng et al., npj Comput. Mater. 11, 9 (2025)): wrong shapes of
particles, and cracks and voids that cost too little. Cost: one prediction of 34 atoms.
"""

from __future__ import annotations

from pydantic import Field

from mlipilot.evaluation.declaration import CRYSTAL, Group, Metric, Section, Settings
from mlipilot.evaluation.lazily import Array, Atoms, Bench, np
from mlipilot.evaluation.metrics_file import Measurement


class SurfaceSettings(Settings):
    """Slabs of one atom a layer, with vacuum on both sides."""

    layers: int = Field(default=10, ge=4, le=100)
    vacuum_a: float = Field(default=8.0, ge=3, le=50)


def slabs(bench: Bench) -> list[Atoms]:
    """One of each face, periodic in all directions."""
    from ase.build import bcc100, bcc110, bcc111, fcc100, fcc110, fcc111

    crystal, settings = bench.settings.crystal, bench.settings.section(SurfaceSettings)
    cuts = {"fcc": (fcc100, fcc110, fcc111), "bcc": (bcc100, bcc110, bcc111)}
    size = (1, 1, settings.layers)
    return [
        cut(crystal.symbol, size, bench.lattice.lattice_constant_a, vacuum=settings.vacuum_a, periodic=True)
        for cut in cuts[crystal.structure]
    ]


def energies_mev_per_a2(bench: Bench) -> Array:
    """γ of the three faces, (3,)."""
    from mlipilot.evaluation.crystal import cubic_cell

    bulk = cubic_cell(bench.settings.crystal, bench.lattice.lattice_constant_a)
    cut = slabs(bench)
    energies_ev = [one.energy_ev for one in bench.predict([bulk, *cut])]
    areas_a2 = np.array([slab.get_volume() / slab.cell.array[2, 2] for slab in cut])
    bulk_ev = np.array([len(slab) for slab in cut]) * energies_ev[0] / len(bulk)
    found: Array = 1000 * (np.array(energies_ev[1:]) - bulk_ev) / (2 * areas_a2)
    return found


def measure(bench: Bench) -> Measurement:
    """The error over the three faces."""
    truth = np.array(bench.truth("surface_energies_mev_per_a2"))
    errors = abs(energies_mev_per_a2(bench) - truth)
    return Measurement({"surface_energy_mae_mev_per_a2": float(errors.mean())})


def _as_list(bench: Bench) -> list[float]:
    found: list[float] = energies_mev_per_a2(bench).tolist()
    return found


GROUP = Group(
    name="surfaces",
    place=250,
    metrics=(Metric("surface_energy_mae_mev_per_a2", "meV/Å²", "lower", "surface energy MAE", CRYSTAL),),
    measure=measure,
    sections=(Section("surfaces", SurfaceSettings, CRYSTAL),),
    reference={"surface_energies_mev_per_a2": _as_list},
    source="Deng et al., npj Comput. Mater. 11, 9 (2025)",
    exam=True,
)
