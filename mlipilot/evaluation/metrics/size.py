"""Size: number of trainable parameters, and memory in MiB that one evaluation takes at its peak.

Memory is the rise of the process's peak resident set above what was resident just before (torch, MACE and
the model itself), over the first evaluation of energy, forces and stress of a supercell or a batch of frames:
Linux's VmHWM, reset through /proc/self/clear_refs. Where that cannot be reset, the growth of getrusage's
maximum is taken, a lower bound. On a GPU it is the peak of torch's own allocations.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from ase import Atoms

from mlipilot.evaluation.crystal import rattled_cell
from mlipilot.evaluation.results import Measurement, MeasurementError
from mlipilot.evaluation.subject import Subject

_PROC = Path("/proc/self")


def measure(subject: Subject) -> Measurement:
    """Parameters and peak memory of a supercell. To be made before others warm the allocator's caches."""
    crystal = subject.settings.crystal
    atoms = rattled_cell(
        crystal, crystal.lattice_constant_guess_a, subject.settings.size.repeats, 0.05, seed=0
    )
    return measure_frames(subject, [atoms])


def measure_frames(subject: Subject, frames: Sequence[Atoms]) -> Measurement:
    """Parameters and peak memory of a batch of frames."""
    model = subject.model
    if model is None:
        raise MeasurementError("only a network has parameters")
    on_gpu = model.device.startswith("cuda")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    before = _reset_peak_mib()
    model.predict(frames, len(frames))
    peak = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else _peak_mib() - before
    return Measurement({"parameter_count": float(model.parameter_count), "peak_memory_mib": max(peak, 0.0)})


def _reset_peak_mib() -> float:
    """Set the peak back to what is resident now, and return that."""
    try:
        (_PROC / "clear_refs").write_text("5")
    except OSError:
        return _peak_mib()
    return _status_mib("VmRSS") or _peak_mib()


def _peak_mib() -> float:
    found = _status_mib("VmHWM")
    if found is not None:
        return found
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _status_mib(field: str) -> float | None:
    try:
        lines = (_PROC / "status").read_text().splitlines()
    except OSError:
        return None
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:")), None)
