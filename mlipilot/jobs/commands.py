"""The command lines and environments of jobs, as pure functions."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlipilot.audit.protected import PACKAGE
from mlipilot.checkpoint import DIRECTORY, INTERVAL_S
from mlipilot.paths import RECIPE

if TYPE_CHECKING:  # a third of what every worker would import
    from mlipilot.evaluation.scorecard import Profile

# One thread a job: on busy cores two threads a job were measured many times slower.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

# Begins a module with no folder to import from but the standard library's and those that it is told.
_BEGIN = (
    "import runpy, sys; _, paths, module, *rest = sys.argv; sys.path += paths.split(':'); "
    "sys.argv[1:] = rest; runpy.run_module(module, run_name='__main__', alter_sys=True)"
)
_NO_CACHE = "pycache_prefix=/dev/null"


def import_paths() -> list[str]:
    """The folders that this process imports from, but for its script's or the working directory."""
    paths = sys.path[0 if sys.flags.safe_path else 1 :]
    return list(dict.fromkeys([path for path in paths if Path(path).is_dir()] + [str(PACKAGE.parent)]))


def module_argv(module: str, *, distrust: bool) -> list[str]:
    """Run a module of the toolkit in a Python like this one, on this host.

    Nothing that lies in a working directory, a user's packages, a `.pth` or `sitecustomize` has a say in it.
    `distrust`: nor has compiled code that lies beside the sources, where code of candidates can write; all is
    compiled anew, which takes seconds. `-I` would besides ignore PYTHONHASHSEED.
    """
    cache = ["-X", _NO_CACHE] if distrust else []
    return [
        sys.executable,
        "-P",
        "-s",
        "-S",
        "-B",
        "-u",
        *cache,
        "-c",
        _BEGIN,
        os.pathsep.join(import_paths()),
        module,
    ]


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


EVALUATOR = "mlipilot.evaluation"


def evaluator_in_image(python: str) -> list[str]:
    """How an image's own evaluator is begun: there nobody can write beside the sources."""
    return [python, "-P", "-s", "-B", "-u", "-m", EVALUATOR]


def evaluate_argv(
    evaluator: list[str],
    model: Path,
    data: Path,
    scorecard: Path,
    profile: Profile,
    output: Path,
    split: str,
    device: str,
    errors_only: bool = False,
) -> list[str]:
    """Evaluate a hand-over with the trusted evaluator; `evaluator` is how that is begun."""
    return [
        *evaluator,
        *("--model", str(model)),
        *("--data", str(data)),
        *("--scorecard", str(scorecard)),
        *("--profile", profile),
        *("--output", str(output)),
        *("--split", split),
        *("--device", device),
        *(["--errors-only"] if errors_only else []),
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
