"""What a job ran on, read where a container can read it too."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlipilot.jobs import machine
from mlipilot.jobs.machine import this_machine


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node with two processors of one kind and two kinds of GPU, one of them twice."""
    kind = "model name\t: AMD EPYC 9654: 96-Core\nflags\t\t: fpu model name\n"
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{kind}\nprocessor\t: 1\n{kind}")
    for bus, model in enumerate(("NVIDIA H200", "NVIDIA H200", "NVIDIA L4")):
        (tmp_path / "gpus" / f"0000:{bus:02}:00.0").mkdir(parents=True)
        text = f"Model: \t\t {model}\nIRQ:   \t\t 42\nGPU UUID: \t GPU-1\n"
        (tmp_path / "gpus" / f"0000:{bus:02}:00.0" / "information").write_text(text)
    monkeypatch.setattr(machine, "_PROCESSORS", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine, "_GPUS", tmp_path / "gpus")
    return tmp_path


def test_processor_and_gpus_by_name(node: Path) -> None:
    assert str(this_machine(uses_gpu=True)) == "AMD EPYC 9654: 96-Core with NVIDIA H200, NVIDIA L4"
    assert str(this_machine(uses_gpu=False)) == "AMD EPYC 9654: 96-Core"


def test_a_node_that_names_neither(node: Path) -> None:
    (node / "cpuinfo").unlink()
    (node / "gpus").rename(node / "none")
    found = this_machine(uses_gpu=True)
    assert found.gpu is None and found.processor
