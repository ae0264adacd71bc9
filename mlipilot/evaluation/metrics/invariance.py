"""Laws that the energy of any atomistic system obeys, as deviations in meV.

Rotation: E(R x) = E(x) and F(R x) = R F(x), the larger deviation of the two (forces in meV/Å);
translation: E(x + t) = E(x) with atoms wrapped across borders; permutation: E does not know the order of
atoms; extensivity: E(two cells) = 2 E(one cell), without a cell E(two far copies) = 2 E(one). MACE obeys them
to rounding, about 1e-10 meV in float64: a larger number shows a model that is none. Rotation,
translation and extensivity are among the tests of ML-PEG (2025), too.
"""

from __future__ import annotations

from pydantic import Field

from mlipilot.evaluation.declaration import Group, Metric, Section, Settings
from mlipilot.evaluation.lazily import Array, Atoms, Bench, np
from mlipilot.evaluation.metrics_file import Measurement

_FAR_A = 50.0  # beyond the largest cutoff that a hand-over may have


class InvarianceSettings(Settings):
    """Random rotations, translations and permutations of a rattled cell, or of frames as they are."""

    trials: int = Field(default=2, ge=1, le=100)
    rattle_a: float = Field(default=0.1, gt=0, le=0.5)
    seed: int = Field(default=17, ge=0)


def measure(bench: Bench) -> Measurement:
    """The largest deviation of each kind over structures and trials."""
    from scipy.spatial.transform import Rotation

    settings = bench.settings.section(InvarianceSettings)
    rng = np.random.default_rng(settings.seed)
    kinds = ("rotation", "translation", "permutation", "extensivity")
    deviations: dict[str, list[float]] = {name: [] for name in kinds}
    for atoms in bench.rattled(2, settings.rattle_a, settings.seed):
        energy, forces = _evaluate(bench, atoms)
        for _ in range(settings.trials):
            rotation = Rotation.from_quat(rng.normal(size=4)).as_matrix()
            turned_energy, turned_forces = _evaluate(bench, rotated(atoms, rotation))
            deviations["rotation"] += [
                abs(turned_energy - energy),
                float(np.abs(turned_forces - forces @ rotation.T).max()),
            ]
            deviations["translation"].append(abs(_evaluate(bench, translated(atoms, rng))[0] - energy))
            order = rng.permutation(len(atoms))
            deviations["permutation"].append(abs(_evaluate(bench, atoms[order])[0] - energy))
        deviations["extensivity"].append(abs(_evaluate(bench, doubled(atoms))[0] - 2 * energy))
    return Measurement(
        {f"{name}_error_mev": 1000 * float(np.max(found)) for name, found in deviations.items()}
    )


def rotated(atoms: Atoms, rotation: Array) -> Atoms:
    """Positions and cell turned by a (3, 3) rotation matrix."""
    copy: Atoms = atoms.copy()
    copy.set_cell(atoms.cell.array @ rotation.T)
    copy.positions = atoms.positions @ rotation.T
    return copy


def translated(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """All atoms moved by one random vector of about a cell's length (else 10 Å), and wrapped back."""
    copy: Atoms = atoms.copy()
    if atoms.pbc.any():
        copy.positions += rng.uniform(0, 1, 3) @ atoms.cell.array
        copy.wrap()
    else:
        copy.positions += rng.uniform(0, 10, 3)
    return copy


def doubled(atoms: Atoms) -> Atoms:
    """Two cells beside each other along a periodic axis; without one, two copies too far apart to feel."""
    if atoms.pbc.any():
        repeats = [1, 1, 1]
        repeats[int(atoms.pbc.argmax())] = 2
        twice: Atoms = atoms.repeat(repeats)
        return twice
    far = atoms.copy()
    far.positions[:, 0] += float(np.ptp(atoms.positions[:, 0])) + _FAR_A
    both: Atoms = atoms + far
    return both


def _evaluate(bench: Bench, atoms: Atoms) -> tuple[float, Array]:
    (found,) = bench.predict([atoms])
    return found.energy_ev, found.forces_ev_per_a


GROUP = Group(
    name="invariance",
    place=80,
    metrics=tuple(
        Metric(f"{law}_error_mev", "meV", "lower", f"{law} error")
        for law in ("rotation", "translation", "permutation", "extensivity")
    ),
    measure=measure,
    sections=(Section("invariance", InvarianceSettings),),
    source="ML-PEG (github.com/ddmms/ml-peg, 2025)",
)
