"""Size: number of trainable parameters, and memory in MiB that one evaluation takes at its peak.

Memory is the rise of the process's peak resident set above what was resident just before (torch, MACE and
the model itself), over the first evaluation of energy, forces and stress of a supercell or a batch of frames:
Linux's VmHWM, reset through /proc/self/clear_refs. Where that cannot be reset, the growth of getrusage's
maximum is taken, a lower bound. On a GPU it is the peak of torch's own allocations.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from pydantic import Field

from mlipilot.evaluation.declaration import CRYSTAL, Group, Metric, Section, Settings
from mlipilot.evaluation.lazily import Bench
from mlipilot.evaluation.metrics_file import Measurement, MeasurementError

_PROC = Path("/proc/self")


class SizeSettings(Settings):
    """Parameters and memory; `repeats`³ cubic cells for the peak."""

    repeats: int = Field(default=3, ge=1, le=8)


def measure(bench: Bench) -> Measurement:
    """Parameters, and peak memory of a supercell or a batch of frames.

    Raises MeasurementError for what is no network.
    """
    import torch

    model = bench.model
    if model is None:
        raise MeasurementError("only a network has parameters")
    structures = bench.load(bench.settings.section(SizeSettings).repeats)
    on_gpu = model.device.startswith("cuda")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    before = _reset_peak_mib()
    model.predict(structures, len(structures))
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


GROUP = Group(
    name="size",
    place=160,
    metrics=(
        Metric("peak_memory_mib", "MiB", "lower", "peak memory", of_the_machine=True),
        Metric("parameter_count", "1", "lower", "parameter count"),
    ),
    measure=measure,
    sections=(Section("size", SizeSettings, CRYSTAL),),
    early=True,  # before others warm the allocator's caches
)
