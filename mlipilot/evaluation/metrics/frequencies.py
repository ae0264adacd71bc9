"""Harmonic frequencies: mean |ν − ν_reference| in cm⁻¹ over all vibrations of the molecules.

ν = ω / 2πc with ω² the eigenvalues of the mass-weighted Hessian H_ij = −dF_i/dx_j, by central differences of
the model's forces at the model's own relaxed geometry (Wilson, Decius and Cross, Molecular Vibrations,
1955). Translations and rotations are projected out, as many as the reference has. Both lists are sorted, an
imaginary frequency counts as a negative one, and they are compared rank by rank. Masses are ASE's.
"""

from __future__ import annotations

from pydantic import Field

from mlipilot.evaluation.declaration import MOLECULES, Group, Metric, Section, Settings
from mlipilot.evaluation.lazily import Array, Atoms, Bench, np
from mlipilot.evaluation.metrics_file import Measurement
from mlipilot.evaluation.panels import PROPERTIES, Parity
from mlipilot.evaluation.relaxed_molecules import relaxed


class FrequenciesSettings(Settings):
    """Harmonic frequencies at the relaxed geometry, by central differences of the forces."""

    step_a: float = Field(default=0.01, gt=0, le=0.1)


def hessian_ev_per_a2(bench: Bench, atoms: Atoms, step_a: float) -> Array:
    """The symmetrised Hessian, (3N, 3N)."""
    from mlipilot.evaluation.frames import displaced

    moved = displaced(atoms, range(atoms.positions.size), step_a)
    forces = np.array([found.forces_ev_per_a.ravel() for found in bench.predict(moved)])
    slopes: Array = (forces[1::2] - forces[::2]) / (2 * step_a)
    return (slopes + slopes.T) / 2


def rigid_motions(atoms: Atoms, count: int) -> Array:
    """Mass-weighted translations and rotations, orthonormal, (3N, count); `count` is 5 if linear, else 6."""
    weights = np.sqrt(atoms.get_masses())[:, None]
    arms = atoms.positions - atoms.get_center_of_mass()
    axes = np.eye(3)
    motions = [(weights * axis).ravel() for axis in axes]
    motions += [(weights * np.cross(axis, arms)).ravel() for axis in axes]
    basis: Array = np.linalg.svd(np.column_stack(motions), full_matrices=False)[0][:, :count]
    return basis


def frequencies_per_cm(bench: Bench, atoms: Atoms, vibrations: int, step_a: float) -> Array:
    """Harmonic frequencies at a stationary geometry, ascending, imaginary ones negative, (vibrations,)."""
    from ase.vibrations import VibrationsData

    roots = np.sqrt(np.repeat(atoms.get_masses(), 3))
    rigid = rigid_motions(atoms, 3 * len(atoms) - vibrations)
    inner = np.eye(3 * len(atoms)) - rigid @ rigid.T
    weighted = inner @ (hessian_ev_per_a2(bench, atoms, step_a) / np.outer(roots, roots)) @ inner
    modes = VibrationsData.from_2d(atoms, weighted * np.outer(roots, roots)).get_frequencies()
    signed = modes.real - modes.imag  # each is real or imaginary
    # the rigid motions, zero but for rounding, are left out
    return np.sort(signed[np.argsort(np.abs(signed))[-vibrations:]])


def measure(bench: Bench) -> Measurement:
    """The mean over all vibrations of all molecules; both lists as curves."""
    step_a = bench.settings.section(FrequenciesSettings).step_a
    truth = np.concatenate([molecule.frequencies_per_cm for molecule in bench.molecules])
    model = np.concatenate(
        [
            frequencies_per_cm(bench, relaxed(bench, molecule), len(molecule.frequencies_per_cm), step_a)
            for molecule in bench.molecules
        ]
    )
    return Measurement(
        {"frequency_mae_per_cm": float(abs(model - truth).mean())},
        curves={"frequency_reference_per_cm": truth, "frequency_model_per_cm": model},
    )


GROUP = Group(
    name="frequencies",
    place=140,
    metrics=(Metric("frequency_mae_per_cm", "1/cm", "lower", "frequency MAE", MOLECULES),),
    measure=measure,
    sections=(Section("frequencies", FrequenciesSettings, MOLECULES),),
    panels=(
        Parity(
            figure=PROPERTIES,
            title="Harmonic frequencies",
            caption="harmonic frequencies at the relaxed geometries, imaginary ones negative.",
            arrays=("frequency_reference_per_cm", "frequency_model_per_cm"),
            unit="1/cm",
        ),
    ),
    source="Wilson, Decius and Cross, Molecular Vibrations (1955)",
)
