"""Energies of other crystal structures: errors of E(hcp) − E(fcc) and E(bcc) − E(fcc) in meV/atom.

All three at the volume per atom of the model's own equilibrium crystal, hcp with the ideal ratio c/a =
√(8/3), nothing relaxed: fcc and hcp then differ in the stacking of their planes alone. No such structure need
be in the training data. An error as large as the difference itself may turn the order of phases round: a
model that takes hcp for as good as fcc grows stacking faults, one that takes bcc for better leaves fcc when
it is hot or strained. Cost: one prediction of four atoms.
"""

from __future__ import annotations

import math

from mlipilot.evaluation.declaration import CRYSTAL, Group, Metric
from mlipilot.evaluation.lazily import Bench
from mlipilot.evaluation.metrics_file import Measurement


def above_fcc_mev_per_atom(bench: Bench) -> dict[str, float]:
    """E − E(fcc) of hcp and bcc, by their names."""
    from ase.build import bulk

    from mlipilot.evaluation.crystal import cubic_cell

    crystal = bench.settings.crystal
    cell = cubic_cell(crystal, bench.lattice.lattice_constant_a)
    volume_a3 = cell.get_volume() / len(cell)
    fcc_a, bcc_a = math.cbrt(4 * volume_a3), math.cbrt(2 * volume_a3)
    hcp_a = fcc_a / math.sqrt(2)
    structures = [
        bulk(crystal.symbol, "fcc", a=fcc_a),
        bulk(crystal.symbol, "hcp", a=hcp_a, c=hcp_a * math.sqrt(8 / 3)),
        bulk(crystal.symbol, "bcc", a=bcc_a),
    ]
    fcc, hcp, bcc = (float(one.energy_ev) / len(one.forces_ev_per_a) for one in bench.predict(structures))
    return {"hcp": 1000 * (hcp - fcc), "bcc": 1000 * (bcc - fcc)}


def measure(bench: Bench) -> Measurement:
    """Both errors."""
    found = above_fcc_mev_per_atom(bench)
    return Measurement(
        {
            f"{phase}_fcc_energy_error_mev_per_atom": abs(
                energy - bench.truth(f"{phase}_fcc_energy_mev_per_atom")
            )
            for phase, energy in found.items()
        }
    )


GROUP = Group(
    name="phase energies",
    place=240,
    metrics=(
        Metric("hcp_fcc_energy_error_mev_per_atom", "meV/atom", "lower", "hcp − fcc energy error", CRYSTAL),
        Metric("bcc_fcc_energy_error_mev_per_atom", "meV/atom", "lower", "bcc − fcc energy error", CRYSTAL),
    ),
    measure=measure,
    reference={
        "hcp_fcc_energy_mev_per_atom": lambda bench: above_fcc_mev_per_atom(bench)["hcp"],
        "bcc_fcc_energy_mev_per_atom": lambda bench: above_fcc_mev_per_atom(bench)["bcc"],
    },
    source="Mishin et al., Phys. Rev. B 63, 224106 (2001)",
    exam=True,
)
