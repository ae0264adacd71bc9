"""What is said of a weak isolation: each door once, and nothing of one that holds."""

from __future__ import annotations

from typing import Any

import pytest

from mlipilot.audit.surroundings import Isolation
from mlipilot.controller.isolation_words import LOCAL, doors_of, open_doors
from tests.events import records

WHOLE = Isolation(
    backend="slurm", filesystem="container", network="none", network_by="namespace", measured=True
)


def test_of_an_isolation_that_holds_nothing_is_said() -> None:
    assert list(open_doors(WHOLE)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"network": "host"}, "the host's network is open"),
        ({"measured": False}, "not measured"),
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
