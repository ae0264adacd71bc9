"""The data set of the end-to-end tests, and sites that have it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.cluster import Site
from tests.end_to_end.conftest import tiny_data as tiny_data


@pytest.fixture
def make_site(tiny_data: Path, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """A site whose run has its data set already; what Slurm has of it in the end is ended."""
    sites = list[Site]()

    def make(**settings: Any) -> Site:
        sites.append(Site(tmp_path / "site", data=tiny_data, seeds=[1], **settings))
        return sites[-1]

    yield make
    for site in sites:
        site.end_all()
