"""Energy drift in constant-energy dynamics: |slope| of a straight line through E_total(t), in meV/atom/ps.

E_total = E_potential + E_kinetic at every step of velocity Verlet; the line is fitted by least squares. A
symplectic integrator on conservative forces does not drift, so that a drift shows forces that are no
gradient, or an energy surface with kinks. Of several starts the largest slope and the smallest completed
fraction count. A crystal starts from equilibrated snapshots of the reference, at several temperatures; other
systems from given frames with random velocities: the same starts for every model.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlipilot.evaluation.dynamics import run_nve, steps_in, thermalised, vibrating
from mlipilot.evaluation.ensemble import Ensemble
from mlipilot.evaluation.metric_settings import FrameNveSettings
from mlipilot.evaluation.reference_values import ReferenceValues
from mlipilot.evaluation.results import Measurement
from mlipilot.evaluation.subject import Subject


def drift_mev_per_atom_per_ps(
    total_energies_ev: NDArray[np.float64], timestep_fs: float, atoms: int
) -> float:
    """Slope of total energies (steps,) sampled at every step; signed."""
    times_ps = np.arange(len(total_energies_ev)) * timestep_fs / 1000
    slope_ev_per_ps = np.polyfit(times_ps, total_energies_ev - total_energies_ev[0], 1)[0]
    return float(slope_ev_per_ps) * 1000 / atoms


def measure(subject: Subject, reference: ReferenceValues) -> Measurement:
    """The drift over all temperatures and the completed fraction; energy traces as curves."""
    settings = subject.settings.nve
    steps = steps_in(settings.duration_ps, settings.timestep_fs)
    drifts: list[float] = []
    fractions: list[float] = []
    broken: list[str] = []
    curves: dict[str, NDArray[np.float64]] = {}
    for start in reference.nve_starts:
        atoms = start.atoms(subject.settings.crystal)
        atoms.calc = subject.calculator
        outcome, energies = run_nve(atoms, settings.timestep_fs, steps, start.temperature_k, settings.limits)
        fractions.append(outcome.completed_fraction)
        curves |= _trace(f"{start.temperature_k:g}k", energies, settings.timestep_fs, len(atoms))
        if outcome.broken:
            broken.append(f"{start.temperature_k:g} K: {outcome.broken}")
        else:
            drifts.append(abs(drift_mev_per_atom_per_ps(energies, settings.timestep_fs, len(atoms))))
    values = {"nve_completed_fraction": min(fractions)}
    if broken:
        return Measurement(values, {"nve_drift_mev_per_atom_per_ps": "; ".join(broken)}, curves)
    return Measurement({**values, "nve_drift_mev_per_atom_per_ps": float(np.max(drifts))}, curves=curves)


def measure_frames(
    subject: Subject, frames: Mapping[str, Atoms], *, at_equilibrium: bool = False
) -> Measurement:
    """The same from frames by name, in lockstep.

    `at_equilibrium` they are molecules in a minimum: their vibrations begin at twice the temperature, half of
    which goes into the bonds.
    """
    settings = subject.settings.frame_nve
    kelvin = settings.temperature_k
    starts = _starts(frames, settings, at_equilibrium=at_equilibrium)
    ensemble = Ensemble(subject, starts)
    traces: list[NDArray[np.float64]] = []

    def observe(_: int) -> None:
        ensemble.check(kelvin, settings.limits)
        traces.append(ensemble.total_energies_ev())

    steps = steps_in(settings.duration_ps, settings.timestep_fs)
    outcome, _ = run_nve(ensemble.atoms, settings.timestep_fs, steps, kelvin, settings.limits, observe)
    energies = np.array(traces).reshape(-1, len(starts))
    curves: dict[str, NDArray[np.float64]] = {}
    for index, size in enumerate(ensemble.sizes):
        curves |= _trace(f"{index}_{kelvin:g}k", energies[:, index], settings.timestep_fs, int(size))
    values = {"nve_completed_fraction": outcome.completed_fraction}
    if outcome.broken:
        reason = ensemble.why_broken(outcome, settings.limits)
        return Measurement(values, {"nve_drift_mev_per_atom_per_ps": reason}, curves)
    drifts = [
        abs(drift_mev_per_atom_per_ps(trace, settings.timestep_fs, int(size)))
        for trace, size in zip(energies.T, ensemble.sizes, strict=True)
    ]
    return Measurement({**values, "nve_drift_mev_per_atom_per_ps": float(np.max(drifts))}, curves=curves)


def _starts(
    frames: Mapping[str, Atoms], settings: FrameNveSettings, *, at_equilibrium: bool
) -> dict[str, Atoms]:
    """Each frame as often as it starts, with velocities of its own each time, by a name that says which."""
    moved, start_k = (
        (vibrating, 2 * settings.temperature_k) if at_equilibrium else (thermalised, settings.temperature_k)
    )
    found: dict[str, Atoms] = {}
    for name, atoms in frames.items():
        for start in range(settings.starts):
            which = f"{name}, start {start + 1}" if settings.starts > 1 else name
            found[which] = moved(atoms, start_k, settings.seed + len(found))
    return found


def _trace(
    label: str, energies_ev: NDArray[np.float64], timestep_fs: float, atoms: int
) -> dict[str, NDArray[np.float64]]:
    start = energies_ev[0] if len(energies_ev) else 0.0
    return {
        f"nve_{label}_time_ps": np.arange(len(energies_ev)) * timestep_fs / 1000,
        f"nve_{label}_energy_mev_per_atom": (energies_ev - start) * 1000 / atoms,
    }
