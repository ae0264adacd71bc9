"""Speed: atom·steps/s, and the cost over that of a pinned reference MACE, a pure number.

One step is one evaluation of energy, forces and stress with a new neighbour list on one thread. Model and
reference take turns on the same cell, or on one batch of frames; `relative_cost` is the median over rounds of
t_model / t_reference, so that another machine, or a busy one, changes it little. The reference is built here
in code and never trained (its cost does not depend on its weights).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from mlipilot.evaluation.crystal import rattled_cell
from mlipilot.evaluation.handover_config import HandoverConfig, ModelArguments
from mlipilot.evaluation.model import RebuiltModel
from mlipilot.evaluation.rebuild import build
from mlipilot.evaluation.results import Measurement, MeasurementError
from mlipilot.evaluation.subject import Subject


def pinned_reference(*atomic_numbers: int, device: str = "cpu") -> RebuiltModel:
    """The reference: two interactions of 16 scalar channels, l ≤ 2, correlation 2, cutoff 4 Å."""
    block = "RealAgnosticResidualInteractionBlock"
    config = HandoverConfig(
        format="mlipilot-handover/1",
        model_class="ScaleShiftMACE",
        dtype="float64",
        arguments=ModelArguments(
            r_max=4.0,
            num_bessel=8,
            num_polynomial_cutoff=5,
            max_ell=2,
            interaction_cls=block,
            interaction_cls_first=block,
            num_interactions=2,
            hidden_irreps="16x0e",
            MLP_irreps="16x0e",
            atomic_energies=[0.0] * len(atomic_numbers),
            avg_num_neighbors=12.0,
            atomic_numbers=list(atomic_numbers),
            correlation=2,
            atomic_inter_scale=1.0,
            atomic_inter_shift=0.0,
        ),
    )
    return RebuiltModel(build(config), config, digest="", device=device)


def measure(subject: Subject) -> Measurement:
    """Throughput of the model and its cost relative to the reference, on a supercell."""
    settings = subject.settings
    atoms = rattled_cell(
        settings.crystal, settings.crystal.lattice_constant_guess_a, settings.throughput.repeats, 0.05, seed=0
    )
    return measure_frames(subject, [atoms])


def measure_frames(subject: Subject, frames: Sequence[Atoms]) -> Measurement:
    """The same on a batch of frames, with a reference of their elements."""
    if subject.model is None:
        raise MeasurementError("only a network has a throughput that compares")
    elements = {int(number) for atoms in frames for number in atoms.numbers}
    reference = pinned_reference(*sorted(elements), device=subject.model.device)
    for _ in range(2):  # the first calls compile
        subject.model.predict(frames, len(frames))
        reference.predict(frames, len(frames))
    times_s = np.array(
        [
            (_seconds(subject.model, frames), _seconds(reference, frames))
            for _ in range(subject.settings.throughput.rounds)
        ]
    )
    return Measurement(
        {
            "throughput_atom_steps_per_s": sum(map(len, frames)) / float(np.median(times_s[:, 0])),
            "relative_cost": float(np.median(times_s[:, 0] / times_s[:, 1])),
        }
    )


def _seconds(model: RebuiltModel, frames: Sequence[Atoms]) -> float:
    start = time.perf_counter()
    model.predict(frames, len(frames))  # copies its results to the host, and so waits for a GPU
    return time.perf_counter() - start
