"""How smoothly periodic frames are compressed and expanded: extra minima (no unit), roughness (meV/atom).

Each frame's cell is given volumes from 0.8 to 1.2 of its own, evenly spaced, its atoms moving with it. No
reference calculation is needed: such a curve has one minimum at most, and no kinks. Extra minima: minima of
E(V) beside the first, an end from which it rises counted as one. The bound is 0: with more, a cell that may
change its volume settles at a wrong density, or collapses. Roughness: the largest distance of an energy from
the cubic through its four neighbours; the steps alone give EMT's copper 0.08 meV/atom. A larger one makes
pressures and bulk moduli depend on the step that they are taken with. Both of the worst frame. The idea is
that of the energy-volume curves of MLIP Arena (Chiang et al., 2025), here for whatever frames there are.
Cost: 21 predictions of each frame, in batches.
"""

from __future__ import annotations

from pydantic import Field

from mlipilot.evaluation.declaration import STRUCTURES, Group, Metric, Section, Settings
from mlipilot.evaluation.lazily import Array, Atoms, Bench, np
from mlipilot.evaluation.metrics_file import Measurement, MeasurementError
from mlipilot.evaluation.smoothness import extra_wells, roughness


class FrameVolumesSettings(Settings):
    """Every periodic frame between two volumes, over its own."""

    smallest: float = Field(default=0.8, ge=0.3, lt=1)
    largest: float = Field(default=1.2, gt=1, le=3)
    points: int = Field(default=21, ge=7, le=1001)


def measure(bench: Bench) -> Measurement:
    """Both numbers, of the worst frame; energy over volume of each as curves.

    Raises MeasurementError when an energy is not finite.
    """
    settings = bench.settings.section(FrameVolumesSettings)
    factors = np.linspace(settings.smallest, settings.largest, settings.points)
    frames = _periodic(bench)
    found = iter(bench.predict([scaled(atoms, factor) for atoms in frames for factor in factors]))
    extra: list[int] = []
    roughnesses: list[float] = []
    curves: dict[str, Array] = {}
    for index, atoms in enumerate(frames):
        energies = 1000 * np.array([next(found).energy_ev for _ in factors]) / len(atoms)
        if not np.isfinite(energies).all():
            raise MeasurementError("an energy is not a finite number")
        extra.append(extra_wells(energies))
        roughnesses.append(roughness(energies))
        curves[f"frame_volume_{index}_factor"] = factors
        curves[f"frame_volume_{index}_mev_per_atom"] = energies - energies.min()
    return Measurement(
        {
            "frame_volume_extra_minima": float(max(extra)),
            "frame_volume_roughness_mev_per_atom": max(roughnesses),
        },
        curves=curves,
    )


def scaled(atoms: Atoms, factor: float) -> Atoms:
    """A copy of this many times the volume, its fractional coordinates as they were."""
    copy: Atoms = atoms.copy()
    copy.set_cell(atoms.cell.array * np.cbrt(factor), scale_atoms=True)
    return copy


def _periodic(bench: Bench) -> list[Atoms]:
    return [atoms for atoms in bench.frames if atoms.pbc.all()]


def _is_owed(bench: Bench) -> bool:
    return bool(_periodic(bench))


GROUP = Group(
    name="frame volumes",
    place=75,
    metrics=(
        Metric(
            "frame_volume_extra_minima",
            "1",
            "lower",
            "extra minima over a frame's volume",
            STRUCTURES,
            _is_owed,
        ),
        Metric(
            "frame_volume_roughness_mev_per_atom",
            "meV/atom",
            "lower",
            "roughness of the energy over volume",
            STRUCTURES,
            _is_owed,
        ),
    ),
    measure=measure,
    sections=(Section("frame_volumes", FrameVolumesSettings, STRUCTURES),),
    source="Chiang et al., MLIP Arena, arXiv:2509.20630 (2025)",
    exam=True,
)
