"""Elastic constants of a cubic crystal (GPa) and the largest of their three errors in per cent.

C_ij = dσ_i/dε_j by least squares over pinned small strains on both sides and the equilibrium, through
matcalc's ElasticityCalc on pymatgen's deformations; each constant is the mean over its symmetry equivalents.
The strains are pinned because matcalc's default shears (±3 and ±6 %) shift C44 of Cu by 9 %.
Importing matcalc costs about 2 s after torch and MACE; it is imported here, when it is needed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from mlipilot.evaluation.declaration import CRYSTAL, Group, Metric, Section, Settings
from mlipilot.evaluation.lazily import Bench, np
from mlipilot.evaluation.metrics_file import Measurement, percent_error

SmallStrain = Annotated[float, Field(ge=-0.05, le=0.05)]


class ElasticitySettings(Settings):
    """Stress-strain fits. Small strains on both sides: a wider shear range shifts C44 by ten per cent."""

    normal_strains: tuple[SmallStrain, ...] = (-0.01, -0.005, 0.005, 0.01)
    shear_strains: tuple[SmallStrain, ...] = (-0.01, -0.005, 0.005, 0.01)


def elastic_constants_gpa(bench: Bench) -> dict[str, float]:
    """C11, C12 and C44 by name, at the calculator's own equilibrium lattice constant."""
    from mlipilot.evaluation.crystal import cubic_cell

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries at import; of a poor fit, which the error shows
        from matcalc import ElasticityCalc

        settings = bench.settings.section(ElasticitySettings)
        tensor = ElasticityCalc(
            bench.calculator,
            norm_strains=settings.normal_strains,
            shear_strains=settings.shear_strains,
            relax_structure=False,  # it is at equilibrium, its atoms on symmetry sites
            units_GPa=True,
        ).calc(cubic_cell(bench.settings.crystal, bench.lattice.lattice_constant_a))["elastic_tensor"]
    c = np.asarray(tensor)
    return {
        "c11_gpa": float(np.mean([c[i, i, i, i] for i in range(3)])),
        "c12_gpa": float(np.mean([c[i, i, j, j] for i, j in ((0, 1), (0, 2), (1, 2))])),
        "c44_gpa": float(np.mean([c[i, j, i, j] for i, j in ((0, 1), (0, 2), (1, 2))])),
    }


def measure(bench: Bench) -> Measurement:
    """The three constants and their largest error."""
    found = elastic_constants_gpa(bench)
    errors = [percent_error(value, bench.truth(name)) for name, value in found.items()]
    worst = float(np.max(errors))  # NumPy's max keeps a NaN, which Python's may lose
    return Measurement(found | {"elastic_constant_worst_error_percent": worst})


def _constant(name: str) -> Callable[[Bench], float]:
    return lambda bench: bench.once("elastic constants", lambda: elastic_constants_gpa(bench))[name]


GROUP = Group(
    name="elasticity",
    place=50,
    metrics=(
        Metric("c11_gpa", "GPa", "none", "C11", CRYSTAL),
        Metric("c12_gpa", "GPa", "none", "C12", CRYSTAL),
        Metric("c44_gpa", "GPa", "none", "C44", CRYSTAL),
        Metric("elastic_constant_worst_error_percent", "%", "lower", "worst elastic constant error", CRYSTAL),
    ),
    measure=measure,
    sections=(Section("elasticity", ElasticitySettings, CRYSTAL),),
    reference={name: _constant(name) for name in ("c11_gpa", "c12_gpa", "c44_gpa")},
    source="matcalc's ElasticityCalc",
)
