"""Families of models: what a hand-over may say, how it becomes a model that sees its neighbours, its export.

There is one, MACE. Outside of this folder four files name it: `runner` and `report/export.py`, which rebuild;
`controller/smoke.py`, which checks the configuration of a draft's hand-over and needs no torch for it; and
`metrics/throughput.py`, which times a model beside a pinned one. A second family needs a `model_class` of its
own, by which the first three choose, and

- `parse_config(data)`: what `config.json` says, strict and bounded, or HandoverError; `metrics.json` has its
  `model_class`, `dtype` and `arguments`, the model card of these `atomic_numbers` and `r_max` (Å) by name,
  and `metrics/locality.py` their `receptive_field_a`;
- `rebuild(model_dir, device)`: a `Model` from the two files of a hand-over, nothing unpickled and no
  handed-over code run; raises HandoverError unless it is whole, finite and what its configuration says;
- a `Model` with a neighbour list and batches of its own, in float64;
- `serialised(model)`: the bytes of a file that the family's own calculator loads, the same module behind it;
  `report/export.py` says in the card which family that is, and how its users load the file.

`pinned_reference` stays MACE's for all families: by it their costs compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray

    from mlipilot.evaluation.families.mace_config import HandoverConfig


class Prediction(NamedTuple):
    """What a model says of one structure."""

    energy_ev: float
    forces_ev_per_a: NDArray[np.float64]
    """(atoms, 3)"""
    stress_ev_per_a3: NDArray[np.float64]
    """Six Voigt components (xx yy zz yz xz xy), tension positive, as ASE has them; zeros without a cell."""


class Model(Protocol):
    """A network that came through its family's `rebuild`, with what is known of it."""

    config: HandoverConfig
    module: Any
    """The network itself, of torch."""
    weights_digest: str
    device: str
    parameter_count: int

    def predict(self, structures: Sequence[Atoms], batch_size: int = 16) -> list[Prediction]:
        """Predictions for `structures` in their order, at most `batch_size` at once."""

    def calculator(self) -> Calculator:
        """A fresh ASE calculator (energy, free_energy, forces, stress)."""
