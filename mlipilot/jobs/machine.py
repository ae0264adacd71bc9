"""What a job ran on: weights are the same bytes only on the same kind of processor."""

from __future__ import annotations

import platform
from pathlib import Path

from mlipilot.audit.surroundings import Machine as Machine

_PROCESSORS = Path("/proc/cpuinfo")
_GPUS = Path("/proc/driver/nvidia/gpus")  # the driver's own, so it is seen in a container too


def this_machine(*, uses_gpu: bool) -> Machine:
    """The machine that this process runs on."""
    names = _values(_PROCESSORS, "model name") if _PROCESSORS.exists() else []
    processor = names[0] if names else platform.processor() or platform.machine()
    gpus = [name for file in sorted(_GPUS.glob("*/information")) for name in _values(file, "Model")]
    return Machine(processor=processor, gpu=(", ".join(dict.fromkeys(gpus)) or None) if uses_gpu else None)


def _values(file: Path, key: str) -> list[str]:
    """What a file of `key : value` lines says under `key`."""
    lines = [line.partition(":") for line in file.read_text(errors="replace").splitlines()]
    return [value.strip() for name, _, value in lines if name.strip() == key]
