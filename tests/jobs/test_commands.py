"""Golden command lines, and what has no say in those of trusted code."""

from __future__ import annotations

import json
import os
import py_compile
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from mlipilot.audit.protected import PACKAGE
from mlipilot.jobs.commands import (
    checkpoint_environment,
    evaluate_argv,
    evaluator_in_image,
    job_environment,
    module_argv,
    train_argv,
)


def test_train() -> None:
    assert train_argv("/opt/python", Path("/run/data"), Path("/run/out"), 3, 500) == [
        "/opt/python",
        *["-s", "-B", "-u", "train.py", "--recipe", "recipe.yaml", "--data", "/run/data/train"],
        *["--output", "/run/out", "--seed", "3", "--max-steps", "500"],
    ]


def test_a_training_is_told_where_and_how_often_to_keep_its_checkpoint() -> None:
    told = checkpoint_environment(Path("/run/out/checkpoint"), 300.0)
    assert told == {
        "MLIPILOT_CHECKPOINT": "/run/out/checkpoint",
        "MLIPILOT_CHECKPOINT_INTERVAL_S": "300",
    }


def test_evaluate() -> None:
    paths = Path("/m"), Path("/d"), Path("/s.yaml")
    argv = evaluate_argv(evaluator_in_image("/opt/python"), *paths, "smoke", Path("/o"), "sealed", "cpu")
    assert argv == [
        *("/opt/python", "-P", "-s", "-B", "-u", "-m", "mlipilot.evaluation"),
        *("--model", "/m", "--data", "/d", "--scorecard", "/s.yaml", "--profile", "smoke"),
        *("--output", "/o", "--split", "sealed", "--device", "cpu"),
    ]


_TOUCH = "import pathlib; pathlib.Path({!r}).touch()\n"
_PROBE = "import json, sys; print('sources', json.dumps(sys.argv[1:]))\n"


@pytest.fixture
def poisoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The Python of an environment in which all that can be planted is, and a working directory likewise."""
    venv.create(tmp_path / "venv", symlinks=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    touch = _TOUCH.format(str(tmp_path / "touched"))
    (site / "evil.pth").write_text(touch)
    (site / "sitecustomize.py").write_text(touch)
    source, cwd = site / "probe.py", tmp_path / "cwd"
    source.write_text(_PROBE.replace("sources", "changed"))
    cache = Path(py_compile.compile(str(source), doraise=True) or "")
    time, text = source.stat().st_mtime, source.read_text()
    source.write_text(text.replace("changed", "sources"))
    os.utime(source, (time, time))
    assert cache.is_relative_to(site)
    cwd.mkdir()
    for name in ("json.py", "probe.py", "usercustomize.py"):
        (cwd / name).write_text(touch)
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
    return tmp_path / "venv/bin/python", cwd


def _run(argv: list[str], python: Path, cwd: Path) -> str:
    done = subprocess.run([str(python), *argv[1:], "--x", "1 2"], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_that_is_planted_has_a_say_in_a_module_of_the_toolkit(
    poisoned: tuple[Path, Path], tmp_path: Path
) -> None:
    assert _run(module_argv("probe", distrust=True), *poisoned) == 'sources ["--x", "1 2"]\n'
    assert not (tmp_path / "touched").exists()


def test_compiled_code_beside_the_sources_is_used_where_nobody_can_write_it(
    poisoned: tuple[Path, Path], tmp_path: Path
) -> None:
    assert _run(module_argv("probe", distrust=False), *poisoned) == 'changed ["--x", "1 2"]\n'
    assert not (tmp_path / "touched").exists()


def test_where_the_script_lies_is_no_folder_to_import_from(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import json; from mlipilot.jobs.commands import import_paths; print(json.dumps(import_paths()))"
    )
    said = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=True
    ).stdout
    paths = json.loads(said)
    assert str(tmp_path) not in paths and str(PACKAGE.parent) in paths
    assert all(Path(path).is_dir() for path in paths)


def test_environment_keeps_a_few_names_only() -> None:
    inherited = {
        "PATH": "/bin",
        "HOME": "/root",
        "OPENAI_API_KEY": "sk",
        "SLURM_JOB_ID": "1",
        "SSH_AUTH_SOCK": "/s",
        "CUDA_VISIBLE_DEVICES": "1",
    }
    cpu = job_environment(inherited, Path("/a/home"), use_gpu=False)
    assert cpu["HOME"] == "/a/home" and cpu["PATH"] == "/bin" and cpu["CUDA_VISIBLE_DEVICES"] == ""
    assert not {"OPENAI_API_KEY", "SLURM_JOB_ID", "SSH_AUTH_SOCK"} & cpu.keys()
    assert job_environment(inherited, Path("/a/home"), use_gpu=True)["CUDA_VISIBLE_DEVICES"] == "1"
