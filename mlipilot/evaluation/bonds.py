"""Bonds of a molecule, and what is on either side of one."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.neighborlist import natural_cutoffs, neighbor_list
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, shortest_path

Array = NDArray[np.float64]
Pairs = NDArray[np.int64]


def bonds(atoms: Atoms) -> Pairs:
    """Pairs of bonded atoms, (bonds, 2), each once: nearer than 1.2 times the sum of their covalent radii."""
    first, second = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=1.2))
    pairs: Pairs = np.column_stack([first, second])[first < second]
    return pairs


def lengths_a(positions_a: Array, pairs: Pairs) -> Array:
    """Distances in Å of the pairs, (..., pairs), from positions (..., atoms, 3); no periodic images."""
    separations = positions_a[..., pairs[:, 0], :] - positions_a[..., pairs[:, 1], :]
    distances: Array = np.linalg.norm(separations, axis=-1)
    return distances


def bonds_between(atoms: Atoms) -> Array:
    """How many bonds lie between two atoms, (atoms, atoms); infinite where no path leads."""
    counts: Array = shortest_path(_graph(bonds(atoms), len(atoms)), directed=False, unweighted=True)
    return counts


def side_of(pairs: Pairs, bond: int, atoms: int) -> NDArray[np.bool_]:
    """Which atoms are on the side of a bond's second atom once it is cut, (atoms,).

    In a ring, where cutting it parts nothing, that second atom alone.
    """
    first, second = pairs[bond]
    _, parts = connected_components(_graph(np.delete(pairs, bond, axis=0), atoms), directed=False)
    if parts[first] == parts[second]:
        alone: NDArray[np.bool_] = np.arange(atoms) == second
        return alone
    side: NDArray[np.bool_] = parts == parts[second]
    return side


def _graph(pairs: Pairs, atoms: int) -> csr_array:
    return csr_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(atoms, atoms))
