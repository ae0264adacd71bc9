"""Speed: atom·steps/s, and the cost over that of a pinned reference MACE, a pure number.

One step is one evaluation of energy, forces and stress with a new neighbour list on one thread. Model and
reference take turns on the same cell; `relative_cost` is the median over rounds of t_model / t_reference,
so that another machine, or a busy one, changes it little. The reference is built here in code and never
trained (its cost does not depend on its weights).
"""

from __future__ import annotations

import time

import numpy as np
from ase import Atoms

from mlipilot.evaluation.crystal import rattled_cell
from mlipilot.evaluation.handover_config import HandoverConfig, ModelArguments
from mlipilot.evaluation.model import RebuiltModel
from mlipilot.evaluation.rebuild import build
from mlipilot.evaluation.results import Measurement, MeasurementError
from mlipilot.evaluation.subject import Subject


def pinned_reference(atomic_number: int, device: str = "cpu") -> RebuiltModel:
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
            atomic_energies=[0.0],
            avg_num_neighbors=12.0,
            atomic_numbers=[atomic_number],
            correlation=2,
            atomic_inter_scale=1.0,
            atomic_inter_shift=0.0,
        ),
    )
    return RebuiltModel(build(config), config, digest="", device=device)


def measure(subject: Subject) -> Measurement:
    """Throughput of the model and its cost relative to the reference."""
    if subject.model is None:
        raise MeasurementError("only a network has a throughput that compares")
    settings = subject.settings
    atoms = rattled_cell(
        settings.crystal, settings.crystal.lattice_constant_guess_a, settings.throughput.repeats, 0.05, seed=0
    )
    reference = pinned_reference(int(atoms.numbers[0]), subject.model.device)
    for _ in range(2):  # the first calls compile
        subject.model.predict([atoms])
        reference.predict([atoms])
    times_s = np.array(
        [
            (_seconds(subject.model, atoms), _seconds(reference, atoms))
            for _ in range(settings.throughput.rounds)
        ]
    )
    return Measurement(
        {
            "throughput_atom_steps_per_s": len(atoms) / float(np.median(times_s[:, 0])),
            "relative_cost": float(np.median(times_s[:, 0] / times_s[:, 1])),
        }
    )


def _seconds(model: RebuiltModel, atoms: Atoms) -> float:
    start = time.perf_counter()
    model.predict([atoms])  # copies its results to the host, and so waits for a GPU
    return time.perf_counter() - start
