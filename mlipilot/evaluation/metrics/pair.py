"""Two atoms alone: wells beyond one in their energy over distance, and where their wall falls inwards.

From 1.2 to 6 Å. A pair has one well. A second one, deeper than 10 meV, is a bond that does not exist; an end
at which the energy still falls counts as one, too. The wall is what lies nearer than the reference's minimum:
the value is the share of its steps on which coming nearer does not cost energy, 0 for a wall, 1 for a hole
that atoms fall into once they are hot or badly placed. No pair is in the training data of a crystal: this
informs about extrapolation, as the diatomics of MLIP Arena (Chiang et al., 2025) and of the paper on
MACE-MP-0 (Batatia et al., arXiv:2401.00096) do. Cost: one prediction of 97 pairs.
"""

from __future__ import annotations

from pydantic import Field

from mlipilot.evaluation.declaration import CRYSTAL, Group, Metric, Section, Settings
from mlipilot.evaluation.lazily import Array, Bench, np
from mlipilot.evaluation.metrics_file import Measurement
from mlipilot.evaluation.panels import BEYOND, Lines
from mlipilot.evaluation.smoothness import extra_wells, finite

_DEPTH_EV = 0.01


class PairSettings(Settings):
    """Distances of the two atoms, evenly spaced."""

    nearest_a: float = Field(default=1.2, gt=0.5, lt=2)
    farthest_a: float = Field(default=6.0, gt=3, le=20)
    points: int = Field(default=97, ge=5, le=2001)


def distances_a(bench: Bench) -> Array:
    """Rising, (points,)."""
    settings = bench.settings.section(PairSettings)
    return np.linspace(settings.nearest_a, settings.farthest_a, settings.points)


def energies_ev(bench: Bench) -> Array:
    """Of the pair above its farthest distance, (points,). Raises MeasurementError where one is not finite."""
    from ase import Atoms

    symbols = [bench.settings.crystal.symbol] * 2
    pairs = [Atoms(symbols, positions=[[0, 0, 0], [0, 0, float(r)]]) for r in distances_a(bench)]
    found = finite(np.array([one.energy_ev for one in bench.predict(pairs)]), "two atoms at some distance")
    above: Array = found - found[-1]
    return above


def wrong_share_of_wall(found: Array, truth: Array) -> float:
    """Share of the steps nearer than the true minimum on which coming nearer does not cost energy."""
    inward = -np.diff(found[: int(truth.argmin()) + 1])
    return float((inward <= 0).mean())


def measure(bench: Bench) -> Measurement:
    """Both numbers; both curves."""
    found = energies_ev(bench)
    truth = np.array(bench.truth("pair_energies_ev"))
    return Measurement(
        {
            "dimer_extra_minima": float(extra_wells(found, _DEPTH_EV)),
            "dimer_wall_wrong_fraction": wrong_share_of_wall(found, truth),
        },
        curves={
            "pair_distance_a": distances_a(bench),
            "pair_model_ev": found,
            "pair_reference_ev": truth,
        },
    )


def _as_list(bench: Bench) -> list[float]:
    found: list[float] = energies_ev(bench).tolist()
    return found


GROUP = Group(
    name="pair",
    place=270,
    metrics=(
        Metric("dimer_extra_minima", "1", "lower", "extra minima of the dimer", CRYSTAL),
        Metric("dimer_wall_wrong_fraction", "1", "lower", "dimer wall that falls inwards", CRYSTAL),
    ),
    measure=measure,
    sections=(Section("pair", PairSettings, CRYSTAL),),
    reference={"pair_energies_ev": _as_list},
    panels=(
        Lines(
            figure=BEYOND,
            title="Two atoms alone",
            caption="energy of two atoms over their distance, zero at the farthest.",
            arrays=("pair_distance_a", "pair_model_ev", "pair_reference_ev"),
            labels=("distance (Å)", "energy (eV)"),
            shown="reference",
        ),
    ),
    source="Chiang et al., MLIP Arena, arXiv:2509.20630 (2025)",
    exam=True,
)
