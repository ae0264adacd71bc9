"""Structure and pressure in constant-temperature dynamics, and the share of the steps that were done.

g(r) = n(r) / (4π r² Δr ρ), n(r) the mean number of neighbours in a shell of width Δr around an atom (Allen
and Tildesley, Computer Simulation of Liquids, 2nd ed., 2017), with all periodic images. Its MAE is the mean
|g_model(r) − g_reference(r)| over the bins (no unit). Its Wasserstein distance is the first, in Å, of the two
g(r) as weights that add up to 1: how far structure has to be moved, where the MAE only says how much differs.
The pressure is the mean of −tr σ / 3 over the samples, the momenta's part included; its error (GPa) is of a
model whose hot crystal would have another volume, which neither its lattice constant nor g(r) at a fixed
volume shows. Langevin dynamics from the same equilibrated snapshot with the same random numbers for model and
reference: what differs is the model, much less the sampling, and EMT against itself gives exactly zero. All
are of one trajectory; the share is of its steps before the dynamics broke.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mlipilot.errors import MlipilotError
from mlipilot.evaluation.declaration import CRYSTAL, Group, Metric, Section
from mlipilot.evaluation.lazily import Array, Atoms, Bench, np
from mlipilot.evaluation.metrics_file import Measurement
from mlipilot.evaluation.panels import DYNAMICS, Lines
from mlipilot.evaluation.snapshots import NvtSettings, Snapshot, equilibrated

if TYPE_CHECKING:
    from mlipilot.evaluation.dynamics import Outcome

_ERRORS = ("nvt_rdf_mae", "nvt_rdf_wasserstein_a", "nvt_pressure_error_gpa")


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


class Sampled(NamedTuple):
    """What a trajectory gives."""

    outcome: Outcome
    rdf: Array
    """g(r) averaged over the samples, the start left out, (bins,); not numbers without a sample."""
    pressure_gpa: float
    """Averaged as well."""


def sampled(bench: Bench, snapshot: Snapshot) -> Sampled:
    """The dynamics of the calculator on the bench from this start."""
    from ase import units

    from mlipilot.evaluation.dynamics import run_nvt

    nvt = bench.settings.section(NvtSettings)
    atoms = snapshot.atoms(bench.settings.crystal)
    atoms.calc = bench.calculator
    edges = bin_edges_a(nvt)
    samples: list[Array] = []
    pressures_gpa: list[float] = []

    def observe(step: int) -> None:
        if step and step % nvt.sample_every == 0:
            samples.append(radial_distribution(atoms, edges))
            stress = atoms.get_stress(include_ideal_gas=True)
            pressures_gpa.append(-float(stress[:3].mean()) / units.GPa)

    outcome = run_nvt(atoms, nvt, nvt.duration_ps, nvt.temperature_k, nvt.seed, observe)
    if not samples:
        return Sampled(outcome, np.full(nvt.rdf_bins, np.nan), np.nan)
    return Sampled(outcome, np.mean(samples, axis=0), float(np.mean(pressures_gpa)))


def _of_the_reference(bench: Bench) -> Sampled:
    """The reference's own dynamics. Raises MlipilotError when they break."""
    found = bench.once("nvt", lambda: sampled(bench, start(bench)))
    if found.outcome.broken:
        raise MlipilotError(f"the reference itself: {found.outcome.broken}")
    return found


def _reference_rdf(bench: Bench) -> list[float]:
    found: list[float] = _of_the_reference(bench).rdf.tolist()
    return found


def wasserstein_a(first: Array, second: Array, edges_a: Array) -> float:
    """First Wasserstein distance in Å of two g(r), (bins,), as weights of the bins that add up to 1."""
    from scipy.stats import wasserstein_distance

    centres = (edges_a[1:] + edges_a[:-1]) / 2
    return float(wasserstein_distance(centres, centres, first, second))


def measure(bench: Bench) -> Measurement:
    """The three errors and the completed fraction; both g(r) as curves."""
    found = sampled(bench, bench.truth("nvt_start"))
    truth = np.array(bench.truth("rdf"))
    edges = bin_edges_a(bench.settings.section(NvtSettings))
    curves = {"rdf_distance_a": (edges[1:] + edges[:-1]) / 2, "rdf_model": found.rdf, "rdf_reference": truth}
    values = {"nvt_completed_fraction": found.outcome.completed_fraction}
    if broken := found.outcome.broken:
        return Measurement(values, dict.fromkeys(_ERRORS, broken), curves)
    errors = (
        float(abs(found.rdf - truth).mean()),
        wasserstein_a(found.rdf, truth, edges),
        abs(found.pressure_gpa - bench.truth("nvt_pressure_gpa")),
    )
    return Measurement({**values, **dict(zip(_ERRORS, errors, strict=True))}, curves=curves)


GROUP = Group(
    name="nvt",
    place=110,
    metrics=(
        Metric("nvt_rdf_mae", "1", "lower", "NVT RDF MAE", CRYSTAL),
        Metric("nvt_rdf_wasserstein_a", "Å", "lower", "NVT RDF Wasserstein distance", CRYSTAL),
        Metric("nvt_pressure_error_gpa", "GPa", "lower", "NVT pressure error", CRYSTAL),
        Metric("nvt_completed_fraction", "1", "higher", "NVT completed fraction", CRYSTAL),
    ),
    measure=measure,
    sections=(Section("nvt", NvtSettings, CRYSTAL),),
    reference={
        "nvt_start": start,
        "rdf": _reference_rdf,
        "nvt_pressure_gpa": lambda bench: _of_the_reference(bench).pressure_gpa,
    },
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
    source="Allen and Tildesley, Computer Simulation of Liquids, 2nd ed. (2017)",
)
