"""What molecules look like in constant-temperature dynamics: lengths of bonds and planar centres, in Å.

Over the dynamics of `stability.py`, every tenth step. Bond length shift: |⟨r⟩ − r₀|, ⟨r⟩ a bond's mean length
and r₀ that at the true equilibrium, averaged over all bonds of all molecules. MLIPAudit's bound (Wehrhan et
al., 2025) is 0.05 Å; anharmonic bonds of the truth grow by up to 0.01 Å at 500 K, so less than that says
nothing. Planarity: mean distance of an atom from the plane through its three neighbours, over the steps and
over all atoms that have three and lie within 0.05 Å of that plane at the true equilibrium (as with
MLIPAudit's planarity of rings, but for every such centre, in rings or not). The harmonic vibration of
formaldehyde's carbon, 1180/cm, alone gives 0.04 Å at 500 K; a tetrahedral carbon has 0.36 Å. Both fail where
the dynamics break. Cost: that of the dynamics, unless `stability.py` has made them in the same evaluation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlipilot.evaluation.declaration import MOLECULES, Group, Metric
from mlipilot.evaluation.lazily import Array, Atoms, Bench, np
from mlipilot.evaluation.metrics_file import Measurement, MeasurementError
from mlipilot.evaluation.watched_molecules import SAMPLE_EVERY, has_bonds, watched

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PLANAR_A = 0.05


def planar_centres(atoms: Atoms) -> NDArray[np.int64]:
    """Each atom of three neighbours in whose plane it lies, and these three, (centres, 4)."""
    from mlipilot.evaluation.bonds import bonds

    pairs = bonds(atoms)
    both_ways = np.concatenate([pairs, pairs[:, ::-1]])
    neighbours = [np.sort(both_ways[both_ways[:, 0] == atom, 1]) for atom in range(len(atoms))]
    centres = [[atom, *three] for atom, three in enumerate(neighbours) if len(three) == 3]
    found = np.array(centres, dtype=np.int64).reshape(-1, 4)
    return found[heights_a(atoms.positions, found) < _PLANAR_A]


def heights_a(positions_a: Array, centres: NDArray[np.int64]) -> Array:
    """Distance in Å of each centre from its neighbours' plane, (..., centres); positions (..., atoms, 3)."""
    centre, one, two, three = np.moveaxis(positions_a[..., centres, :], -2, 0)
    normals = np.cross(two - one, three - one)
    heights: Array = abs(((centre - one) * normals).sum(axis=-1)) / np.linalg.norm(normals, axis=-1)
    return heights


def measure(bench: Bench) -> Measurement:
    """Both means. Raises MeasurementError when the dynamics broke."""
    from mlipilot.evaluation.bonds import lengths_a

    outcome, watches = watched(bench)
    if outcome.broken:
        raise MeasurementError(outcome.broken)
    if outcome.steps_done < SAMPLE_EVERY:
        raise MeasurementError(f"the dynamics have fewer than {SAMPLE_EVERY} steps")
    shifts: list[Array] = []
    heights: list[Array] = []
    for molecule, watch in zip(bench.molecules, watches, strict=True):
        positions = np.array(watch.samples_a)
        shifts.append(abs(lengths_a(positions, watch.pairs).mean(axis=0) - watch.equilibrium_a))
        heights.append(heights_a(positions, planar_centres(molecule.atoms)).ravel())
    values = {"md_bond_length_shift_a": np.concatenate(shifts), "md_planarity_a": np.concatenate(heights)}
    return Measurement({name: float(found.mean()) for name, found in values.items() if found.size})


GROUP = Group(
    name="MD geometry",
    place=125,
    metrics=(
        Metric("md_bond_length_shift_a", "Å", "lower", "MD bond length shift", MOLECULES, has_bonds),
        Metric(
            "md_planarity_a",
            "Å",
            "lower",
            "MD distance of planar centres from their plane",
            MOLECULES,
            lambda bench: any(len(planar_centres(molecule.atoms)) for molecule in bench.molecules),
        ),
    ),
    measure=measure,
    source="Wehrhan et al., MLIPAudit, arXiv:2511.20487 (2025)",
    exam=True,
)
