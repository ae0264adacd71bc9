"""Labels per core-hour beside a plain PySCF loop with the same functional, basis, grid and tolerance.

    python ci/benchmark_labels.py --molecules ethanol pyrrole toluene --geometries 3 [--seed 2026]

Both label the same geometries in turns in one process with one thread, so that their ratio means something on
a busy machine, too; prints the table of docs/benchmarks.md and the seconds that cost.py is fitted to.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np

from mlipilot.datasets.qm7_b3lyp import embedded
from mlipilot.versions import versions
from mlipilot_labels.cost import basis_functions, label_seconds
from mlipilot_labels.geometries import geometries
from mlipilot_labels.geometry_settings import Sampling
from mlipilot_labels.label import Neighbours, label_geometry
from mlipilot_labels.method import (
    CONV_TOL_HARTREE,
    EV_PER_A_PER_HARTREE_PER_BOHR,
    EV_PER_HARTREE,
    GRID_LEVEL,
    XC,
    chemistry,
)
from mlipilot_labels.records import Geometry
from mlipilot_labels.scf import molecule


def plain(numbers: list[int], geometry: Geometry) -> tuple[float, np.ndarray]:
    """Energy (eV) and forces (eV/Å) as a straightforward loop would compute them."""
    field = chemistry("pyscf.dft").RKS(molecule(numbers, geometry.positions_a), xc=XC)
    field.conv_tol, field.grids.level = CONV_TOL_HARTREE, GRID_LEVEL
    energy = field.kernel() * EV_PER_HARTREE
    forces = -field.nuc_grad_method().kernel() * EV_PER_A_PER_HARTREE_PER_BOHR
    return float(energy), forces - forces.mean(axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--molecules", nargs="+", default=["ethanol", "pyrrole", "toluene"])
    parser.add_argument("--geometries", type=int, default=3)
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    sampling = Sampling(
        seed=options.seed, temperatures_k=(600.0,), normal_mode=options.geometries - 1, rattled=0
    )
    print("| molecule | basis functions | plain s | here s | ratio | force diff meV/Å | energy diff meV |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    totals = np.zeros(2)
    worst = 0.0
    sources = embedded.molecules({*options.molecules, "methane"})
    for source in sorted(sources, key=lambda each: label_seconds(each.numbers)):
        warm_up = source.name == "methane" and "methane" not in options.molecules
        neighbours, spent, force_diff, energy_diff = Neighbours(), np.zeros(2), 0.0, 0.0
        drawn = geometries(source, sampling)
        for index, geometry in enumerate(drawn[:1] if warm_up else drawn):
            marks = [time.process_time()]
            energy, forces = plain(source.numbers, geometry)
            marks.append(time.process_time())
            frame = label_geometry(source, index, geometry, neighbours)
            marks.append(time.process_time())
            spent += np.diff(marks)
            assert frame.energy_ev is not None and frame.forces_ev_per_a is not None, source.name
            force_diff = max(force_diff, float(np.abs(np.array(frame.forces_ev_per_a) - forces).max()))
            energy_diff = max(energy_diff, abs(frame.energy_ev - energy))
        if warm_up:
            continue
        totals += spent
        worst = max(worst, force_diff)
        each = spent / len(drawn)
        print(
            f"| {source.name} | {basis_functions(source.numbers)} | {each[0]:.1f} | {each[1]:.1f} "
            f"| {each[0] / each[1]:.2f} | {1000 * force_diff:.2f} | {1000 * energy_diff:.2f} |",
            flush=True,
        )
    labels = options.geometries * len(options.molecules)
    rates = 3600 * labels / totals
    print(
        f"\n{labels} labels: {rates[0]:.0f} per core-hour plain, {rates[1]:.0f} here: "
        f"{rates[1] / rates[0]:.2f} ×; worst force difference {1000 * worst:.2f} meV/Å"
    )
    model = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")),
        ": ?",
    )
    print(f"{model.partition(': ')[2]}, {platform.system()}, {versions(('python', 'pyscf', 'numpy'))}")


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != "1":  # libraries read it when they are loaded
        one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | one)
    main()
