"""Forces far from equilibrium: how much too soft they are, and their MAE (meV/Å).

Frames of Langevin dynamics of the reference at 1500 K, above every temperature of the training data and above
copper's melting point; model and reference give the forces of the same frames. The slope k of F_model = k
F_reference by least squares through the origin, k = Σ F_model F_reference / Σ F_reference², is 1 without an
error. Below 1 the energy surface is too soft, as models are that saw little but near-equilibrium structures
(Deng et al., npj Comput. Mater. 11, 9 (2025)): barriers come out too low; above 1 it is
too stiff. The metric is |k − 1|, which random errors of the forces hardly move; the MAE has both. Cost: one
prediction of four frames of 32 atoms; for the reference 500 steps of dynamics, once.
"""

from __future__ import annotations

from pydantic import Field

from mlipilot.evaluation.declaration import (
    CRYSTAL,
    DurationPs,
    DynamicsLimits,
    Forces,
    FrictionPerPs,
    Group,
    Kelvin,
    Metric,
    Section,
    Seed,
    Settings,
    TimestepFs,
)
from mlipilot.evaluation.lazily import Array, Atoms, Bench, np
from mlipilot.evaluation.metrics_file import Measurement
from mlipilot.evaluation.panels import BEYOND, Parity
from mlipilot.evaluation.snapshots import Snapshot

CURVES = ("hot_force_reference_ev_per_a", "hot_force_model_ev_per_a")
"""Names of the curves, each (atoms of all frames, 3)."""


class HotForcesSettings(Settings):
    """Dynamics of the reference (Langevin) whose frames are compared."""

    repeats: int = Field(default=2, ge=1, le=8)
    temperature_k: Kelvin = 1500.0
    expansion: float = Field(default=0.03, ge=0, le=0.1)
    """Of the lattice constant beyond its value at rest: EMT copper has about 2e-5 per kelvin."""
    timestep_fs: TimestepFs = 4.0
    friction_per_ps: FrictionPerPs = 10.0
    interval_ps: DurationPs = 0.4
    """Between frames; the first is taken after two of them."""
    frames: int = Field(default=4, ge=1, le=1000)
    seed: Seed = 17
    limits: DynamicsLimits = DynamicsLimits()


def frames(bench: Bench) -> list[Snapshot]:
    """Frames of the dynamics, at rest. Raises MlipilotError when these break."""
    return bench.once("hot frames", lambda: _run(bench))


def _run(bench: Bench) -> list[Snapshot]:
    from mlipilot.errors import MlipilotError
    from mlipilot.evaluation.crystal import cubic_cell
    from mlipilot.evaluation.dynamics import run_nvt, steps_in, thermalised

    hot = bench.settings.section(HotForcesSettings)
    constant = bench.lattice.lattice_constant_a * (1 + hot.expansion)
    ideal = cubic_cell(bench.settings.crystal, constant, hot.repeats)
    velocities, noise = np.random.SeedSequence(hot.seed).spawn(2)
    atoms = thermalised(ideal, 2 * hot.temperature_k, velocities)  # half of it goes into the springs
    atoms.calc = bench.calculator
    every = steps_in(hot.interval_ps, hot.timestep_fs)
    found: list[Snapshot] = []

    def observe(step: int) -> None:
        if step >= 2 * every and step % every == 0:
            still = atoms.copy()
            still.set_momenta(0 * still.positions)  # nobody starts from here
            found.append(Snapshot.of(still, hot.temperature_k, hot.repeats, constant))

    duration_ps = (1 + hot.frames) * every * hot.timestep_fs / 1000
    outcome = run_nvt(atoms, hot, duration_ps, hot.temperature_k, noise, observe)
    if outcome.broken:
        raise MlipilotError(f"the reference itself: {outcome.broken}")
    return found


def forces_ev_per_a(bench: Bench, snapshots: list[Snapshot]) -> Array:
    """Of the atoms of all frames, (atoms, 3)."""
    structures: list[Atoms] = [snapshot.atoms(bench.settings.crystal) for snapshot in snapshots]
    return np.concatenate([one.forces_ev_per_a for one in bench.predict(structures)])


def slope(found: Array, truth: Array) -> float:
    """Of the straight line through the origin that fits best what was found at the true values."""
    return float((found * truth).sum() / (truth**2).sum())


def measure(bench: Bench) -> Measurement:
    """Both errors; the forces of both as curves."""
    found = forces_ev_per_a(bench, bench.truth("hot_frames"))
    truth = np.array(bench.truth("hot_forces_ev_per_a")).reshape(-1, 3)
    return Measurement(
        {
            "hot_force_slope_error": abs(slope(found, truth) - 1),
            "hot_force_mae_mev_per_a": 1000 * float(abs(found - truth).mean()),
        },
        curves=dict(zip(CURVES, (truth, found), strict=True)),
    )


def _flat(bench: Bench) -> list[float]:
    found: list[float] = forces_ev_per_a(bench, frames(bench)).ravel().tolist()
    return found


GROUP = Group(
    name="hot forces",
    place=210,
    metrics=(
        Metric("hot_force_slope_error", "1", "lower", "hot force slope error", CRYSTAL),
        Metric("hot_force_mae_mev_per_a", "meV/Å", "lower", "hot force MAE", CRYSTAL),
    ),
    measure=measure,
    sections=(Section("hot_forces", HotForcesSettings, CRYSTAL),),
    reference={"hot_frames": frames, "hot_forces_ev_per_a": _flat},
    panels=(
        Parity(
            figure=BEYOND,
            title="Force component, hot",
            caption="forces in dynamics of the reference above any temperature of the training data.",
            arrays=CURVES,
            unit="eV/Å",
            milli=True,
        ),
    ),
    source="Deng et al., npj Comput. Mater. 11, 9 (2025)",
    forces=Forces(CURVES[1], CURVES[0], on="hot"),
    exam=True,
)
