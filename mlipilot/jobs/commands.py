"""The command lines and environments of jobs, as pure functions."""

from __future__ import annotations

from pathlib import Path

from mlipilot.checkpoint import DIRECTORY, INTERVAL_S
from mlipilot.evaluation.scorecard import Profile
from mlipilot.paths import RECIPE

# One thread a job: on busy cores two threads a job were measured many times slower.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def train_argv(python: str, data: Path, output: Path, seed: int, max_steps: int) -> list[str]:
    """Train a candidate; runs in its recipe's directory and sees the training data only."""
    return [
        # -s: no user packages; -B: no bytecode, the recipe's directory stays as it is; -u: progress at once
        *(python, "-s", "-B", "-u", "train.py"),
        *("--recipe", RECIPE),
        *("--data", str(data / "train")),
        *("--output", str(output)),
        *("--seed", str(seed)),
        *("--max-steps", str(max_steps)),
    ]


def evaluate_argv(
    python: str,
    model: Path,
    data: Path,
    scorecard: Path,
    profile: Profile,
    output: Path,
    split: str,
    device: str,
) -> list[str]:
    """Evaluate a hand-over with the trusted evaluator."""
    return [
        *(python, "-s", "-B", "-u", "-m", "mlipilot.evaluation"),
        *("--model", str(model)),
        *("--data", str(data)),
        *("--scorecard", str(scorecard)),
        *("--profile", profile),
        *("--output", str(output)),
        *("--split", split),
        *("--device", device),
    ]


def checkpoint_environment(place: Path, interval_s: float) -> dict[str, str]:
    """What tells a recipe where and how often to keep its checkpoint."""
    return {DIRECTORY: str(place), INTERVAL_S: f"{interval_s:g}"}


def job_environment(inherited: dict[str, str], home: Path, *, use_gpu: bool) -> dict[str, str]:
    """What a job may know of the machine: where programs are, a home of its own, no secret, no proxy."""
    keep = ("PATH", "LANG", "LC_ALL", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "PYTHONPATH")
    environment = {name: inherited[name] for name in keep if name in inherited}
    environment |= {"HOME": str(home), "TMPDIR": str(home), "MPLCONFIGDIR": str(home)}
    environment |= dict.fromkeys(_THREADS, "1")
    environment |= {"PYTHONHASHSEED": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    if not use_gpu:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    elif "CUDA_VISIBLE_DEVICES" in inherited:
        environment["CUDA_VISIBLE_DEVICES"] = inherited["CUDA_VISIBLE_DEVICES"]
    return environment
