"""What the candidates of a synthetic run hand over, and what is measured on them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlipilot.evaluation.catalog import CATALOG
from mlipilot.versions import versions

HANDOVER = {
    "format": "mlipilot-handover/1",
    "model_class": "MACE",
    "dtype": "float64",
    "arguments": {
        "r_max": 4.0,
        "num_bessel": 2,
        "num_polynomial_cutoff": 5,
        "max_ell": 1,
        "interaction_cls": "RealAgnosticResidualInteractionBlock",
        "interaction_cls_first": "RealAgnosticInteractionBlock",
        "num_interactions": 2,
        "hidden_irreps": "2x0e",
        "MLP_irreps": "2x0e",
        "atomic_energies": [0.0],
        "avg_num_neighbors": 1.0,
        "atomic_numbers": [29],
        "correlation": 1,
        "gate": "silu",
        "radial_type": "bessel",
        "radial_MLP": [2],
    },
}
"""The `config.json` of what a smoke step hands over."""


def labelled_frames(count: int = 8) -> str:
    """Cells of two atoms with energies, forces and stresses, in extended XYZ."""
    rows = []
    for number in range(count):
        stress = " ".join(f"{number}.{k}" for k in range(9))
        said = f'REF_energy=-{number + 1}.25 REF_stress="{stress}" Lattice="4 0 0 0 4 0 0 0 4" pbc="T T T"'
        rows += ["2", f"Properties=species:S:1:pos:R:3:REF_forces:R:3 {said}"]
        forces = [[math.sin(9.0 * number + 4.0 * atom + k) for k in range(3)] for atom in (0, 1)]
        rows += [f"Cu {2 * n} {2 * n} {2 * n} {x:.6f} {y:.6f} {z:.6f}" for n, (x, y, z) in enumerate(forces)]
    return "\n".join(rows) + "\n"


# Plausible metrics of a candidate of quality 0 (the baseline) to 1; the values in between are geometric.
RANGES = {
    "energy_mae_mev_per_atom": (12.0, 1.55),
    "energy_rmse_mev_per_atom": (15.0, 2.1),
    "energy_worst_mev_per_atom": (48.0, 6.9),
    "force_mae_mev_per_a": (63.0, 9.8),
    "force_rmse_mev_per_a": (92.0, 14.1),
    "force_worst_ev_per_a": (2.9, 0.14),
    "stress_mae_gpa": (0.60, 0.09),
    "large_cell_force_mae_mev_per_a": (79.0, 18.7),
    "lattice_constant_a": (3.5905, 3.5899),
    "lattice_constant_error_percent": (0.07, 0.03),
    "bulk_modulus_gpa": (153.0, 135.2),
    "bulk_modulus_error_percent": (17.0, 0.7),
    "elastic_constant_worst_error_percent": (25.0, 1.5),
    "vacancy_formation_energy_error_ev": (0.35, 0.13),
    "compressed_pair_energy_error_percent": (88.0, 7.0),
    "nve_drift_mev_per_atom_per_ps": (0.013, 0.008),
    "nve_completed_fraction": (1.0, 1.0),
    "nvt_rdf_mae": (0.035, 0.014),
    "nvt_completed_fraction": (1.0, 1.0),
    "rotation_error_mev": (2e-11, 1e-11),
    "translation_error_mev": (1e-11, 1e-11),
    "permutation_error_mev": (1e-11, 1e-11),
    "extensivity_error_mev": (3e-11, 2e-11),
    "finite_difference_force_error_mev_per_a": (4e-4, 8e-4),
    "relative_cost": (0.6, 1.2),
    "throughput_atom_steps_per_s": (5200.0, 2300.0),
    "timing_cpu_share": (0.97, 0.97),
    "parameter_count": (1812.0, 9012.0),
    "force_variance_explained": (0.981, 0.9996),
    "phonon_frequency_mae_thz": (0.2, 0.04),
    "hot_force_slope_error": (0.05, 0.01),
    "vacancy_migration_barrier_error_ev": (0.13, 0.06),
    "energy_volume_extra_minima": (0.1, 0.01),
    "nvt_rdf_wasserstein_a": (0.008, 0.0005),
    "nvt_pressure_error_gpa": (0.3, 0.08),
}
EXAM_RANGES = {
    "bcc_fcc_energy_error_mev_per_atom": (33.0, 18.0),
    "surface_energy_mae_mev_per_a2": (33.0, 6.0),
    "unstable_stacking_fault_error_mj_per_m2": (99.0, 9.0),
    "dimer_wall_wrong_fraction": (0.5, 0.4),
}
"""The same of what is measured at the end alone."""


def curves(seed: int, quality: float) -> dict[str, Any]:
    """Arrays by the evaluator's names."""
    rng, truth = np.random.default_rng(seed), np.random.default_rng(0)
    error = 0.1 ** (1 - quality) * 0.012**quality
    energies = truth.uniform(-0.01, 0.35, 60)
    forces = truth.standard_normal((480, 3)) * 0.9
    distance = np.linspace(0.05, 4.95, 50)
    shells = np.exp(-((distance - 2.58) ** 2) / 0.05) * 3.2 + np.exp(-((distance - 3.66) ** 2) / 0.09) * 1.1
    rdf = shells + np.exp(-((distance - 4.47) ** 2) / 0.12) * 1.8
    time = np.arange(150) * 0.004
    return {
        "energy_reference_ev_per_atom": energies,
        "energy_model_ev_per_atom": energies + rng.standard_normal(60) * error / 8,
        "force_reference_ev_per_a": forces,
        "force_model_ev_per_a": forces + rng.standard_normal((480, 3)) * error,
        "rdf_distance_a": distance,
        "rdf_model": rdf * (1 + (1 - quality) * 0.1 * np.sin(distance * 4)),
        "rdf_reference": rdf,
        "nve_600k_time_ps": time,
        "nve_600k_energy_mev_per_atom": np.sin(time * 60) * 0.02 * (1.5 - quality) + 0.01 * time,
    }


def metrics_file(
    number: int, seed: int, quality: float, broken: tuple[str, ...] = (), ranges: Mapping[str, Any] = RANGES
) -> dict[str, Any]:
    """A `metrics.json`, a little different for each seed."""
    rng = np.random.default_rng(1000 * number + seed)
    metrics = {}
    for name, (bad, good) in ranges.items():
        noise = 1.0 if bad == good else math.exp(min(0.06, abs(bad - good) / bad) * rng.standard_normal())
        value = float(bad ** (1 - quality) * good**quality * noise)
        failed = name in broken
        metrics[name] = {
            "value": None if failed else value,
            "unit": CATALOG[name].unit,
            "status": "failed" if failed else "ok",
            "reason": "the dynamics broke: a force of 61 eV/Å at step 42" if failed else None,
            "cost_s": 0.5,
        }
    return {
        "format": "mlipilot-metrics/1",
        "split": "test",
        "metrics": metrics,
        "model": {"model_class": "ScaleShiftMACE", "weights_digest": (f"{number:02d}{seed:02d}" * 16)[:64]},
        "versions": versions(),
        "wall_s": 22.0,
        "cpu_s": 21.0,
    }
