"""Energy over volume from 0.6 to 1.5 V₀: its wells beyond one, its tortuosity, its error in meV/atom.

V₀ is the model's own equilibrium volume, and energies count from its own equilibrium: the lattice constant is
another metric. Real matter has one well here. A second one, deeper than 1 meV/atom, is a phase that does not
exist, in which a shocked or a hot crystal may end; an end at which the energy still falls counts as one, too.
Tortuosity: the way up and down along the curve over that of one well between the same ends, 1 at best, as in
MLIP Arena (Chiang et al., 2025), which counts turns of the energy for wells. The error is mean |ΔE_model −
ΔE_reference| over all points at the same V/V₀: EMT copper's ends are less than 2 eV/atom up, so that neither
drowns the rest. Cost: one prediction of 46 cells of four atoms.
"""

from __future__ import annotations

from pydantic import Field

from mlipilot.evaluation.declaration import CRYSTAL, Group, Metric, Section, Settings
from mlipilot.evaluation.lazily import Array, Bench, np
from mlipilot.evaluation.metrics_file import Measurement
from mlipilot.evaluation.panels import CRYSTALS, Lines
from mlipilot.evaluation.smoothness import extra_wells, finite, tortuosity

_DEPTH_EV_PER_ATOM = 1e-3


class EnergyVolumeSettings(Settings):
    """Volumes over the equilibrium's, evenly spaced."""

    lowest: float = Field(default=0.6, gt=0.2, lt=1)
    highest: float = Field(default=1.5, gt=1, le=5)
    points: int = Field(default=46, ge=5, le=1001)


def ratios(bench: Bench) -> Array:
    """V/V₀, (points,)."""
    settings = bench.settings.section(EnergyVolumeSettings)
    return np.linspace(settings.lowest, settings.highest, settings.points)


def curve_ev_per_atom(bench: Bench) -> Array:
    """Energy above the equilibrium's, (points,). Raises MeasurementError where one is not finite."""
    from mlipilot.evaluation.crystal import cubic_cell

    constants_a = bench.lattice.lattice_constant_a * np.cbrt(ratios(bench))
    cells = [cubic_cell(bench.settings.crystal, float(constant)) for constant in constants_a]
    energies = [one.energy_ev / len(one.forces_ev_per_a) for one in bench.predict(cells)]
    return finite(np.array(energies), "the crystal at some volume") - bench.lattice.energy_ev_per_atom


def measure(bench: Bench) -> Measurement:
    """The three numbers; both curves."""
    found = curve_ev_per_atom(bench)
    truth = np.array(bench.truth("energy_volume_ev_per_atom"))
    return Measurement(
        {
            "energy_volume_extra_minima": float(extra_wells(found, _DEPTH_EV_PER_ATOM)),
            "energy_volume_tortuosity": tortuosity(found),
            "energy_volume_mae_mev_per_atom": 1000 * float(abs(found - truth).mean()),
        },
        curves={
            "energy_volume_ratio": ratios(bench),
            "energy_volume_model_ev_per_atom": found,
            "energy_volume_reference_ev_per_atom": truth,
        },
    )


def _as_list(bench: Bench) -> list[float]:
    found: list[float] = curve_ev_per_atom(bench).tolist()
    return found


GROUP = Group(
    name="energy over volume",
    place=230,
    metrics=(
        Metric("energy_volume_extra_minima", "1", "lower", "extra minima over volume", CRYSTAL),
        Metric("energy_volume_tortuosity", "1", "lower", "tortuosity over volume", CRYSTAL),
        Metric("energy_volume_mae_mev_per_atom", "meV/atom", "lower", "energy-volume MAE", CRYSTAL),
    ),
    measure=measure,
    sections=(Section("energy_volume", EnergyVolumeSettings, CRYSTAL),),
    reference={"energy_volume_ev_per_atom": _as_list},
    panels=(
        Lines(
            figure=CRYSTALS,
            title="Energy over volume",
            caption="energy above equilibrium over the volume, that of equilibrium being 1.",
            arrays=(
                "energy_volume_ratio",
                "energy_volume_model_ev_per_atom",
                "energy_volume_reference_ev_per_atom",
            ),
            labels=("volume over equilibrium's", "energy (eV/atom)"),
            shown="reference",
        ),
    ),
    source="Chiang et al., MLIP Arena, arXiv:2509.20630 (2025)",
    exam=True,
)
