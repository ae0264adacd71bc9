"""Phonon frequencies of the crystal (THz): mean |ν − ν_reference| over a mesh of q, and the lowest one.

Force constants by central differences of the forces in `repeats`³ cubic cells at the model's own lattice
constant, by phonopy (Togo, J. Phys. Soc. Jpn. 92, 012001 (2023)): crystal symmetry leaves two structures to
compute, and the sum rule of translations is imposed. The mesh is even around Γ, which itself is left out: its
three frequencies are zero by that rule. Each irreducible q counts as often as it is in the mesh; branches are
compared by rank. An imaginary frequency counts as a negative one: where the lowest is negative, the perfect
crystal is no minimum of the model's energy, and its cold dynamics lead away from it. A large error with
positive frequencies is wrong stiffness, which heat capacity, thermal expansion and sound inherit. Cost: two
predictions of 108 atoms, and about 1 s of phonopy.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field

from mlipilot.evaluation.declaration import CRYSTAL, Group, Metric, Section, Settings
from mlipilot.evaluation.lazily import Array, Bench, np
from mlipilot.evaluation.metrics_file import Measurement
from mlipilot.evaluation.panels import CRYSTALS, Parity

_CENTRING: dict[str, Literal["F", "I"]] = {"fcc": "F", "bcc": "I"}


class PhononSettings(Settings):
    """Force constants in `repeats`³ cubic cells, frequencies on a mesh of q."""

    repeats: int = Field(default=3, ge=1, le=8)
    step_a: float = Field(default=0.01, gt=0, le=0.1)
    mesh: int = Field(default=6, ge=2, le=48)
    """Points along each reciprocal vector of the primitive cell; an even number has the zone's borders."""


class Phonons(NamedTuple):
    """Frequencies at the irreducible points of a mesh, without Γ."""

    frequencies_thz: Array
    """(points, branches), ascending at each point, imaginary ones negative."""
    weights: Array
    """How often each point is in the mesh, (points,)."""


def phonons(bench: Bench) -> Phonons:
    """Of the crystal at its own lattice constant."""
    from ase import Atoms
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    from mlipilot.evaluation.crystal import cubic_cell

    settings = bench.settings.section(PhononSettings)
    cell = cubic_cell(bench.settings.crystal, bench.lattice.lattice_constant_a)
    found = Phonopy(
        PhonopyAtoms(numbers=cell.numbers, cell=cell.cell.array, positions=cell.positions),
        supercell_matrix=[settings.repeats] * 3,
        primitive_matrix=_CENTRING[bench.settings.crystal.structure],
    )
    found.generate_displacements(distance=settings.step_a, is_plusminus=True)
    moved = [
        Atoms(one.symbols, cell=one.cell, scaled_positions=one.scaled_positions, pbc=True)
        for one in found.supercells_with_displacements or []
    ]
    found.forces = np.array([one.forces_ev_per_a for one in bench.predict(moved)])
    found.produce_force_constants()
    found.symmetrize_force_constants()
    mesh = found.run_mesh([settings.mesh] * 3, is_gamma_center=True)
    not_gamma = abs(np.asarray(mesh.qpoints)).max(axis=1) > 0
    frequencies = np.sort(np.asarray(mesh.frequencies), axis=1)
    return Phonons(frequencies[not_gamma], np.asarray(mesh.weights, dtype=float)[not_gamma])


def measure(bench: Bench) -> Measurement:
    """The error and the lowest frequency; the frequencies of both as curves."""
    found, weights = phonons(bench)
    truth = np.array(bench.truth("phonon_frequencies_thz")).reshape(found.shape)
    errors = abs(found - truth).mean(axis=1)
    return Measurement(
        {
            "phonon_frequency_mae_thz": float(weights @ errors / weights.sum()),
            "phonon_lowest_thz": float(found.min()),
        },
        curves={"phonon_reference_thz": truth.ravel(), "phonon_model_thz": found.ravel()},
    )


def _flat(bench: Bench) -> list[float]:
    frequencies: list[float] = phonons(bench).frequencies_thz.ravel().tolist()
    return frequencies


GROUP = Group(
    name="phonons",
    place=200,
    metrics=(
        Metric("phonon_frequency_mae_thz", "THz", "lower", "phonon frequency MAE", CRYSTAL),
        Metric("phonon_lowest_thz", "THz", "higher", "lowest phonon frequency", CRYSTAL),
    ),
    measure=measure,
    sections=(Section("phonons", PhononSettings, CRYSTAL),),
    reference={"phonon_frequencies_thz": _flat},
    panels=(
        Parity(
            figure=CRYSTALS,
            title="Phonon frequency",
            caption="frequencies at the points of a mesh of q, imaginary ones negative.",
            arrays=("phonon_reference_thz", "phonon_model_thz"),
            unit="THz",
        ),
    ),
    source="Togo, J. Phys. Soc. Jpn. 92, 012001 (2023)",
    exam=True,
)
