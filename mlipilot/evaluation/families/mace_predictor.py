"""A rebuilt MACE: batched predictions and an ASE calculator, both in float64.

Lean on purpose: MACE's own calculator spends a third of a 32-atom step on bookkeeping. The neighbour list
and the network are MACE's; a test compares the two calculators.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from mlipilot.evaluation.families import Prediction
from mlipilot.evaluation.families.mace_config import HandoverConfig

Array = NDArray[np.float64]
_MAX_EDGE_NUMBERS = 1.5e7
"""Edges × numbers per edge in one batch: keeps a batch near 1 GiB whatever the model's size."""


class RebuiltModel:
    """A MACE module that came through `rebuild`, with what is known of it."""

    def __init__(self, module: torch.nn.Module, config: HandoverConfig, digest: str, device: str) -> None:
        self.module = module.to(device).eval().requires_grad_(False)
        self.config = config
        self.weights_digest = digest
        self.device = device
        self.parameter_count = sum(parameter.numel() for parameter in module.parameters())
        self._index = np.full(119, -1)
        self._index[config.arguments.atomic_numbers] = np.arange(len(config.arguments.atomic_numbers))

    def calculator(self) -> Calculator:
        """A fresh ASE calculator (energy, free_energy, forces, stress)."""
        return RebuiltCalculator(self)

    def predict(self, structures: Sequence[Atoms], batch_size: int = 16) -> list[Prediction]:
        """Predictions for `structures` in their order, at most `batch_size` at once."""
        graphs = (self._graph(atoms) for atoms in structures)
        return [found for batch in self._batches(graphs, batch_size) for found in self._forward(batch)]

    def _graph(self, atoms: Atoms) -> dict[str, Any]:
        from mace.data.neighborhood import get_neighborhood

        if not np.isfinite(atoms.positions).all():
            raise ValueError("a position is not a finite number")  # the neighbour list would crash
        species = self._index[atoms.numbers]
        if (species < 0).any():
            unknown = sorted(set(atoms.numbers[species < 0].tolist()))
            raise ValueError(f"the model does not know the elements Z = {unknown}")
        periodic = tuple(bool(axis) for axis in atoms.pbc)
        edges, shifts, unit_shifts, cell = get_neighborhood(
            atoms.positions, self.config.arguments.r_max, periodic, atoms.cell.array.copy()
        )
        return {
            "positions": atoms.positions.copy(),
            "species": species,
            "edges": edges.astype(np.int64),
            "shifts": shifts,
            "unit_shifts": unit_shifts.astype(np.float64),
            "cell": cell,
            "periodic": all(periodic),
        }

    def _batches(self, graphs: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
        batch: list[dict[str, Any]] = []
        edges = 0
        for graph in graphs:
            new = graph["edges"].shape[1]
            full = (edges + new) * self.config.arguments.edge_width > _MAX_EDGE_NUMBERS
            if batch and (full or len(batch) == size):
                yield batch
                batch, edges = [], 0
            batch.append(graph)
            edges += new
        if batch:
            yield batch

    def _forward(self, graphs: list[dict[str, Any]]) -> list[Prediction]:
        counts = [len(graph["species"]) for graph in graphs]
        start = np.concatenate([[0], np.cumsum(counts)])
        output = self.module(self._tensors(graphs, start), compute_stress=True)
        energies = output["energy"].detach().cpu().numpy()
        forces = output["forces"].detach().cpu().numpy()
        stresses = output["stress"].detach().cpu().numpy()
        return [
            Prediction(
                float(energies[i]),
                forces[start[i] : start[i + 1]],
                full_3x3_to_voigt_6_stress(stresses[i]) if graph["periodic"] else np.zeros(6),
            )
            for i, graph in enumerate(graphs)
        ]

    def _tensors(self, graphs: list[dict[str, Any]], start: NDArray[np.int64]) -> dict[str, torch.Tensor]:
        """The network's input: node counts N, edge counts E summed over the G graphs."""
        species = np.concatenate([graph["species"] for graph in graphs])
        arrays: dict[str, NDArray[Any]] = {
            "positions": np.concatenate([graph["positions"] for graph in graphs]),
            "node_attrs": np.eye(len(self.config.arguments.atomic_numbers))[species],
            "edge_index": np.concatenate(
                [graph["edges"] + offset for graph, offset in zip(graphs, start, strict=False)], axis=1
            ),
            "shifts": np.concatenate([graph["shifts"] for graph in graphs]),
            "unit_shifts": np.concatenate([graph["unit_shifts"] for graph in graphs]),
            "cell": np.concatenate([graph["cell"] for graph in graphs]),
            "batch": np.repeat(np.arange(len(graphs)), np.diff(start)),
            "ptr": start,
            "head": np.zeros(len(graphs), dtype=np.int64),
        }
        return {name: torch.as_tensor(array, device=self.device) for name, array in arrays.items()}


class RebuiltCalculator(Calculator):  # type: ignore[misc]  # ASE has no types
    """ASE calculator around a rebuilt model: eV, eV/Å, eV/Å³."""

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def __init__(self, model: RebuiltModel) -> None:
        super().__init__()
        self.model = model

    def calculate(self, *asked: Any, **by_name: Any) -> None:
        """Fill `results` with all that it gives, whatever ASE asks for of which atoms."""
        super().calculate(*asked, **by_name)
        (found,) = self.model.predict([self.atoms], batch_size=1)
        self.results = {
            "energy": found.energy_ev,
            "free_energy": found.energy_ev,
            "forces": found.forces_ev_per_a,
            "stress": found.stress_ev_per_a3,
        }
