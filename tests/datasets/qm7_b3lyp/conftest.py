"""A data set's frames without any chemistry: what labels look like, with numbers of no meaning."""

from __future__ import annotations

import pytest

from mlipilot_labels.records import Frame, Kind, Molecule


def frame(molecule: str, index: int, kind: Kind = "normal_mode", *, labelled: bool = True) -> Frame:
    lone = kind == "isolated_atom"
    return Frame(
        molecule=molecule,
        index=index,
        origin="test",
        kind=kind,
        numbers=[1] if lone else [1, 1],
        positions_a=[(0.0, 0.0, 0.0)] if lone else [(0.0, 0.0, 0.0), (0.0, 0.0, 0.74 + 0.01 * index)],
        sampling={},
        energy_ev=-30.0 - index if labelled else None,
        forces_ev_per_a=([(0.0, 0.0, 0.0)] if lone else [(0.0, 0.0, 0.1), (0.0, 0.0, -0.1)])
        if labelled
        else None,
        label={"outcome": "default" if labelled else "not_converged", "cpu_seconds": 1.0},
    )


def molecule(name: str, *numbers: int) -> Molecule:
    places = [(1.1 * place, 0.0, 0.0) for place in range(len(numbers))]
    return Molecule(name=name, origin="test", numbers=list(numbers), positions_a=places, relax=False)


@pytest.fixture
def frames() -> list[Frame]:
    """Eight molecules of eleven geometries, and a free atom."""
    made = [
        frame(f"m{name}", index, "equilibrium" if index == 0 else "normal_mode")
        for name in range(8)
        for index in range(11)
    ]
    return [*made, frame("atom_H", 0, "isolated_atom")]
