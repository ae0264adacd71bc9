"""The molecules that stand in for QM7 where its file is not at hand: `embedded.txt`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule as g2_molecule

from mlipilot.errors import InputError
from mlipilot.versions import versions
from mlipilot_labels.method import chemistry
from mlipilot_labels.records import Molecule, rows

LIST = Path(__file__).with_name("embedded.txt")
_SEED = 2026  # of RDKit's embedding; geometries are drawn by the seed of the options


def names(path: Path = LIST) -> list[str]:
    """The names in the list, in its order. Raises InputError naming a line that is not of its form."""
    return [name for _, name, _ in _entries(path)]


def molecules(wanted: set[str], path: Path = LIST) -> list[Molecule]:
    """Those of the list that are `wanted`. Raises InputError naming the line of what does not embed."""
    return [_molecule(name, text, path, line) for line, name, text in _entries(path) if name in wanted]


def _entries(path: Path) -> list[tuple[int, str, str]]:
    found: list[tuple[int, str, str]] = []
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not text.strip() or text.startswith("#"):
            continue
        parts = text.split()
        if len(parts) != 2:
            raise InputError(f"a name and a source are expected, not {text!r}", file=path, line=line)
        if parts[0] in (name for _, name, _ in found):
            raise InputError(
                f"{parts[0]!r} is there twice", file=path, line=line, mend="give it another name"
            )
        found.append((line, parts[0], parts[1]))
    return found


def _molecule(name: str, text: str, path: Path, line: int) -> Molecule:
    kind, _, formula = text.partition(":")
    if kind == "g2":
        try:
            atoms = g2_molecule(formula)
        except KeyError:
            raise InputError(f"{formula!r} is not in ASE's G2 set", file=path, line=line) from None
        origin = f"embedded stand-in, not QM7: ASE's G2 set, {formula}"
    else:
        atoms = _conformer(text, path, line)
        origin = f"embedded stand-in, not QM7: conformer of {text} by RDKit {versions(['rdkit'])['rdkit']}"
    # relaxation must be able to leave a symmetric saddle
    shift = np.random.default_rng(_SEED).normal(scale=0.02, size=atoms.positions.shape)
    return Molecule(
        name=name,
        origin=origin,
        numbers=atoms.numbers.tolist(),
        positions_a=rows(atoms.positions + shift),
        relax=True,
    )


def _conformer(smiles: str, path: Path, line: int) -> Atoms:
    chem, embedding = chemistry("rdkit.Chem"), chemistry("rdkit.Chem.AllChem")
    chemistry("rdkit.RDLogger").DisableLog("rdApp.*")
    parsed = chem.MolFromSmiles(smiles)
    if parsed is None:
        raise InputError(f"{smiles!r} is not a SMILES that RDKit reads", file=path, line=line)
    parsed = chem.AddHs(parsed)
    if embedding.EmbedMolecule(parsed, randomSeed=_SEED) != 0:
        raise InputError(
            f"RDKit finds no three-dimensional conformer of {smiles!r}",
            file=path,
            line=line,
            mend="take that line out",
        )
    embedding.MMFFOptimizeMolecule(parsed)
    numbers = [atom.GetAtomicNum() for atom in parsed.GetAtoms()]
    return Atoms(numbers, parsed.GetConformer().GetPositions())
