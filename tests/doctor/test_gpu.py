"""GPUs through stand-ins, as this machine may have none; the torch that is here says what it really sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlipilot.doctor import gpu
from mlipilot.programs import ask
from tests.conftest import StandIn

SMI = "echo 'NVIDIA H200, 143771 MiB, 570.1'"
TORCH = '{"version": "2.13", "built": %s, "usable": %s, "names": ["NVIDIA H200"]}'


def test_gpus_by_nvidias_tool(stand_in: StandIn) -> None:
    stand_in("nvidia-smi", SMI)
    found = gpu.check_any_gpu()
    assert found.status == "ok" and "NVIDIA H200, 143771 MiB" in found.found


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'; exit 6", "true"])
def test_no_gpu_is_no_fault_by_itself(stand_in: StandIn, script: str) -> None:
    stand_in("nvidia-smi", script)
    assert gpu.check_any_gpu().status == "skipped"


def test_a_driver_that_hangs_fails(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "ask", lambda argv, **kw: ask(argv, **kw | {"timeout_s": 0.3}))
    stand_in("nvidia-smi", "sleep 30")
    for found in (gpu.check_any_gpu(), gpu.check_gpu_in_image(Path("/x.sif"), Path("/"))):
        assert found.status == "failed" and "nvidia-smi did not answer" in found.found


@pytest.mark.parametrize(
    ("built", "usable", "status", "said"),
    [
        ('"12.8"', "true", "ok", "computes on NVIDIA H200"),
        ('"12.8"', "false", "failed", "sees no GPU"),
        ("null", "false", "failed", "for processors only"),
    ],
)
def test_the_images_torch_has_to_compute(
    tmp_path: Path, stand_in: StandIn, built: str, usable: str, status: str, said: str
) -> None:
    stand_in("nvidia-smi", SMI)
    stand_in(
        "apptainer", f"printf '%s\\n' \"$@\" >{tmp_path}/words; echo noise; echo '{TORCH % (built, usable)}'"
    )
    (tmp_path / "runs").mkdir()
    found = gpu.check_gpu_in_image(tmp_path / "m.sif", tmp_path / "runs")
    assert found.status == status and said in found.found
    words = (tmp_path / "words").read_text().splitlines()
    assert "--nv" in words and "--containall" in words and "/opt/mlipilot/bin/python" in words


def test_a_torch_that_breaks_fails_with_its_words(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in("nvidia-smi", SMI)
    stand_in("apptainer", "echo 'RuntimeError: CUDA driver version is insufficient' >&2; exit 1")
    found = gpu.check_gpu_in_image(tmp_path / "m.sif", tmp_path)
    assert found.status == "failed" and "insufficient" in found.found


def test_a_node_without_gpus_says_where_to_look(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in("nvidia-smi", "exit 9")
    found = gpu.check_gpu_in_image(tmp_path / "m.sif", tmp_path)
    assert found.status == "skipped" and "srun --gres" in found.mend


def test_the_torch_of_this_python_agrees_with_doctor() -> None:
    import torch

    found = gpu.check_gpu_of_local_jobs()
    assert torch.__version__ in found.found
    assert (found.status == "ok") == torch.cuda.is_available()
