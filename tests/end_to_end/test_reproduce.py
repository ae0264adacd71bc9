"""A run reproduced from a copy of it: real data, training and evaluation, on the host and in an image."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.files import files_below, sha256_file
from mlipilot.campaign.paths import RunPaths
from mlipilot.evaluation.catalog import OF_THE_MACHINE
from mlipilot.jobs.apptainer import trusted_argv
from mlipilot.jobs.order import read_result
from tests.end_to_end.conftest import mlipilot, write_campaign

# One worker makes the undisturbed run, and all that look at it share it.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("undisturbed")]


def _digests(directory: Path) -> dict[Path, str]:
    return {path: sha256_file(path) for path in files_below(directory) if not path.is_symlink()}


def _check(outcome: dict[str, Any]) -> None:
    """Everything that a reproduction on the run's own machine must find."""
    assert outcome["reproduced"] is True
    for weights in outcome["weights"]:
        assert weights["must_match"] is True and weights["here"] == weights["recorded"]
    assert set(outcome["data"].values()) == {"same bytes"}
    assert len(outcome["metrics"]) > 30
    for metric in outcome["metrics"]:
        expected = "not judged" if metric["name"] in OF_THE_MACHINE else "equal"
        assert metric["agreement"] == expected, metric


@pytest.mark.sweep
def test_a_copy_in_a_fresh_directory_gives_the_same_weights(undisturbed: RunPaths, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(undisturbed.root, tmp_path / "copy", symlinks=True))
    before = _digests(copy)
    done = mlipilot("reproduce", copy, "--iteration", "0", "--seed", "1", "--json", cwd=tmp_path)
    outcome = json.loads(done.stdout)
    _check(outcome)
    assert [weights["seed"] for weights in outcome["weights"]] == [1]
    written = tmp_path / "reproduction-tiny-0000" / "reproduction.json"
    assert json.loads(written.read_text()) == outcome
    assert _digests(copy) == before
    again = mlipilot("reproduce", copy, "--iteration", "0", "--json", cwd=tmp_path, check=2)
    assert "not an empty directory" in again.stderr


def test_one_byte_of_the_recipe_is_refused(undisturbed: RunPaths, tmp_path: Path) -> None:
    copy = RunPaths(Path(shutil.copytree(undisturbed.root, tmp_path / "copy", symlinks=True)))
    recipe = copy.lineage(0).recipe(0) / "recipe.yaml"
    recipe.write_bytes(recipe.read_bytes()[:-1] + b" ")
    done = mlipilot("reproduce", copy.root, "--iteration", "0", cwd=tmp_path, check=1)
    assert str(recipe) in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_nothing_but_the_image_and_a_copy_of_the_run(tmp_path: Path) -> None:
    named = os.environ.get("MLIPILOT_TEST_IMAGE")
    if not named or shutil.which("apptainer") is None:
        pytest.skip("MLIPILOT_TEST_IMAGE names no SIF, or there is no apptainer")
    image, made, fresh = Path(named).resolve(), tmp_path / "made", tmp_path / "fresh"
    made.mkdir()
    campaign = write_campaign(made, seeds=[1], budget={"iterations": 0, "optimizer_steps": 12})
    subprocess.run(
        trusted_argv(made, image, ["mlipilot", "run", str(campaign)]),
        env=os.environ | {"APPTAINERENV_MLIPILOT_IMAGE_SHA256": sha256_file(image)},
        check=True,
        timeout=600,
    )
    fresh.mkdir()
    shutil.copyfile(image, fresh / "mlipilot.sif")
    copy = Path(shutil.copytree(made / "runs" / "tiny", fresh / "tiny", symlinks=True))
    shutil.rmtree(made)
    before = _digests(copy)
    done = mlipilot("reproduce", "tiny", "--image", "mlipilot.sif", "--json", cwd=fresh)
    outcome = json.loads(done.stdout)
    _check(outcome)
    environment = outcome["environment"]
    assert environment["where"] == "containers of the image" and environment["toolkit_files"] == []
    attempts = [*(fresh / "reproduction-tiny-0000").glob("lineage-0/iterations/0000/seed-1/*/attempt-1")]
    assert len(attempts) == 2
    for attempt in attempts:
        isolation = read_result(attempt).isolation
        assert (isolation.filesystem, isolation.network) == ("container", "none")
    assert _digests(copy) == before
