"""Elastic constants of a cubic crystal (GPa) and the largest of their three errors in per cent.

C_ij = dσ_i/dε_j by least squares over pinned small strains on both sides and the equilibrium, through
matcalc's ElasticityCalc on pymatgen's deformations; each constant is the mean over its symmetry equivalents.
The strains are pinned because matcalc's default shears (±3 and ±6 %) shift C44 of Cu by 9 %.
Importing matcalc costs about 2 s after torch and MACE; it is imported here, when it is needed.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from mlipilot.evaluation.crystal import cubic_cell
from mlipilot.evaluation.reference_values import ReferenceValues, percent_error
from mlipilot.evaluation.results import Measurement
from mlipilot.evaluation.subject import Subject


class ElasticConstants(NamedTuple):
    """The three constants of a cubic crystal."""

    c11_gpa: float
    c12_gpa: float
    c44_gpa: float


def elastic_constants(subject: Subject) -> ElasticConstants:
    """C11, C12 and C44 at the subject's own equilibrium lattice constant."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of many libraries at import, and of a poor fit, which the error shows
        from matcalc import ElasticityCalc

        settings = subject.settings
        tensor = ElasticityCalc(
            subject.calculator,
            norm_strains=settings.elasticity.normal_strains,
            shear_strains=settings.elasticity.shear_strains,
            relax_structure=False,  # it is at equilibrium, its atoms on symmetry sites
            units_GPa=True,
        ).calc(cubic_cell(settings.crystal, subject.lattice.lattice_constant_a))["elastic_tensor"]
    c = np.asarray(tensor)
    return ElasticConstants(
        float(np.mean([c[i, i, i, i] for i in range(3)])),
        float(np.mean([c[i, i, j, j] for i, j in ((0, 1), (0, 2), (1, 2))])),
        float(np.mean([c[i, j, i, j] for i, j in ((0, 1), (0, 2), (1, 2))])),
    )


def measure(subject: Subject, reference: ReferenceValues) -> Measurement:
    """The three constants and their largest error."""
    found = elastic_constants(subject)
    truth = ElasticConstants(reference.c11_gpa, reference.c12_gpa, reference.c44_gpa)
    # NumPy's max keeps a NaN, which Python's may lose
    worst = float(np.max([percent_error(value, true) for value, true in zip(found, truth, strict=True)]))
    return Measurement({**found._asdict(), "elastic_constant_worst_error_percent": worst})
