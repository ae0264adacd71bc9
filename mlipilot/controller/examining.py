"""From what was measured of baseline and incumbent at a lineage's end to the record of their exam."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from mlipilot.audit.events.concluding import CommitteeResult, Examined, ExamResult
from mlipilot.controller.state import State
from mlipilot.controller.verdict import Measurements
from mlipilot.evaluation.catalog import GROUPS
from mlipilot.evaluation.committee import calibration
from mlipilot.evaluation.lazily import Array
from mlipilot.evaluation.scorecard import gates_on
from mlipilot.paths import JobKey, JobKind

_MEASURED: tuple[tuple[JobKind, str], ...] = (("evaluate", "test"), ("sealed", "sealed"))
"""The jobs that leave forces, and what the structures are called that these are of."""


def compute_exam(state: State, measured: Measurements) -> Examined:
    """How often baseline and incumbent pass on the sealed split, and what the spread of their seeds says.

    A seed that could not be measured there passes nothing, and is in no committee.
    Raises PausedError for a file that is not the one that was measured.
    """
    return Examined(results=[_examine(state, measured, n) for n in sorted({0, state.incumbent or 0})])


def _examine(state: State, measured: Measurements, number: int) -> ExamResult:
    keys = _sealed_keys(state, number)
    found = [metrics for key in keys if (metrics := measured.metrics(state, key)) is not None]
    gates = [gates_on(measured.card, metrics) for metrics in found]
    missed = {gate.metric for of_seed in gates for gate in of_seed if not gate.passed}
    return ExamResult(
        iteration=number,
        passed=sum(all(gate.passed for gate in of_seed) for of_seed in gates),
        failed=[metric for metric in measured.card.metrics if metric in missed],
        committee=list(_calibrated(state, measured, number)),
    )


def committees(state: State, measured: Measurements, number: int) -> Iterator[tuple[str, list[Array], Array]]:
    """What a candidate's fresh seeds say together: which structures, the members' forces, the true ones.

    Forces are (atoms, 3) in eV/Å; nothing where fewer than two members say something of the structures.
    Raises PausedError for a file that is not the one that was measured.
    """
    keys = _sealed_keys(state, number)
    named = [group.forces for group in GROUPS if group.forces is not None]
    for kind, split in _MEASURED:
        every = [measured.curves(state, key.beside(kind)) for key in keys]
        for names in named:
            members = [curves for curves in every if names.model in curves and names.reference in curves]
            if len(members) > 1:
                truth = members[0][names.reference]
                yield names.on or split, [each[names.model] for each in members], truth


def _calibrated(state: State, measured: Measurements, number: int) -> Iterator[CommitteeResult]:
    for on, members, truth in committees(state, measured, number):
        with suppress(ValueError):  # of these structures they say nothing
            yield CommitteeResult(on=on, **calibration(members, truth)._asdict())


def _sealed_keys(state: State, number: int) -> list[JobKey]:
    return [key for key in state.jobs if (key.kind, key.iteration) == ("sealed", number) and key.fresh]
