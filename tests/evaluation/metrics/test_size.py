"""Size: the memory is that of one evaluation by the model, and of nothing before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.calculators.emt import EMT

from mlipilot.evaluation.bench import Bench
from mlipilot.evaluation.families import Model as AnyModel
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics import size

MIB = 2**20


class Model:
    """A network that takes so much memory for each evaluation, and remembers what it was asked."""

    device, parameter_count = "cpu", 7

    def __init__(self, mib: int) -> None:
        self.mib = mib
        self.asked: list[tuple[int, int, list[int]]] = []

    def predict(self, frames: Sequence[Atoms], batch_size: int) -> list[Any]:
        taken = np.ones(self.mib * MIB, dtype=np.uint8)
        self.asked.append((int(taken[-1]), batch_size, [len(atoms) for atoms in frames]))
        return []


def _measured(model: Model, frames: Sequence[Atoms] | None = None) -> dict[str, float]:
    """Of a supercell, or of frames where there is no crystal."""
    system = {"size": {"repeats": 2}} if frames is None else {"system": "structures"}
    settings = EvaluationSettings.model_validate(system)
    found = size.measure(Bench(EMT(), settings, cast("AnyModel", model), batch=frames or ()))
    assert found.failures == {}
    return found.values


def test_the_peak_is_what_the_model_took_for_one_evaluation_of_a_supercell() -> None:
    model = Model(96)
    found = _measured(model)
    assert model.asked == [(1, 1, [4 * 2**3])]
    assert found["parameter_count"] == 7.0
    assert 90 < found["peak_memory_mib"] < 130
    assert set(found) == {"parameter_count", "peak_memory_mib"}


def test_frames_are_evaluated_in_one_batch() -> None:
    model = Model(48)
    found = _measured(model, [Atoms("H"), Atoms("H2"), Atoms("H3")])
    assert model.asked == [(1, 3, [1, 2, 3])]
    assert 42 < found["peak_memory_mib"] < 80


def test_what_was_taken_and_given_back_before_does_not_count() -> None:
    Model(128).predict([], 0)
    assert _measured(Model(1))["peak_memory_mib"] < 40
