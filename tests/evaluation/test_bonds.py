import numpy as np
from ase import Atoms
from ase.build import molecule

from mlipilot.evaluation.bonds import bonds, bonds_between, lengths_a, side_of

CHAIN = Atoms("C4", positions=[[0, 0, 0], [1.4, 0, 0], [2.8, 0, 0], [4.2, 0, 0]])


def test_bonds_are_those_of_chemistry() -> None:
    assert len(bonds(molecule("CH3CH2OH"))) == 8
    assert len(bonds(molecule("C6H6"))) == 12
    assert len(bonds(Atoms("He2", positions=[[0, 0, 0], [0, 0, 3]]))) == 0


def test_lengths_of_many_geometries_have_a_row_each() -> None:
    stretched = np.array([CHAIN.positions, 2 * CHAIN.positions])
    np.testing.assert_allclose(lengths_a(stretched, bonds(CHAIN)), [3 * [1.4], 3 * [2.8]])


def test_bonds_between_two_atoms_are_counted_and_endless_where_no_path_leads() -> None:
    np.testing.assert_array_equal(bonds_between(CHAIN)[0], [0, 1, 2, 3])
    apart = CHAIN + Atoms("He", positions=[[20, 0, 0]])
    assert np.isinf(bonds_between(apart)[0, 4])


def test_a_bond_has_two_sides_but_in_a_ring_its_atoms_alone() -> None:
    pairs = bonds(CHAIN)
    assert side_of(pairs, 1, 4).tolist() == [False, False, True, True]
    assert side_of(pairs[:, ::-1], 1, 4).tolist() == [True, True, False, False]
    ring = molecule("C3H6_D3h")  # cyclopropane
    pairs = bonds(ring)
    carbons = next(i for i, pair in enumerate(pairs) if set(ring.numbers[pair]) == {6})
    assert side_of(pairs, carbons, len(ring)).nonzero()[0].tolist() == [pairs[carbons, 1]]
    hydrogen = next(i for i, pair in enumerate(pairs) if set(ring.numbers[pair]) == {1, 6})
    assert side_of(pairs, hydrogen, len(ring)).sum() in (1, len(ring) - 1)
