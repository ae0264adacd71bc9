"""Vacancy formation energy (eV) and its absolute error.

E_f = E(N − 1, relaxed) − (N − 1)/N · E(N), at fixed cell and the model's own lattice constant
(the standard definition, e.g. Mishin et al., Phys. Rev. B 63, 224106 (2001)); relaxed with ASE's BFGS.
"""

from __future__ import annotations

from pydantic import Field

from mlipilot.evaluation.declaration import CRYSTAL, Group, Metric, Section, Settings
from mlipilot.evaluation.lazily import Atoms, Bench
from mlipilot.evaluation.metrics_file import Measurement, MeasurementError


class VacancySettings(Settings):
    """A vacancy in `repeats`³ cubic cells."""

    repeats: int = Field(default=2, ge=1, le=8)
    fmax_ev_per_a: float = Field(default=0.02, gt=0, le=0.5)
    max_steps: int = Field(default=60, ge=1, le=2000)


def perfect(bench: Bench) -> Atoms:
    """The supercell without a vacancy, at the calculator's own lattice constant."""
    from mlipilot.evaluation.crystal import cubic_cell

    repeats = bench.settings.section(VacancySettings).repeats
    return cubic_cell(bench.settings.crystal, bench.lattice.lattice_constant_a, repeats)


def relaxed_energy_ev(bench: Bench, atoms: Atoms, what: str) -> float:
    """Energy in eV of `atoms` in their cell after relaxing them. Raises MeasurementError where it fails."""
    from ase.optimize import BFGS

    settings = bench.settings.section(VacancySettings)
    atoms.calc = bench.calculator
    converged = BFGS(atoms, logfile=None).run(fmax=settings.fmax_ev_per_a, steps=settings.max_steps)
    if not converged:
        raise MeasurementError(
            f"{what} did not relax to {settings.fmax_ev_per_a:g} eV/Å in {settings.max_steps} steps"
        )
    return float(atoms.get_potential_energy())


def vacancy_energy_ev(bench: Bench) -> float:
    """Energy in eV of the supercell with a vacancy at rest, sought once. Raises MeasurementError."""
    return bench.once("vacancy", lambda: _vacancy_energy_ev(bench))


def _vacancy_energy_ev(bench: Bench) -> float:
    atoms = perfect(bench)
    del atoms[0]
    return relaxed_energy_ev(bench, atoms, "the vacancy")


def formation_energy_ev(bench: Bench) -> float:
    """E_f in eV. Raises MeasurementError when the relaxation does not converge."""
    from mlipilot.evaluation.crystal import energy_per_atom

    whole = perfect(bench)
    bulk_ev_per_atom = energy_per_atom(bench.calculator, whole)
    return vacancy_energy_ev(bench) - (len(whole) - 1) * bulk_ev_per_atom


def measure(bench: Bench) -> Measurement:
    """The formation energy and its error."""
    found = formation_energy_ev(bench)
    truth = bench.truth("vacancy_formation_energy_ev")
    return Measurement(
        {"vacancy_formation_energy_ev": found, "vacancy_formation_energy_error_ev": abs(found - truth)}
    )


GROUP = Group(
    name="vacancy",
    place=60,
    metrics=(
        Metric("vacancy_formation_energy_ev", "eV", "none", "vacancy formation energy", CRYSTAL),
        Metric("vacancy_formation_energy_error_ev", "eV", "lower", "vacancy formation energy error", CRYSTAL),
    ),
    measure=measure,
    sections=(Section("vacancy", VacancySettings, CRYSTAL),),
    reference={"vacancy_formation_energy_ev": formation_energy_ev},
    source="Mishin et al., Phys. Rev. B 63, 224106 (2001)",
)
