"""What is said of a weak isolation: each door once, and nothing of one that holds."""

from __future__ import annotations

from typing import Any

import pytest

from mlipilot.audit.surroundings import Isolation
from mlipilot.controller.isolation_words import LOCAL, SANDBOX, doors_of, of_local_jobs, open_doors
from mlipilot.jobs.job_settings import JobSettings
from tests.events import records

WHOLE = Isolation(
    backend="slurm", filesystem="container", network="none", network_by="namespace", measured=True
)


@pytest.mark.parametrize("kind", [{}, {"backend": "local", "filesystem": "sandbox"}])
def test_of_an_isolation_that_holds_nothing_is_said(kind: dict[str, Any]) -> None:
    assert list(open_doors(WHOLE.model_copy(update=kind))) == []


@pytest.mark.parametrize(
    ("settings", "why", "said"),
    [
        ({}, None, SANDBOX),
        ({}, "there is none", f"warning: {LOCAL} (there is none)"),
        ({"isolation": "none"}, None, f"warning: {LOCAL} (jobs.isolation is none)"),
    ],
)
def test_a_run_begins_by_saying_what_keeps_its_jobs_apart(
    settings: dict[str, Any], why: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlipilot.jobs.sandbox.why_no_sandbox", lambda: why)
    monkeypatch.setattr("mlipilot.controller.isolation_words.why_no_sandbox", lambda: why)
    assert of_local_jobs(JobSettings.model_validate(settings)) == said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"network": "host"}, "the host's network is open"),
        ({"measured": False}, "not measured"),
        ({"filesystem": "sandbox", "measured": False}, "sandboxes keep apart was not measured"),
        ({"mounts": ["/srv/secret (ext4 /dev/sda, writable)"]}, "/srv/secret (ext4"),
        ({"variables": ["TOKEN"]}, "TOKEN"),
        ({"filesystem": "host"}, "without a container"),
        ({"filesystem": "host", "backend": "local"}, LOCAL),
    ],
)
def test_each_door_that_is_open_is_told(change: dict[str, Any], said: str) -> None:
    (door,) = open_doors(WHOLE.model_copy(update=change))
    assert said in door


def test_results_of_older_versions_are_said_not_to_be_measured() -> None:
    old = {"backend": "slurm", "filesystem": "container", "network": "none", "environment": "scrubbed"}
    (door,) = open_doors(Isolation.model_validate(old))
    assert "not measured" in door


def test_a_door_is_told_once_for_all_jobs() -> None:
    open_network = WHOLE.model_copy(update={"network": "host"})
    ended = [{"isolation": kind} for kind in (open_network, WHOLE, open_network)] + [{"outcome": "lost"}]
    assert len(doors_of(records([("job_finished", said) for said in ended]))) == 1
