"""A run that Slurm made in an image, reproduced from nothing but the image and a copy of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from mlipilot.jobs.job_files import read_result
from tests.end_to_end.cluster import IMAGE, Site
from tests.end_to_end.conftest import mlipilot
from tests.end_to_end.image.conftest import MARKS, OF_TWO_LINEAGES
from tests.end_to_end.reproductions import check_outcome, digests

pytestmark = [*MARKS, OF_TWO_LINEAGES]


def test_nothing_but_the_image_and_a_copy_of_the_run(two_lineages: Site, tmp_path: Path) -> None:
    assert IMAGE is not None
    image = shutil.copyfile(IMAGE, tmp_path / "mlipilot.sif")
    made = two_lineages.run.root
    copy = Path(shutil.copytree(made, tmp_path / "tiny", symlinks=True))
    before = digests(copy)
    away = made.rename(made.with_name("away"))  # what the copy does not hold is not to be had
    try:
        done = mlipilot(
            "reproduce", "tiny", "--iteration", "0", "--image", image.name, "--json", cwd=tmp_path
        )
    finally:
        away.rename(made)
    outcome = json.loads(done.stdout)
    check_outcome(outcome)
    environment = outcome["environment"]
    assert environment["where"] == "containers of the image" and environment["toolkit_files"] == []
    attempts = [*(tmp_path / "reproduction-tiny-0000").glob("lineage-0/iterations/0000/seed-1/*/attempt-1")]
    assert len(attempts) == 2
    for attempt in attempts:
        isolation = read_result(attempt).isolation
        assert (isolation.filesystem, isolation.network) == ("container", "none")
    assert digests(copy) == before
