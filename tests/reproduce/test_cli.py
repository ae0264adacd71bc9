"""The verb's manners: exit statuses and one message."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from mlipilot.audit.files import sha256_bytes
from mlipilot.cli.app import app
from mlipilot.errors import MlipilotError
from mlipilot.paths import RunPaths
from tests.conftest import StandIn
from tests.report.synthetic import SyntheticRun, make_spec
from tests.reproduce.conftest import IMAGE


def _reproduce(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["reproduce", *map(str, arguments)])


def _refusal(result: Result) -> MlipilotError:
    assert isinstance(result.exception, MlipilotError), result.output
    return result.exception


@pytest.fixture
def in_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPaths:
    """A run whose record names the stand-in image."""
    monkeypatch.setenv("MLIPILOT_IMAGE_SHA256", sha256_bytes(IMAGE))
    made = SyntheticRun(tmp_path / "in-image", make_spec(seeds=[1]))
    made.propose(0, None, {})
    made.candidate(0, 0.0)
    monkeypatch.delenv("MLIPILOT_IMAGE_SHA256")
    return made.run


def test_two_ways_to_name_the_iteration_are_one_too_many(run: RunPaths) -> None:
    refusal = _refusal(_reproduce(run.root, "--incumbent", "--iteration", "1"))
    assert refusal.exit_status == 2 and "give one of them" in str(refusal)


def test_another_image_is_refused_with_both_digests(in_image: RunPaths, tmp_path: Path) -> None:
    (tmp_path / "other.sif").write_bytes(b"another image")
    output = tmp_path / "output"
    refusal = _refusal(_reproduce(in_image.root, "--image", tmp_path / "other.sif", "--output", output))
    assert refusal.exit_status == 2
    assert sha256_bytes(IMAGE) in str(refusal) and sha256_bytes(b"another image") in str(refusal)
    assert not output.exists()


def test_an_image_named_by_the_environment_is_checked_alike(
    run: RunPaths, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLIPILOT_IMAGE", str(image))
    refusal = _refusal(_reproduce(run.root, "--output", tmp_path / "output"))
    assert refusal.exit_status == 2 and "made without an image" in str(refusal)


class ReachedError(Exception):
    """Where the reproduction would have begun."""


@pytest.mark.parametrize(("network", "seen"), [("none", "namespace"), ("host", "host")])
def test_the_recorded_image_is_what_each_job_runs_in(
    in_image: RunPaths,
    image: Path,
    tmp_path: Path,
    stand_in: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    network: str,
    seen: str,
) -> None:
    measured = f"'mount 1 0 0:1 / / ro - squashfs /dev/loop0 ro' 'network {seen}' measured"
    stand_in("apptainer", f"printf '%s\\n' {measured}")
    begun: list[Any] = []

    def begin(*given: Any) -> None:
        begun.extend(given)
        raise ReachedError

    monkeypatch.setattr("mlipilot.cli.reproduce.run_again", begin)
    output = tmp_path / "output"
    result = _reproduce(in_image.root, "--image", image, "--output", output, "--iteration", "0")
    assert isinstance(result.exception, ReachedError)
    record, seeds, target, _, container = begun
    assert (record.iteration, seeds, target) == (0, [1], output)
    assert (container.image, container.network) == (image, network)


@pytest.mark.parametrize("network", ["", "host"])
def test_a_campaign_that_forbids_jobs_a_network_runs_where_they_have_none_only(
    tmp_path: Path, image: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, network: str
) -> None:
    stand_in("apptainer", "exit 1")
    monkeypatch.setenv("MLIPILOT_IMAGE_SHA256", sha256_bytes(IMAGE))
    jobs = {"backend": "slurm", "require_no_network": True}
    made = SyntheticRun(tmp_path / "strict", make_spec(seeds=[1], jobs=jobs))
    made.propose(0, None, {})
    made.candidate(0, 0.0)
    options = ["--image", str(image)] if network else []
    monkeypatch.setattr("mlipilot.reproduce.reproduction.are_sandboxed", lambda _: False)
    refusal = _refusal(_reproduce(made.run.root, "--output", tmp_path / "output", *options))
    assert refusal.exit_status == 2 and "without a network" in str(refusal)
    assert not (tmp_path / "output").exists()
    if not network:  # the same where local jobs run in sandboxes
        monkeypatch.setattr("mlipilot.reproduce.reproduction.are_sandboxed", lambda _: True)
        (tmp_path / "output").write_text("in the way")
        refusal = _refusal(_reproduce(made.run.root, "--output", tmp_path / "output"))
        assert "not an empty directory" in str(refusal)


def test_a_changed_recipe_is_refused_with_status_1(run: RunPaths, tmp_path: Path) -> None:
    shutil.copyfile(run.recipe / "train.py", run.lineage(0).recipe(1) / "recipe.yaml")
    refusal = _refusal(_reproduce(run.root, "--output", tmp_path / "output"))
    assert refusal.exit_status == 1 and "recipe.yaml" in str(refusal)
    assert not (tmp_path / "output").exists()
