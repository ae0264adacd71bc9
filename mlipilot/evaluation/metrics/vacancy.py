"""Vacancy formation energy (eV) and its absolute error.

E_f = E(N − 1, relaxed) − (N − 1)/N · E(N), at fixed cell and the model's own lattice constant
(the standard definition, e.g. Mishin et al., Phys. Rev. B 63, 224106 (2001)); relaxed with ASE's BFGS.
"""

from __future__ import annotations

from pydantic import Field

from mlipilot.evaluation.declaration import CRYSTAL, Group, Metric, Section, Settings
from mlipilot.evaluation.lazily import Bench
from mlipilot.evaluation.metrics_file import Measurement, MeasurementError


class VacancySettings(Settings):
    """A vacancy in `repeats`³ cubic cells."""

    repeats: int = Field(default=2, ge=1, le=8)
    fmax_ev_per_a: float = Field(default=0.02, gt=0, le=0.5)
    max_steps: int = Field(default=60, ge=1, le=2000)


def formation_energy_ev(bench: Bench) -> float:
    """E_f in eV. Raises MeasurementError when the relaxation does not converge."""
    from ase.optimize import BFGS

    from mlipilot.evaluation.crystal import cubic_cell, energy_per_atom

    settings = bench.settings.section(VacancySettings)
    atoms = cubic_cell(bench.settings.crystal, bench.lattice.lattice_constant_a, settings.repeats)
    bulk_ev_per_atom = energy_per_atom(bench.calculator, atoms)
    del atoms[0]
    atoms.calc = bench.calculator
    converged = BFGS(atoms, logfile=None).run(fmax=settings.fmax_ev_per_a, steps=settings.max_steps)
    if not converged:
        raise MeasurementError(
            f"the vacancy did not relax to {settings.fmax_ev_per_a:g} eV/Å in {settings.max_steps} steps"
        )
    return float(atoms.get_potential_energy()) - len(atoms) * bulk_ev_per_atom


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
