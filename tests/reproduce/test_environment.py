"""What differs between two environments is listed, and said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlipilot.audit.files import sha256_file
from mlipilot.audit.protected import package_files
from mlipilot.campaign.paths import RunPaths
from mlipilot.reproduce.environment import Environment, compare_environment
from mlipilot.reproduce.record import read_record
from mlipilot.reproduce.reproduction import environment_lines


@pytest.fixture
def same(run: RunPaths) -> Environment:
    record = read_record(run, run.lineage(0), 0)
    toolkit = {name: sha256_file(path) for name, path in package_files().items()}
    return compare_environment(record.started, toolkit, inside_image=False)


def test_here_is_as_here_was(same: Environment) -> None:
    assert same.is_the_same and same.versions == {} and same.toolkit_files == []
    (line,) = environment_lines(same)
    assert "local processes" in line


def test_every_version_that_differs_is_listed(run: RunPaths) -> None:
    record = read_record(run, run.lineage(0), 0)
    versions = record.started["versions"] | {"torch": "1.0", "no-such-package": "3.2"}
    started = record.started | {"versions": versions, "python": "3.9.1"}
    found = compare_environment(started, record.protected, inside_image=False)
    assert not found.is_the_same
    assert list(found.versions) == ["no-such-package", "python", "torch"]
    assert found.versions["no-such-package"] == ["3.2", "not installed"]
    said = "\n".join(environment_lines(found))
    assert "the run had 1.0" in said and "no-such-package is not installed here" in said


def test_another_processor_excuses_other_weights(same: Environment) -> None:
    found = replace(same, recorded_machine="a processor of another kind")
    assert not found.is_the_same
    assert "the weights need not be the same bytes" in "\n".join(environment_lines(found))


def test_another_toolkit_is_named_but_excuses_nothing(run: RunPaths) -> None:
    record = read_record(run, run.lineage(0), 0)
    toolkit = {name: sha256_file(path) for name, path in package_files().items()}
    protected = toolkit | {"mlipilot/errors.py": "0" * 64}
    found = compare_environment(record.started, protected, inside_image=False)
    assert found.toolkit_files == ["mlipilot/errors.py"] and found.is_the_same
    assert "1 of its files differ (mlipilot/errors.py" in "\n".join(environment_lines(found))


def test_a_recorded_image_is_asked_for_unless_we_are_in_it(same: Environment) -> None:
    outside = "\n".join(environment_lines(replace(same, image_sha256="ab" * 32)))
    assert "not the recorded environment" in outside and "ab" * 32 in outside and "--image" in outside
    assert list(environment_lines(replace(same, image_sha256="ab" * 32, inside_image=True))) == []
