"""Labelling the geometries of one molecule, each starting from the orbitals of the nearest one before it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlipilot_labels import gpu_labels
from mlipilot_labels.gradient import gradient
from mlipilot_labels.method import EV_PER_A_PER_HARTREE_PER_BOHR, EV_PER_HARTREE, chemistry, method_record
from mlipilot_labels.records import DECIMALS, Frame, Geometry, Molecule, Scalar, rows
from mlipilot_labels.scf import Converged, converge, molecule


class Neighbours:
    """The orbitals of the geometries labelled so far, as starting points for others of the same molecule."""

    def __init__(self) -> None:
        self._known: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, positions_a: np.ndarray, field: Any) -> None:
        """Remember a converged field."""
        self._known.append((positions_a, np.asarray(field.mo_coeff), np.asarray(field.mo_occ)))

    def guess(self, positions_a: np.ndarray, mol: Any) -> Any:
        """The density of the nearest geometry's orbitals, moved to this one; None without any."""
        if not self._known:
            return None
        distance = [np.linalg.norm(positions_a - known[0]) for known in self._known]
        _, coefficients, occupations = self._known[int(np.argmin(distance))]
        overlap = mol.intor("int1e_ovlp")
        if coefficients.ndim == 2:
            return _density(coefficients[:, occupations > 0], overlap, 2.0)
        return np.array(
            [_density(c[:, n > 0], overlap, 1.0) for c, n in zip(coefficients, occupations, strict=True)]
        )


def _density(occupied: np.ndarray, overlap: np.ndarray, electrons: float) -> Any:
    """The density matrix of the orthonormal orbitals nearest to `occupied` (Löwdin), `electrons` in each."""
    values, vectors = np.linalg.eigh(occupied.T @ overlap @ occupied)
    orbitals = occupied @ (vectors / np.sqrt(values)) @ vectors.T
    # with its orbitals at hand, density-fitted exchange is several times cheaper
    occupations = np.full(orbitals.shape[1], electrons)
    density = electrons * orbitals @ orbitals.T
    return chemistry("pyscf.lib").tag_array(density, mo_coeff=orbitals, mo_occ=occupations)


def label_geometries(source: Molecule, geometries: Sequence[Geometry]) -> list[Frame]:
    """A frame for every geometry, in order. Raises InputError for an element without basis."""
    neighbours = Neighbours()
    return [label_geometry(source, index, geometry, neighbours) for index, geometry in enumerate(geometries)]


def label_geometry(source: Molecule, index: int, geometry: Geometry, neighbours: Neighbours) -> Frame:
    """One frame, its orbitals kept in `neighbours`. Raises InputError for an element without basis."""
    frame = Frame(
        molecule=source.name,
        index=index,
        origin=source.origin,
        kind=geometry.kind,
        numbers=source.numbers,
        positions_a=geometry.positions_a,
        sampling=geometry.sampling,
        label={"outcome": "no_geometry"},
    )
    if geometry.positions_a is None:
        return frame
    started = time.process_time()
    positions = np.array(geometry.positions_a)
    mol = molecule(source.numbers, positions, spin=source.unpaired_electrons)
    record: dict[str, Scalar] = {"unpaired_electrons": int(mol.spin)}
    energy, slope = None, None
    try:
        energy, slope, record["outcome"], record["device"] = _energy_and_slope(mol, positions, neighbours)
    except np.linalg.LinAlgError as error:  # of this geometry; the next may do
        record |= {"outcome": "failed", "reason": f"linear algebra: {error}", "device": "cpu"}
    labels = {}
    if energy is not None and slope is not None:
        forces = -slope * EV_PER_A_PER_HARTREE_PER_BOHR
        net = forces.sum(axis=0)
        record["net_force_removed_mev_per_a"] = round(1000 * float(np.linalg.norm(net)), 3)
        labels = {
            "energy_ev": round(energy * EV_PER_HARTREE, DECIMALS),
            "forces_ev_per_a": rows(forces - net / len(forces)),
        }
    record["cpu_seconds"] = round(time.process_time() - started, 2)
    on = gpu_labels.versions() if record["device"] == "gpu" else {}
    return frame.model_copy(update=labels | {"label": record | method_record() | on})


def _energy_and_slope(
    mol: Any, positions_a: np.ndarray, neighbours: Neighbours
) -> tuple[float | None, np.ndarray | None, str, str]:
    """Energy (Hartree), its gradient (Hartree/Bohr), the outcome, and where it was computed."""
    if (on_gpu := gpu_labels.energy_and_slope(mol)) is not None:
        return (*on_gpu, "default", "gpu")
    found = converge(mol, neighbours.guess(positions_a, mol))
    if found is None:
        return None, None, "not_converged", "cpu"
    neighbours.add(positions_a, found.field)
    return float(found.field.e_tot), _slope(found), found.rung, "cpu"


def _slope(found: Converged) -> np.ndarray:
    if found.field.mol.spin:
        return np.asarray(found.field.nuc_grad_method().kernel())
    return gradient(found.field, np.asarray(found.fock))
