"""Whether molecules stay what they are in constant-temperature dynamics.

Langevin dynamics of each reference molecule from its true equilibrium. A bond counts as broken when its
length differs by more than 0.5 Å from the equilibrium's, the bound of Fu et al. for small molecules ("Forces
are not enough", Trans. Mach. Learn. Res. (2023)), a hydrogen as lost when it is farther than 2.5 Å from every
other atom (in MLIPAudit, Wehrhan et al., arXiv:2511.20487, from the one that it was bonded to); the values
are the shares of the steps done before the first of them, or before the dynamics broke, of the worst
molecule. Bonds are the pairs nearer at equilibrium than 1.2 times the sum of their covalent radii.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlipilot.evaluation.declaration import MOLECULES, Group, Metric, Section
from mlipilot.evaluation.lazily import Array, Bench, np
from mlipilot.evaluation.metrics_file import Measurement
from mlipilot.evaluation.panels import DYNAMICS, Lines
from mlipilot.evaluation.watched_molecules import StabilitySettings, watched

if TYPE_CHECKING:
    from mlipilot.evaluation.dynamics import Outcome


def measure(bench: Bench) -> Measurement:
    """Both shares; the largest bond change of each molecule over time as curves."""
    settings = bench.settings.section(StabilitySettings)
    outcome, watches = watched(bench)
    curves: dict[str, Array] = {"stability_bound_a": np.array([settings.max_bond_change_a])}
    for index, watch in enumerate(watches):
        changes = np.array(watch.changes_a)
        curves[f"stability_{index}_time_ps"] = np.arange(len(changes)) * settings.timestep_fs / 1000
        curves[f"stability_{index}_bond_change_a"] = changes
    return Measurement(
        {
            "md_stable_fraction": _fraction(outcome, [watch.bond_broken_at for watch in watches]),
            "md_hydrogen_kept_fraction": _fraction(outcome, [watch.hydrogen_lost_at for watch in watches]),
        },
        curves=curves,
    )


def _fraction(outcome: Outcome, failed_at: Sequence[int | None]) -> float:
    """Share of the steps before the first of `failed_at`, or before the dynamics broke."""
    steps = [step for step in failed_at if step is not None]
    return min(
        outcome.completed_fraction, *(min(step / outcome.steps_asked, 1 - 1e-9) for step in steps), 1.0
    )


GROUP = Group(
    name="stability",
    place=120,
    metrics=(
        Metric("md_stable_fraction", "1", "higher", "MD stable fraction", MOLECULES),
        Metric("md_hydrogen_kept_fraction", "1", "higher", "MD hydrogen kept fraction", MOLECULES),
    ),
    measure=measure,
    sections=(Section("stability", StabilitySettings, MOLECULES),),
    panels=(
        Lines(
            figure=DYNAMICS,
            title="Largest change of a bond, NVT dynamics",
            caption="the largest change of a bond length, a line for each molecule, with the bound beyond "
            "which it counts as broken.",
            arrays=("stability_*_time_ps", "stability_*_bond_change_a"),
            labels=("time (ps)", "change of length (Å)"),
            bound="stability_bound_a",
        ),
    ),
    source='Fu et al., "Forces are not enough", Trans. Mach. Learn. Res. (2023); '
    "Wehrhan et al., MLIPAudit, arXiv:2511.20487 (2025)",
)
