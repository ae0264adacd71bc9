"""Which measurements are made where there is no crystal: of any labelled structures, and of molecules.

What the data have no labels or files for is not owed: a stress, larger or unseen structures, scans.
"""

from __future__ import annotations

from pathlib import Path

from ase import Atoms

from mlipilot.evaluation.catalog import names_of
from mlipilot.evaluation.frames import (
    LARGE,
    SEALED,
    SEALED_UNSEEN,
    TEST,
    UNSEEN,
    bench_frames,
    has_stress,
    read_frames,
    spread,
)
from mlipilot.evaluation.metrics import (
    accuracy,
    finite_difference,
    frequencies,
    invariance,
    nve,
    relaxation,
    scan,
    size,
    stability,
    throughput,
)
from mlipilot.evaluation.molecules import EQUILIBRIUM, SCAN, read_molecules, read_scans
from mlipilot.evaluation.subject import Subject
from mlipilot.evaluation.tasks import Task


def frame_tasks(subject: Subject, data_dir: Path) -> list[Task]:
    """All measurements on the test split. Raises InputError when a file of the data is not as it must be."""
    settings = subject.settings
    frames = bench_frames(data_dir / TEST, settings.frames.count)
    batch = bench_frames(data_dir / TEST, settings.errors.batch_size)
    return [
        Task(
            "size", names_of("size"), lambda: size.measure_frames(subject, batch)
        ),  # first: see its docstring
        Task("throughput", names_of("throughput"), lambda: throughput.measure_frames(subject, batch)),
        *_errors_on(subject, data_dir, {"": TEST, "large_cell_": LARGE, "unseen_": UNSEEN}),
        Task("invariance", names_of("invariance"), lambda: invariance.measure_frames(subject, frames)),
        Task(
            "finite_difference",
            names_of("finite_difference"),
            lambda: finite_difference.measure_frames(subject, frames),
        ),
        *(
            molecule_tasks(subject, data_dir)
            if settings.system == "molecules"
            else [_nve_task(subject, {f"test frame {i}": atoms for i, atoms in enumerate(frames)})]
        ),
    ]


def sealed_tasks(subject: Subject, data_dir: Path) -> list[Task]:
    """The errors on the sealed split, and on the sealed structures of a kind that nothing was trained on."""
    return _errors_on(subject, data_dir, {"": SEALED, "unseen_": SEALED_UNSEEN})


def molecule_tasks(subject: Subject, data_dir: Path) -> list[Task]:
    """The measurements on molecules with references; they need a calculator only."""
    every = read_molecules(data_dir / EQUILIBRIUM)
    molecules = [every[index] for index in spread(subject.settings.molecules.count, len(every))]
    relaxer = relaxation.Relaxer(subject)
    tasks = [
        _nve_task(subject, {molecule.name: molecule.atoms for molecule in molecules}, at_equilibrium=True),
        Task("stability", names_of("stability"), lambda: stability.measure(subject, molecules)),
        Task("relaxation", names_of("relaxation"), lambda: relaxation.measure(relaxer, molecules)),
        Task("frequencies", names_of("frequencies"), lambda: frequencies.measure(relaxer, molecules)),
    ]
    if (data_dir / SCAN).is_file():
        scans = read_scans(data_dir / SCAN)
        tasks.append(Task("scan", names_of("scan"), lambda: scan.measure(subject, scans)))
    return tasks


def _nve_task(subject: Subject, starts: dict[str, Atoms], *, at_equilibrium: bool = False) -> Task:
    return Task(
        "nve", names_of("nve"), lambda: nve.measure_frames(subject, starts, at_equilibrium=at_equilibrium)
    )


def _errors_on(subject: Subject, data_dir: Path, files: dict[str, str]) -> list[Task]:
    """The errors by prefix; the first file is owed, a further one counts where the data have it."""
    tasks = [
        _errors_of(prefix, subject, data_dir / name)
        for prefix, name in files.items()
        if not prefix or (data_dir / name).is_file()
    ]
    return [task for task in tasks if task.names]


def _errors_of(prefix: str, subject: Subject, labelled: Path) -> Task:
    """The errors whose names begin with `prefix`, of the quantities that the file has labels of."""
    molecules = subject.settings.system == "molecules"
    stress = not molecules and has_stress(read_frames(labelled))
    names = [
        name
        for name in names_of("errors", subject.settings.system)
        if name.startswith(prefix or ("energy_", "force_", "stress_"))
        and (stress or not name.startswith("stress_"))
    ]
    measure = {
        "": accuracy.measure,
        "large_cell_": accuracy.measure_large_cell,
        "unseen_": accuracy.measure_unseen,
    }
    return Task(f"{prefix}errors", names, lambda: measure[prefix](subject, labelled, stress=stress))
