"""What tests need not wait for: no answer of theirs depends on it, and it took a third of their time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

import pytest

from mlipilot.audit import protected


@pytest.fixture(scope="session", autouse=True)
def toolkit_is_listed_once() -> Iterator[None]:
    """Every run keeps the digests of the toolkit's files; nobody adds one to it while tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protected, "package_files", cache(protected.package_files))
        yield


@pytest.fixture(scope="module", autouse=True)
def disks_are_not_waited_for(request: pytest.FixtureRequest) -> Iterator[None]:
    """Nobody cuts their power. `tests/audit`, which has the order of what reaches the disk, waits for it."""
    if request.node.nodeid.startswith("tests/audit/"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
