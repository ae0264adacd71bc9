"""Whether structures survive constant-temperature dynamics: completed share, smallest distances, pressure.

Langevin dynamics of the few test frames that stand for the set, at fixed cells. Completed fraction: share of
the steps done before the dynamics broke, of all frames (the first that breaks ends them). Smallest distance
ratio: for each pair of elements the smallest distance in the dynamics over the smallest in the training and
test data (4 Å where these have none below); the smallest ratio of all pairs, frames and steps counts, images
included. Below about 0.8 atoms have gone where no label is, as models do that were never told what repels:
what follows is fiction though nothing breaks (the instabilities of Fu et al., "Forces are not enough", 2023).
Of fully periodic frames the mean pressure is told beside that of their labels, −tr σ / 3 in GPa without the
kinetic part: it informs, as the labels are of another temperature than the dynamics.
Where the dynamics break, distance and pressure fail with them. Cost: one prediction of the frames a step, and
once a reading of the training data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import Field

from mlipilot.evaluation.declaration import STRUCTURES, FewAtomsLangevin, Group, Metric, Section, Seed
from mlipilot.evaluation.lazily import Array, Atoms, Bench, np
from mlipilot.evaluation.metrics.accuracy import voigt
from mlipilot.evaluation.metrics_file import Measurement

_REACH_A = 4.0
_FILES = ("train/train.xyz", "test/test.xyz")
Pair = tuple[int, int]


class FrameNvtSettings(FewAtomsLangevin):
    """Constant-temperature dynamics (Langevin) from the frames."""

    temperature_k: float = Field(default=300.0, gt=0, le=20000)
    """That of the model's use; no file of the data says it."""
    seed: Seed = 23


def smallest_a(structures: Iterable[Atoms]) -> dict[Pair, float]:
    """The smallest distance below 4 Å of each pair of elements (atomic numbers, ascending), with images."""
    found: dict[Pair, float] = {}
    for atoms in structures:
        pairs, distances = _neighbours(atoms)
        for pair in np.unique(pairs):
            key = (int(pair) // 1000, int(pair) % 1000)
            found[key] = min(found.get(key, _REACH_A), float(distances[pairs == pair].min()))
    return found


def _neighbours(atoms: Atoms) -> tuple[Array, Array]:
    """Pairs of atoms nearer than 4 Å: their elements as 1000 Z + Z′ with Z ≤ Z′, and their distances."""
    from matscipy.neighbours import neighbour_list  # ASE's costs 30 ms a call

    boxed = atoms.copy()
    open_axes = np.flatnonzero(~atoms.pbc)
    if len(open_axes):  # the list wants a cell that holds the atoms
        boxed.center(vacuum=1.0, axis=open_axes)
    first, second, distances = neighbour_list("ijd", boxed, _REACH_A)
    low, high = np.sort(atoms.numbers[np.stack([first, second])], axis=0)
    return 1000 * low + high, distances


def smallest_ratio(found: Mapping[Pair, float], true: Mapping[Pair, float]) -> float:
    """The smallest of `found` over `true` distances, the latter 4 Å where there is none; 1 of no pair."""
    return min((distance / true.get(pair, _REACH_A) for pair, distance in found.items()), default=1.0)


def measure(bench: Bench) -> Measurement:
    """All four; the smallest distance ratio over time as a curve."""
    from ase import units

    from mlipilot.evaluation.dynamics import run_nvt, thermalised
    from mlipilot.evaluation.ensemble import Ensemble

    settings = bench.settings.section(FrameNvtSettings)
    kelvin = settings.temperature_k
    noise, *seeds = np.random.SeedSequence(settings.seed).spawn(1 + len(bench.frames))
    starts = zip(bench.frames, seeds, strict=True)
    ensemble = Ensemble(
        bench, {f"test frame {i}": thermalised(atoms, kelvin, seed) for i, (atoms, seed) in enumerate(starts)}
    )
    true = _smallest_in_data_a(bench)
    ratios: list[float] = []
    pressures: list[float] = []

    def observe(_: int) -> None:
        ensemble.check(kelvin, settings.limits)
        ratios.append(smallest_ratio(smallest_a(ensemble.members), true))
        pressures.append(-np.mean([one.stress_ev_per_a3[:3] for one in ensemble.predictions]) / units.GPa)

    outcome = run_nvt(ensemble.atoms, settings, settings.duration_ps, kelvin, noise, observe)
    curves = {
        "frame_nvt_time_ps": np.arange(len(ratios)) * settings.timestep_fs / 1000,
        "frame_nvt_distance_ratio": np.array(ratios),
    }
    values = {"frame_nvt_completed_fraction": outcome.completed_fraction}
    if outcome.broken:
        why = ensemble.why_broken(outcome, settings.limits)
        return Measurement(values, dict.fromkeys(_OF_WHAT_HOLDS, why), curves)
    values["frame_nvt_min_distance_ratio"] = min(ratios)
    if _has_pressure(bench):
        values["frame_nvt_pressure_gpa"] = float(np.mean(pressures))
        values["frame_nvt_label_pressure_gpa"] = _label_pressure_gpa(bench)
    return Measurement(values, curves=curves)


def _smallest_in_data_a(bench: Bench) -> dict[Pair, float]:
    from mlipilot.evaluation.frames import read_frames

    paths = [bench.data / name for name in _FILES]
    return smallest_a(atoms for path in paths if path.is_file() for atoms in read_frames(path))


def _has_pressure(bench: Bench) -> bool:
    from mlipilot.evaluation.frames import has_stress

    return has_stress(bench.frames)


def _label_pressure_gpa(bench: Bench) -> float:
    from ase import units

    stresses = [voigt(atoms.info["REF_stress"]) for atoms in bench.frames]
    return float(-np.mean([stress[:3] for stress in stresses]) / units.GPa)


_OF_WHAT_HOLDS = (
    "frame_nvt_min_distance_ratio",
    "frame_nvt_pressure_gpa",
    "frame_nvt_label_pressure_gpa",
)

GROUP = Group(
    name="frame NVT",
    place=115,
    metrics=(
        Metric("frame_nvt_completed_fraction", "1", "higher", "frames' NVT completed fraction", STRUCTURES),
        Metric(
            "frame_nvt_min_distance_ratio",
            "1",
            "higher",
            "smallest distance in frames' NVT over the data's",
            STRUCTURES,
        ),
        Metric(
            "frame_nvt_pressure_gpa", "GPa", "none", "frames' NVT mean pressure", STRUCTURES, _has_pressure
        ),
        Metric(
            "frame_nvt_label_pressure_gpa",
            "GPa",
            "none",
            "mean pressure of the labels of these frames",
            STRUCTURES,
            _has_pressure,
        ),
    ),
    measure=measure,
    sections=(Section("frame_nvt", FrameNvtSettings, STRUCTURES),),
    source='Fu et al., "Forces are not enough", Trans. Mach. Learn. Res. (2023)',
    exam=True,
)
