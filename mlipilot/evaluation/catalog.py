"""Every metric by name: its unit, which way is better, and which measurement yields it.

Importable in a few milliseconds: neither torch nor ASE is needed to name a metric.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Better = Literal["lower", "higher", "none"]
System = Literal["crystal", "structures", "molecules"]
"""One crystal with a reference calculator; any labelled structures; molecules with reference properties."""
Group = Literal[
    "errors",
    "lattice",
    "elasticity",
    "vacancy",
    "compression",
    "nve",
    "nvt",
    "stability",
    "relaxation",
    "frequencies",
    "scan",
    "invariance",
    "finite_difference",
    "throughput",
    "size",
]


class MetricInfo(NamedTuple):
    """What a metric's number means."""

    unit: str
    """As people write it; "1" for a pure number."""
    better: Better
    """"none" for a number that only informs."""
    group: Group
    """The measurement in `evaluation/metrics/<group>.py` that yields it."""
    description: str
    systems: tuple[System, ...]
    """The systems that it makes sense for."""


_ALL: tuple[System, ...] = ("crystal", "structures", "molecules")
_CRYSTAL: tuple[System, ...] = ("crystal",)
_CELLS: tuple[System, ...] = ("crystal", "structures")
_FRAMES: tuple[System, ...] = ("structures", "molecules")
_MOLECULES: tuple[System, ...] = ("molecules",)


def _lower(unit: str, group: Group, description: str, systems: tuple[System, ...] = _CRYSTAL) -> MetricInfo:
    return MetricInfo(unit, "lower", group, description, systems)


def _higher(unit: str, group: Group, description: str, systems: tuple[System, ...]) -> MetricInfo:
    return MetricInfo(unit, "higher", group, description, systems)


def _informs(unit: str, group: Group, description: str) -> MetricInfo:
    return MetricInfo(unit, "none", group, description, _CRYSTAL)


CATALOG: dict[str, MetricInfo] = {
    "energy_mae_mev_per_atom": _lower(
        "meV/atom", "errors", "mean absolute error of the energy per atom", _ALL
    ),
    "energy_rmse_mev_per_atom": _lower(
        "meV/atom", "errors", "root mean squared error of the energy per atom", _ALL
    ),
    "energy_worst_mev_per_atom": _lower("meV/atom", "errors", "largest error of the energy per atom", _ALL),
    "force_mae_mev_per_a": _lower("meV/Å", "errors", "mean absolute error of force components", _ALL),
    "force_rmse_mev_per_a": _lower("meV/Å", "errors", "root mean squared error of force components", _ALL),
    "force_worst_ev_per_a": _lower("eV/Å", "errors", "largest error of a force component", _ALL),
    "stress_mae_gpa": _lower("GPa", "errors", "mean absolute error of the six stress components", _CELLS),
    "stress_rmse_gpa": _lower(
        "GPa", "errors", "root mean squared error of the six stress components", _CELLS
    ),
    "stress_worst_gpa": _lower("GPa", "errors", "largest error of a stress component", _CELLS),
    "large_cell_energy_mae_mev_per_atom": _lower(
        "meV/atom", "errors", "mean absolute error of the energy per atom over the larger test cells", _CELLS
    ),
    "large_cell_force_mae_mev_per_a": _lower(
        "meV/Å", "errors", "mean absolute error of force components over the larger test cells", _CELLS
    ),
    "unseen_energy_mae_mev_per_atom": _lower(
        "meV/atom",
        "errors",
        "mean absolute error of the energy per atom on unseen groups or molecules",
        _FRAMES,
    ),
    "unseen_force_mae_mev_per_a": _lower(
        "meV/Å", "errors", "mean absolute error of force components on unseen groups or molecules", _FRAMES
    ),
    "lattice_constant_a": _informs("Å", "lattice", "cubic lattice constant at zero pressure"),
    "lattice_constant_error_percent": _lower("%", "lattice", "error of the lattice constant"),
    "bulk_modulus_gpa": _informs("GPa", "lattice", "bulk modulus from the equation of state"),
    "bulk_modulus_error_percent": _lower("%", "lattice", "error of the bulk modulus"),
    "c11_gpa": _informs("GPa", "elasticity", "elastic constant C11 of the cubic crystal"),
    "c12_gpa": _informs("GPa", "elasticity", "elastic constant C12 of the cubic crystal"),
    "c44_gpa": _informs("GPa", "elasticity", "elastic constant C44 of the cubic crystal"),
    "elastic_constant_worst_error_percent": _lower(
        "%", "elasticity", "largest relative error among C11, C12 and C44"
    ),
    "vacancy_formation_energy_ev": _informs("eV", "vacancy", "relaxed energy to take one atom out"),
    "vacancy_formation_energy_error_ev": _lower(
        "eV", "vacancy", "absolute error of the vacancy formation energy"
    ),
    "compressed_pair_energy_ev_per_atom": _informs(
        "eV/atom", "compression", "energy of the strongly compressed crystal above its equilibrium"
    ),
    "compressed_pair_energy_error_percent": _lower(
        "%", "compression", "error of the strongly compressed crystal's energy above its equilibrium"
    ),
    "nve_drift_mev_per_atom_per_ps": _lower(
        "meV/atom/ps", "nve", "largest |slope| of the total energy in constant-energy dynamics", _ALL
    ),
    "nve_completed_fraction": _higher(
        "1", "nve", "share of the constant-energy steps done before the dynamics broke", _ALL
    ),
    "nvt_rdf_mae": _lower("1", "nvt", "mean |Δg(r)| against the reference in constant-temperature dynamics"),
    "nvt_completed_fraction": _higher(
        "1", "nvt", "share of the constant-temperature steps done before the dynamics broke", _CRYSTAL
    ),
    "md_stable_fraction": _higher(
        "1",
        "stability",
        "share of the constant-temperature steps done before a bond was off its length or the dynamics broke",
        _MOLECULES,
    ),
    "md_hydrogen_kept_fraction": _higher(
        "1",
        "stability",
        "share of the constant-temperature steps done before a hydrogen was far from every other atom",
        _MOLECULES,
    ),
    "relaxation_rmsd_a": _lower(
        "Å",
        "relaxation",
        "mean over molecules of the distance of the relaxed from the true geometry",
        _MOLECULES,
    ),
    "frequency_mae_per_cm": _lower(
        "1/cm",
        "frequencies",
        "mean absolute error of harmonic frequencies, imaginary ones negative",
        _MOLECULES,
    ),
    "scan_energy_mae_mev": _lower(
        "meV", "scan", "mean absolute error of energy profiles along scans, each shifted to fit", _MOLECULES
    ),
    "scan_roughness_mev": _lower(
        "meV", "scan", "largest departure of a profile's error from a smooth curve", _MOLECULES
    ),
    "rotation_error_mev": _lower(
        "meV",
        "invariance",
        "largest change of the energy (or, in meV/Å, of a co-rotated force) under rotation",
        _ALL,
    ),
    "translation_error_mev": _lower(
        "meV", "invariance", "largest change of the energy under translation across cell borders", _ALL
    ),
    "permutation_error_mev": _lower(
        "meV", "invariance", "largest change of the energy when atoms are listed in another order", _ALL
    ),
    "extensivity_error_mev": _lower(
        "meV", "invariance", "difference of the energy of two copies from twice the energy of one", _ALL
    ),
    "finite_difference_force_error_mev_per_a": _lower(
        "meV/Å", "finite_difference", "largest difference of a force from the numerical slope −dE/dx", _ALL
    ),
    "throughput_atom_steps_per_s": _higher(
        "atom·steps/s", "throughput", "atoms times dynamics steps per second on one thread", _ALL
    ),
    "relative_cost": _lower(
        "1", "throughput", "time per atom and step over that of a pinned reference MACE, timed in turns", _ALL
    ),
    "peak_memory_mib": _lower(
        "MiB", "size", "peak resident memory of the evaluating process above its imports", _ALL
    ),
    "parameter_count": _lower("1", "size", "number of trainable parameters", _ALL),
}
"""Every metric that a scorecard may name."""

GROUPS: tuple[Group, ...] = tuple(dict.fromkeys(info.group for info in CATALOG.values()))
"""The measurements, in the order in which the evaluator makes them."""


def names_of(group: Group, system: System | None = None) -> list[str]:
    """The metrics that one measurement yields, of one system or of all."""
    return [
        name
        for name, info in CATALOG.items()
        if info.group == group and (system is None or system in info.systems)
    ]


def metrics_of(system: System) -> list[str]:
    """The metrics that make sense for a system, in the catalogue's order."""
    return [name for name, info in CATALOG.items() if system in info.systems]


OF_THE_MACHINE = frozenset({"throughput_atom_steps_per_s", "relative_cost", "peak_memory_mib"})
"""What the clock and the memory of a machine say of a model: no two measurements are equal."""
