"""One campaign from the command line, and everything that can be asked of its run."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.audit.files import files_below
from mlipilot.audit.ledger import read_ledger
from mlipilot.audit.manifest import MANIFEST
from mlipilot.controller.recheck import recheck_records
from mlipilot.controller.state import replay
from mlipilot.controller.verification import verify_run
from mlipilot.errors import InputError
from mlipilot.evaluation.catalog import OF_THE_MACHINE
from mlipilot.paths import RunPaths
from tests.end_to_end.conftest import mlipilot, write_campaign

# One worker makes the undisturbed run, and all that look at it share it.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("undisturbed")]


def test_the_campaign_has_verdicts_and_a_report(undisturbed: RunPaths) -> None:
    state = replay(read_ledger(undisturbed.lineage(0).ledger))
    assert state.finished == "the budget of 2 iterations is used up"
    assert [i.verdict is not None for i in state.iterations] == [True, True, True]
    assert state.exchanges > 0 and state.prompt_tokens > 0 and state.cpu_seconds > 0
    assert state.sealed_check is not None and state.sealed_check.of(0)
    assert state.started is not None and state.started.run == str(undisturbed.root)
    assert undisturbed.report_html.stat().st_size > 10_000
    assert undisturbed.report_md.exists() and any(undisturbed.figures.iterdir())


def test_it_verifies_by_the_command_and_by_coreutils(undisturbed: RunPaths) -> None:
    done = mlipilot("verify", undisturbed.root, "--json", cwd=undisturbed.root.parent)
    assert json.loads(done.stdout)["ok"] is True
    for manifest in undisturbed.root.rglob("manifest-sha256.txt"):
        checked = subprocess.run(
            ["sha256sum", "--quiet", "--strict", "-c", manifest.name],
            cwd=manifest.parent,
            check=False,
            capture_output=True,
            text=True,
        )
        assert checked.returncode == 0, checked.stdout


def _flipped(text: bytes) -> bytes:
    middle = len(text) // 2
    return text[:middle] + bytes([text[middle] ^ 1]) + text[middle + 1 :] if text else b"x"


DAMAGES: dict[str, Callable[[bytes, bytes], bytes | None]] = {
    "flipped": lambda text, _: _flipped(text),
    "gone": lambda _text, _: None,
    "emptied": lambda _text, _: b"",
    "cut": lambda text, _: text[:-1],
    "longer": lambda text, _: text + b" ",
    "another's": lambda _text, other: other,
}
OF_NO_RECORD = (".prepare.lock", ".report.lock", "lock", "000001.json")
"""Who carries a lineage now, and what is held while something is written: nothing of it bears witness."""


@pytest.mark.parametrize(
    "damage",
    [name if name == "flipped" else pytest.param(name, marks=pytest.mark.sweep) for name in DAMAGES],
)
def test_damage_to_any_file_is_found_and_the_file_named(
    undisturbed: RunPaths, tmp_path: Path, damage: str
) -> None:
    run = RunPaths(tmp_path / "run")
    shutil.copytree(undisturbed.root, run.root, symlinks=True)
    files = [path for path in files_below(run.root) if not path.is_symlink()]
    assert len(files) > 50
    for path, other in zip(files, [*files[1:], files[0]], strict=True):
        original = path.read_bytes()
        damaged = DAMAGES[damage](original, other.read_bytes())
        if damaged == original or path.name in OF_NO_RECORD:
            continue
        if damaged is None:
            path.unlink()
        else:
            path.write_bytes(damaged)
        try:
            found = verify_run(run)
            # A kill may leave a report without its manifest.
            problems = found.problems + found.notes * (path == run.root / MANIFEST)
        except InputError as error:  # without its campaign it is no run
            problems = [str(error)]
        assert any(str(path) in problem or path.name in problem for problem in problems), (
            f"{path}: {problems}"
        )
        path.write_bytes(original)
    assert verify_run(run).problems == []


def test_a_flipped_byte_fails_the_command(undisturbed: RunPaths, tmp_path: Path) -> None:
    run = RunPaths(tmp_path / "run")
    shutil.copytree(undisturbed.root, run.root, symlinks=True)
    verdict = run.lineage(0).iteration(1) / "verdict.json"
    verdict.write_text(verdict.read_text().replace('"iteration": 1', '"iteration": 2'))
    done = mlipilot("verify", run.root, cwd=tmp_path, check=1)
    assert str(verdict) in done.stdout


def test_added_and_removed_files_are_found(undisturbed: RunPaths, tmp_path: Path) -> None:
    run = RunPaths(tmp_path / "run")
    shutil.copytree(undisturbed.root, run.root, symlinks=True)
    (run.lineage(0).root / "extra.txt").write_text("x")
    (run.lineage(0).iteration(0) / "patch.diff").unlink()
    problems = "\n".join(verify_run(run).problems)
    assert "extra.txt: no record speaks of this file" in problems
    assert "patch.diff: missing" in problems


def test_a_verdict_that_does_not_follow_is_found(undisturbed: RunPaths, tmp_path: Path) -> None:
    """A consistent forgery of the metrics (hashes made anew) still contradicts the verdict."""
    run = RunPaths(tmp_path / "run")
    shutil.copytree(undisturbed.root, run.root, symlinks=True)
    assert recheck_records(run, run.lineage(0)) == []
    metrics = run.lineage(0).iteration(1) / "seed-1/evaluate/attempt-1/output/metrics.json"
    content = json.loads(metrics.read_text())
    content["metrics"]["force_mae_mev_per_a"]["value"] = 0.1
    metrics.write_text(json.dumps(content))
    assert any("0001/verdict.json" in problem for problem in recheck_records(run, run.lineage(0)))


def test_status_show_report_and_a_second_resume(undisturbed: RunPaths) -> None:
    cwd = undisturbed.root.parent
    status = json.loads(mlipilot("status", undisturbed.root, "--json", cwd=cwd).stdout)
    assert status["phase"] == "finished" and status["pilot"] == "scripted"
    assert "finished" in mlipilot("status", undisturbed.root, cwd=cwd).stdout
    shown = mlipilot("show", undisturbed.root, "1", cwd=cwd).stdout
    assert "hypothesis" in shown.lower() and "recipe.yaml" in shown
    missing = mlipilot("show", undisturbed.root, "7", cwd=cwd, check=2)
    assert "iterations 0 to 2" in missing.stderr
    ledger = undisturbed.lineage(0).ledger.read_bytes()
    assert "report" in mlipilot("resume", undisturbed.root, cwd=cwd).stdout
    assert undisturbed.lineage(0).ledger.read_bytes() == ledger
    mlipilot("report", undisturbed.root, cwd=cwd)
    mlipilot("verify", undisturbed.root, cwd=cwd)


def test_a_run_that_exists_is_not_begun_again(undisturbed: RunPaths) -> None:
    directory = undisturbed.root.parent.parent
    done = mlipilot("run", directory / "tiny.yaml", cwd=directory, check=2)
    assert "resume" in done.stderr


def test_evaluate_gives_the_numbers_of_the_run(undisturbed: RunPaths, tmp_path: Path) -> None:
    lineage = undisturbed.lineage(0)
    attempt = lineage.iteration(0) / "seed-1"
    done = mlipilot(
        *("evaluate", attempt / "train/attempt-1/output/model", "--json"),
        *("--scorecard", undisturbed.scorecard, "--data", undisturbed.data),
        cwd=tmp_path,
        check=1,  # the baseline fails gates
        # A shell of other habits than a job's: more threads, other kernels of linear algebra.
        OMP_NUM_THREADS="2",
        OPENBLAS_NUM_THREADS="2",
        OPENBLAS_CORETYPE="Prescott",
    )
    again = json.loads(done.stdout)["metrics"]["metrics"]
    recorded = json.loads((attempt / "evaluate/attempt-1/output/metrics.json").read_text())["metrics"]
    for name in recorded.keys() - OF_THE_MACHINE:
        assert again[name]["value"] == recorded[name]["value"], name


def test_plan_starts_nothing(tmp_path: Path) -> None:
    campaign = write_campaign(tmp_path)
    before = files_below(tmp_path)
    planned = json.loads(mlipilot("plan", campaign, "--json", cwd=tmp_path).stdout)
    assert planned["bounds"]["trainings"] == 6
    assert "train.py" in mlipilot("plan", campaign, cwd=tmp_path).stdout
    assert files_below(tmp_path) == before
