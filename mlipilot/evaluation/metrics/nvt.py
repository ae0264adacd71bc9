"""Structure in constant-temperature dynamics: mean |g_model(r) − g_reference(r)| over the bins (no unit).

g(r) = n(r) / (4π r² Δr ρ), n(r) the mean number of neighbours in a shell of width Δr around an atom
(Allen and Tildesley, Computer Simulation of Liquids), with all periodic images. Langevin dynamics from the
same equilibrated snapshot with the same random numbers for model and reference: what differs is the model,
much less the sampling, and EMT against itself gives exactly zero.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from matscipy.neighbours import neighbour_list  # ASE's costs 30 ms a call
from numpy.typing import NDArray

from mlipilot.evaluation.dynamics import Outcome, run_nvt, steps_in
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.reference_values import ReferenceValues, Snapshot
from mlipilot.evaluation.results import Measurement
from mlipilot.evaluation.subject import Subject

Array = NDArray[np.float64]


def bin_edges_a(settings: EvaluationSettings) -> Array:
    """Borders of the distance bins in Å, (bins + 1,)."""
    return np.linspace(0.0, settings.nvt.rdf_max_a, settings.nvt.rdf_bins + 1)


def radial_distribution(atoms: Atoms, edges_a: Array) -> Array:
    """g(r) of one periodic structure in each bin, (bins,)."""
    distances = neighbour_list("d", atoms, float(edges_a[-1]))
    counts, _ = np.histogram(distances, bins=edges_a)
    shells_a3 = 4 / 3 * np.pi * np.diff(edges_a**3)
    density_per_a3 = len(atoms) / atoms.get_volume()
    g: Array = counts / len(atoms) / (shells_a3 * density_per_a3)
    return g


def sampled_rdf(
    calculator: Calculator, settings: EvaluationSettings, start: Snapshot
) -> tuple[Outcome, Array]:
    """The outcome of the dynamics and g(r) averaged over its samples, the start left out."""
    nvt = settings.nvt
    atoms = start.atoms(settings.crystal)
    atoms.calc = calculator
    edges = bin_edges_a(settings)
    samples: list[Array] = []

    def observe(step: int) -> None:
        if step and step % nvt.sample_every == 0:
            samples.append(radial_distribution(atoms, edges))

    steps = steps_in(nvt.duration_ps, nvt.timestep_fs)
    outcome = run_nvt(
        atoms, nvt.timestep_fs, steps, nvt.temperature_k, nvt.friction_per_ps, nvt.seed, nvt.limits, observe
    )
    return outcome, np.mean(samples, axis=0) if samples else np.full(nvt.rdf_bins, np.nan)


def measure(subject: Subject, reference: ReferenceValues) -> Measurement:
    """The mean absolute difference and the completed fraction; both curves."""
    outcome, found = sampled_rdf(subject.calculator, subject.settings, reference.nvt_start)
    truth = np.array(reference.rdf)
    edges = bin_edges_a(subject.settings)
    curves = {"rdf_distance_a": (edges[1:] + edges[:-1]) / 2, "rdf_model": found, "rdf_reference": truth}
    values = {"nvt_completed_fraction": outcome.completed_fraction}
    if outcome.broken:
        return Measurement(values, {"nvt_rdf_mae": outcome.broken}, curves)
    return Measurement({**values, "nvt_rdf_mae": float(np.abs(found - truth).mean())}, curves=curves)
