"""Structure in constant-temperature dynamics: mean |g_model(r) − g_reference(r)| over the bins (no unit).

g(r) = n(r) / (4π r² Δr ρ), n(r) the mean number of neighbours in a shell of width Δr around an atom
(Allen and Tildesley, Computer Simulation of Liquids), with all periodic images. Langevin dynamics from the
same equilibrated snapshot with the same random numbers for model and reference: what differs is the model,
much less the sampling, and EMT against itself gives exactly zero. Beside it the share of the steps that
were done before the dynamics broke.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlipilot.errors import MlipilotError
from mlipilot.evaluation.declaration import CRYSTAL, Group, Metric, Section
from mlipilot.evaluation.lazily import Array, Atoms, Bench, np
from mlipilot.evaluation.metrics_file import Measurement
from mlipilot.evaluation.panels import DYNAMICS, Lines
from mlipilot.evaluation.snapshots import NvtSettings, Snapshot, equilibrated

if TYPE_CHECKING:
    from mlipilot.evaluation.dynamics import Outcome


def bin_edges_a(settings: NvtSettings) -> Array:
    """Borders of the distance bins in Å, (bins + 1,)."""
    return np.linspace(0.0, settings.rdf_max_a, settings.rdf_bins + 1)


def radial_distribution(atoms: Atoms, edges_a: Array) -> Array:
    """g(r) of one periodic structure in each bin, (bins,)."""
    from matscipy.neighbours import neighbour_list  # ASE's costs 30 ms a call

    distances = neighbour_list("d", atoms, float(edges_a[-1]))
    counts, _ = np.histogram(distances, bins=edges_a)
    shells_a3 = 4 / 3 * np.pi * np.diff(edges_a**3)
    density_per_a3 = len(atoms) / atoms.get_volume()
    g: Array = counts / len(atoms) / (shells_a3 * density_per_a3)
    return g


def start(bench: Bench) -> Snapshot:
    """Where the dynamics of all models begin."""
    settings = bench.settings.section(NvtSettings)
    return equilibrated(bench, settings.temperature_k, settings.repeats)


def reference_rdf(bench: Bench) -> list[float]:
    """g(r) of the reference's own dynamics. Raises MlipilotError when they break."""
    outcome, rdf = sampled_rdf(bench, start(bench))
    if outcome.broken:
        raise MlipilotError(f"the reference itself: {outcome.broken}")
    found: list[float] = rdf.tolist()
    return found


def sampled_rdf(bench: Bench, snapshot: Snapshot) -> tuple[Outcome, Array]:
    """The outcome of the dynamics and g(r) averaged over its samples, the start left out."""
    from mlipilot.evaluation.dynamics import run_nvt

    nvt = bench.settings.section(NvtSettings)
    atoms = snapshot.atoms(bench.settings.crystal)
    atoms.calc = bench.calculator
    edges = bin_edges_a(nvt)
    samples: list[Array] = []

    def observe(step: int) -> None:
        if step and step % nvt.sample_every == 0:
            samples.append(radial_distribution(atoms, edges))

    outcome = run_nvt(atoms, nvt, nvt.duration_ps, nvt.temperature_k, nvt.seed, observe)
    return outcome, np.mean(samples, axis=0) if samples else np.full(nvt.rdf_bins, np.nan)


def measure(bench: Bench) -> Measurement:
    """The mean absolute difference and the completed fraction; both curves."""
    outcome, found = sampled_rdf(bench, bench.truth("nvt_start"))
    truth = np.array(bench.truth("rdf"))
    edges = bin_edges_a(bench.settings.section(NvtSettings))
    curves = {"rdf_distance_a": (edges[1:] + edges[:-1]) / 2, "rdf_model": found, "rdf_reference": truth}
    values = {"nvt_completed_fraction": outcome.completed_fraction}
    if outcome.broken:
        return Measurement(values, {"nvt_rdf_mae": outcome.broken}, curves)
    return Measurement({**values, "nvt_rdf_mae": float(abs(found - truth).mean())}, curves=curves)


GROUP = Group(
    name="nvt",
    place=110,
    metrics=(
        Metric("nvt_rdf_mae", "1", "lower", "NVT RDF MAE", CRYSTAL),
        Metric("nvt_completed_fraction", "1", "higher", "NVT completed fraction", CRYSTAL),
    ),
    measure=measure,
    sections=(Section("nvt", NvtSettings, CRYSTAL),),
    reference={"nvt_start": start, "rdf": reference_rdf},
    panels=(
        Lines(
            figure=DYNAMICS,
            title="Radial distribution, NVT dynamics",
            caption="radial distribution beside the reference's, from the same start and the same random "
            "forces.",
            arrays=("rdf_distance_a", "rdf_model", "rdf_reference"),
            labels=("distance r (Å)", "g(r)"),
            shown="positive",
        ),
    ),
    source="Allen and Tildesley, Computer Simulation of Liquids",
)
