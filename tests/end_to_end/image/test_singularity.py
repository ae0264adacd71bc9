"""A host whose program is called `singularity`, as SingularityCE is: here a link to Apptainer."""

from __future__ import annotations

from collections.abc import Callable

from mlipilot.jobs.job_files import read_result
from tests.end_to_end.image.conftest import MARKS, SMALL, MakeSite
from tests.end_to_end.slurm_runs import state_of

pytestmark = MARKS


def test_a_campaign_where_only_singularity_is_on_the_path(
    make_site: MakeSite, path_without: Callable[..., str]
) -> None:
    site = make_site(budget={"iterations": 0, "optimizer_steps": 8}, jobs=SMALL)
    path = path_without("apptainer")
    site.sbatch(PATH=path, MLIPILOT_SBATCH_EXTRA=f"--export=PATH={path}")
    site.wait_for_the_end()
    state = state_of(site.run)
    assert state.finished, site.said()
    for key in state.jobs:
        attempt = site.run.lineage(0).attempt(key, 1)
        isolation = read_result(attempt).isolation
        assert isolation.filesystem == "container" and isolation.network == "none"
        assert isolation.measured and isolation.leaks == []
        argv = (attempt / "container.none").read_text().splitlines()
        assert argv[argv.index("--silent") - 1] == "singularity"
