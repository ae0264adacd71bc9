"""Energy drift in constant-energy dynamics: |slope| of a straight line through E_total(t), in meV/atom/ps.

E_total = E_potential + E_kinetic at every step of velocity Verlet; the line is fitted by least squares. A
symplectic integrator on conservative forces does not drift, so that a drift shows forces that are no
gradient, or an energy surface with kinks. Of several starts the largest slope and the smallest completed
fraction count. A crystal starts from equilibrated snapshots of the reference, at several temperatures; other
systems from given frames with random velocities: the same starts for every model.
"""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field

from mlipilot.evaluation.declaration import CRYSTAL, FRAMES, FewAtomsDynamics, Group, Metric, Section
from mlipilot.evaluation.lazily import Array, Atoms, Bench, np
from mlipilot.evaluation.metrics_file import Measurement
from mlipilot.evaluation.panels import DYNAMICS, Lines
from mlipilot.evaluation.snapshots import NveSettings, Snapshot, equilibrated


class FrameNveSettings(FewAtomsDynamics):
    """Constant-energy dynamics without a crystal: from the frames, or from the reference molecules.

    The vibrations of a molecule at its equilibrium begin at twice the temperature: half goes into the bonds.
    """

    starts: int = Field(default=1, ge=1, le=100)
    """Trajectories of each structure, from other velocities; the worst counts."""


class Trajectory(NamedTuple):
    """The total energy of one system at every step done, the start included."""

    label: str
    energies_ev: Array
    atoms: int


def drift_mev_per_atom_per_ps(total_energies_ev: Array, timestep_fs: float, atoms: int) -> float:
    """Slope of total energies (steps,) sampled at every step; signed."""
    times_ps = np.arange(len(total_energies_ev)) * timestep_fs / 1000
    slope_ev_per_ps = np.polyfit(times_ps, total_energies_ev - total_energies_ev[0], 1)[0]
    return float(slope_ev_per_ps) * 1000 / atoms


def measure(bench: Bench) -> Measurement:
    """The largest drift of all starts and the smallest completed fraction; energy traces as curves."""
    return _one_by_one(bench) if bench.settings.system == "crystal" else _in_lockstep(bench)


def _measurement(
    trajectories: list[Trajectory], timestep_fs: float, completed_fraction: float, broken: str
) -> Measurement:
    """Of all starts; `broken` says why and where, and is empty when nothing broke."""
    values = {"nve_completed_fraction": completed_fraction}
    curves: dict[str, Array] = {}
    for label, energies_ev, atoms in trajectories:
        start = energies_ev[0] if len(energies_ev) else 0.0
        curves[f"nve_{label}_time_ps"] = np.arange(len(energies_ev)) * timestep_fs / 1000
        curves[f"nve_{label}_energy_mev_per_atom"] = (energies_ev - start) * 1000 / atoms
    if broken:
        return Measurement(values, {"nve_drift_mev_per_atom_per_ps": broken}, curves)
    drifts = [abs(drift_mev_per_atom_per_ps(one.energies_ev, timestep_fs, one.atoms)) for one in trajectories]
    return Measurement({**values, "nve_drift_mev_per_atom_per_ps": float(np.max(drifts))}, curves=curves)


def _one_by_one(bench: Bench) -> Measurement:
    """A crystal from the snapshot of each temperature."""
    from mlipilot.evaluation.dynamics import run_nve, steps_in

    settings = bench.settings.section(NveSettings)
    steps = steps_in(settings.duration_ps, settings.timestep_fs)
    trajectories: list[Trajectory] = []
    fractions: list[float] = []
    broken: list[str] = []
    for start in bench.truth("nve_starts"):
        atoms = start.atoms(bench.settings.crystal)
        atoms.calc = bench.calculator
        outcome, energies = run_nve(atoms, settings.timestep_fs, steps, start.temperature_k, settings.limits)
        fractions.append(outcome.completed_fraction)
        trajectories.append(Trajectory(f"{start.temperature_k:g}k", energies, len(atoms)))
        if outcome.broken:
            broken.append(f"{start.temperature_k:g} K: {outcome.broken}")
    return _measurement(trajectories, settings.timestep_fs, min(fractions), "; ".join(broken))


def _in_lockstep(bench: Bench) -> Measurement:
    """Frames, or molecules from their equilibrium, all at once."""
    from mlipilot.evaluation.dynamics import run_nve, steps_in
    from mlipilot.evaluation.ensemble import Ensemble

    settings = bench.settings.section(FrameNveSettings)
    kelvin = settings.temperature_k
    ensemble = Ensemble(bench, _starts(bench, settings))
    traces: list[Array] = []

    def observe(_: int) -> None:
        ensemble.check(kelvin, settings.limits)
        traces.append(ensemble.total_energies_ev())

    steps = steps_in(settings.duration_ps, settings.timestep_fs)
    outcome, _ = run_nve(ensemble.atoms, settings.timestep_fs, steps, kelvin, settings.limits, observe)
    energies = np.array(traces).reshape(-1, len(ensemble.members))
    trajectories = [
        Trajectory(f"{index}_{kelvin:g}k", energies[:, index], int(size))
        for index, size in enumerate(ensemble.sizes)
    ]
    broken = ensemble.why_broken(outcome, settings.limits) if outcome.broken else ""
    return _measurement(trajectories, settings.timestep_fs, outcome.completed_fraction, broken)


def _snapshots(bench: Bench) -> list[Snapshot]:
    settings = bench.settings.section(NveSettings)
    return [equilibrated(bench, kelvin, settings.repeats) for kelvin in settings.temperatures_k]


def _starts(bench: Bench, settings: FrameNveSettings) -> dict[str, Atoms]:
    """Each structure as often as it starts, other velocities each time, by a name that says which."""
    from mlipilot.evaluation.dynamics import thermalised, vibrating

    at_rest = {molecule.name: molecule.atoms for molecule in bench.molecules}
    frames = at_rest or {f"test frame {i}": atoms for i, atoms in enumerate(bench.frames)}
    moved, start_k = (
        (vibrating, 2 * settings.temperature_k) if at_rest else (thermalised, settings.temperature_k)
    )
    found: dict[str, Atoms] = {}
    for name, atoms in frames.items():
        for start in range(settings.starts):
            which = f"{name}, start {start + 1}" if settings.starts > 1 else name
            found[which] = moved(atoms, start_k, settings.seed + len(found))
    return found


GROUP = Group(
    name="nve",
    place=100,
    metrics=(
        Metric("nve_drift_mev_per_atom_per_ps", "meV/atom/ps", "lower", "NVE drift"),
        Metric("nve_completed_fraction", "1", "higher", "NVE completed fraction"),
    ),
    measure=measure,
    sections=(Section("nve", NveSettings, CRYSTAL), Section("frame_nve", FrameNveSettings, FRAMES)),
    reference={"nve_starts": _snapshots},
    panels=(
        Lines(
            figure=DYNAMICS,
            title="Total energy, NVE dynamics",
            caption="total energy per atom without a thermostat, a line for each start; what matters is its "
            "slope.",
            arrays=("nve_*_time_ps", "nve_*_energy_mev_per_atom"),
            labels=("time (ps)", "change since the start (meV/atom)"),
            tag=lambda which: which.rpartition("_")[2].replace("k", " K"),
        ),
    ),
)
