"""Forces against the slope of the energy: max |F + (E(x + h) − E(x − h)) / 2h| in meV/Å.

Central differences on randomly chosen components of a rattled cell, or of test frames; truncation error of
order h². A model whose forces are not the gradient of its energy shows here at once.
"""

from __future__ import annotations

from pydantic import Field

from mlipilot.evaluation.declaration import Group, Metric, Section, Settings
from mlipilot.evaluation.lazily import Atoms, Bench, np
from mlipilot.evaluation.metrics_file import Measurement


class FiniteDifferenceSettings(Settings):
    """Central differences of the energy for some components of a rattled cell, or of each frame."""

    components: int = Field(default=6, ge=1, le=1000)
    step_a: float = Field(default=1e-3, gt=0, le=0.1)
    rattle_a: float = Field(default=0.1, gt=0, le=0.5)
    seed: int = Field(default=19, ge=0)


def measure(bench: Bench) -> Measurement:
    """The largest deviation over the chosen components of each structure."""
    settings = bench.settings.section(FiniteDifferenceSettings)
    structures = bench.rattled(2, settings.rattle_a, settings.seed)
    found = [1000 * _largest_ev_per_a(bench, atoms, settings) for atoms in structures]
    return Measurement({"finite_difference_force_error_mev_per_a": float(np.max(found))})


def _largest_ev_per_a(bench: Bench, atoms: Atoms, settings: FiniteDifferenceSettings) -> float:
    from mlipilot.evaluation.frames import displaced

    rng = np.random.default_rng(settings.seed)
    chosen = rng.choice(
        atoms.positions.size, size=min(settings.components, atoms.positions.size), replace=False
    )
    found = bench.predict([atoms, *displaced(atoms, chosen, settings.step_a)])
    forces = found[0].forces_ev_per_a.reshape(-1)[chosen]
    energies = np.array([one.energy_ev for one in found[1:]]).reshape(-1, 2)
    slopes = (energies[:, 0] - energies[:, 1]) / (2 * settings.step_a)
    return float(abs(forces + slopes).max())


GROUP = Group(
    name="finite_difference",
    place=90,
    metrics=(
        Metric("finite_difference_force_error_mev_per_a", "meV/Å", "lower", "finite-difference force error"),
    ),
    measure=measure,
    sections=(Section("finite_difference", FiniteDifferenceSettings),),
)
