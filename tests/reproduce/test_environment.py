"""What differs between two environments is listed, and said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlipilot.audit.events.running import CampaignStarted
from mlipilot.audit.files import sha256_file
from mlipilot.audit.protected import package_files
from mlipilot.audit.surroundings import Machine
from mlipilot.paths import RunPaths
from mlipilot.reproduce.environment import Environment, Where, compare_environment
from mlipilot.reproduce.record import read_record
from mlipilot.reproduce.reproduction import environment_lines


def _compare(
    run: RunPaths,
    started: CampaignStarted | None = None,
    toolkit: dict[str, str] | None = None,
    where: Where = "outside of the image",
) -> Environment:
    record = read_record(run, run.lineage(0), 0)
    here = {name: sha256_file(path) for name, path in package_files().items()}
    protected, trained_on = here | (toolkit or {}), [record.trained_on(seed) for seed in (1, 2)]
    return compare_environment(started or record.started, protected, trained_on, where, uses_gpu=False)


@pytest.fixture
def same(run: RunPaths) -> Environment:
    return _compare(run)


def test_here_is_as_here_was(same: Environment) -> None:
    assert same.versions == {} and same.toolkit_files == [] and same.recorded_machines == [same.machine]
    assert list(environment_lines(same)) == []


def test_every_version_that_differs_is_listed(run: RunPaths) -> None:
    record = read_record(run, run.lineage(0), 0)
    changed = {"torch": "1.0", "no-such-package": "3.2", "python": "3.9.1"}
    started = record.started.model_copy(update={"versions": record.started.versions | changed})
    found = _compare(run, started)
    assert list(found.versions) == ["no-such-package", "python", "torch"]
    assert found.versions["no-such-package"] == ["3.2", "not installed"]
    said = "\n".join(environment_lines(found))
    assert "the run had 1.0" in said and "no-such-package is not installed here" in said
    # In containers of the image the host's packages measure nothing.
    assert _compare(run, started, where="containers of the image").versions == {}


def test_the_machines_of_the_trainings_count_not_the_controller_s(same: Environment) -> None:
    epyc, other = str(Machine(processor="EPYC")), str(Machine(processor="EPYC", gpu="NVIDIA H200"))
    said = "\n".join(environment_lines(replace(same, recorded_machines=[epyc, same.machine, other])))
    assert "trained on EPYC and EPYC with NVIDIA H200: the weights of those trainings need not" in said


def test_another_toolkit_is_named(run: RunPaths) -> None:
    found = _compare(run, toolkit={"mlipilot/errors.py": "0" * 64})
    assert found.toolkit_files == ["mlipilot/errors.py"]
    assert "1 of its files differ (mlipilot/errors.py" in "\n".join(environment_lines(found))


def test_a_recorded_image_is_asked_for_unless_it_is_used(same: Environment) -> None:
    outside = "\n".join(environment_lines(replace(same, image_sha256="ab" * 32)))
    assert "not the recorded environment" in outside and "ab" * 32 in outside and "--image" in outside
    (inside,) = environment_lines(replace(same, image_sha256="ab" * 32, where="inside the image"))
    assert "all jobs share this container" in inside
    assert list(environment_lines(replace(same, where="containers of the image"))) == []
