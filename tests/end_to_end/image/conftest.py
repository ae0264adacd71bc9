"""What the tests in a real image share: a campaign that has run there, and runs that take its data set."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.cluster import Site, needs_image, needs_slurm
from tests.end_to_end.conftest import mlipilot

MARKS = [pytest.mark.slow, needs_slurm, needs_image]
# One worker carries the campaign of two lineages, for all that look at it.
OF_TWO_LINEAGES = pytest.mark.xdist_group("two lineages")
SMALL: dict[str, Any] = {
    "max_in_flight": 2,
    "require_no_network": True,
    "resources": {"memory_mib": 1500},
}
MakeSite = Callable[..., Site]


@pytest.fixture(scope="session")
def login(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where somebody on the login node stands: nowhere near the run."""
    return tmp_path_factory.mktemp("login")


@pytest.fixture(scope="session")
def two_lineages(tmp_path_factory: pytest.TempPathFactory, login: Path) -> Iterator[Site]:
    """A campaign that has run to its end, though one controller was told of its time limit in the middle."""
    site = Site(
        tmp_path_factory.mktemp("two") / "site",
        lineages=2,
        seeds=[1],
        budget={"iterations": 1, "optimizer_steps": 8},
        jobs=SMALL,
    )
    try:
        job = site.sbatch()
        training = "lineage-*/iterations/0000/seed-*/train/attempt-1/stdout.log"
        site.wait_until(lambda: len(list(site.run.root.glob(training))) == 2)
        found = json.loads(mlipilot("status", site.run.root, "--json", cwd=login).stdout)
        assert [lineage["phase"] for lineage in found["lineages"]] == ["running", "running"]
        subprocess.run(["scancel", "--batch", "--signal=USR2", f"{job}_1"], check=True)
        site.wait_for_the_end()
        yield site
    finally:
        site.end_all()


@pytest.fixture
def make_site(tiny_data: Path, tmp_path: Path) -> Iterator[MakeSite]:
    """A site whose run has its data set already; what Slurm has of it in the end is ended."""
    sites = []

    def make(data: Path | None = tiny_data, **settings: Any) -> Site:
        sites.append(Site(tmp_path / "site", data=data, seeds=[1], **settings))
        return sites[-1]

    yield make
    for site in sites:
        site.end_all()
