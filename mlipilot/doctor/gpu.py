"""The GPU that a campaign on device cuda needs, as the code that will use it sees it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from mlipilot.doctor.check import Check, failed, ok, skipped
from mlipilot.doctor.isolation import run_in_image, scratch_in
from mlipilot.errors import InputError
from mlipilot.jobs.container_commands import PYTHON
from mlipilot.programs import Answer, ask

_ASK_TORCH = """
import json, torch
names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
built = torch.version.cuda or torch.version.hip
usable = torch.cuda.is_available() and torch.ones(1, device="cuda").item() == 1
print(json.dumps({"version": torch.__version__, "built": built, "usable": usable, "names": names}))
"""
_TORCH_S = 180  # the first import from a cold parallel filesystem is slow


def check_any_gpu() -> Check:
    """Whether this node has a GPU by NVIDIA's own tool, without loading torch."""
    argv = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    answer = ask(argv, timeout_s=30)
    if answer.hung:
        return failed("gpu", answer.words, "the driver or a GPU of this node hangs: ask the site")
    gpus = [line.strip() for line in answer.stdout.splitlines() if line.strip()]
    if not answer.ok or not gpus:
        return skipped("gpu", "nvidia-smi shows none on this node")
    return ok("gpu", f"nvidia-smi shows {'; '.join(gpus)}")


def check_gpu_of_local_jobs() -> Check:
    """Whether this Python's torch can compute on a GPU here."""
    return _judge(ask([sys.executable, "-c", _ASK_TORCH], timeout_s=_TORCH_S), "torch")


def check_gpu_in_image(image: Path, directory: Path) -> Check:
    """Whether the image's torch can compute on a GPU of this node, if it has one."""
    here = check_any_gpu()
    if here.status == "skipped":
        again = "to see theirs, run doctor in a job: `srun --gres=gpu:1 mlipilot doctor …`"
        return skipped("gpu", "this node shows none; what the jobs' nodes have is in the lines above", again)
    if here.status == "failed":
        return here
    argv = [PYTHON, "-c", _ASK_TORCH]
    try:
        with scratch_in(directory) as scratch:
            answer = run_in_image(image, scratch / "attempt", argv, network="host", gpu=True)
    except (OSError, InputError) as error:
        return failed("gpu", f"not tried in the image: {error}", "mend the lines above first")
    return _judge(answer, "the image's torch")


def _judge(answer: Answer, which: str) -> Check:
    try:
        said: dict[str, Any] = json.loads(answer.stdout.strip().splitlines()[-1])
        version, built, usable, names = (said[key] for key in ("version", "built", "usable", "names"))
    except (ValueError, IndexError, KeyError, TypeError):
        mend = "`nvidia-smi` and torch must agree: a driver too old, a busy or a faulty GPU (ask the site)"
        return failed("gpu", f"{which} did not compute on a GPU: {answer.words}", mend)
    if usable:
        return ok("gpu", f"{which} {version} computes on {', '.join(names)}")
    if not built:
        mend = (
            "install torch's CUDA build (in an image: `containers/build.sh image cuda`), or jobs.device: cpu"
        )
        return failed("gpu", f"{which} {version} is built for processors only", mend)
    mend = "run on a node with a GPU, look at CUDA_VISIBLE_DEVICES and `nvidia-smi`, or set jobs.device: cpu"
    return failed("gpu", f"{which} {version}, built for {built}, sees no GPU here", mend)
