"""Every attack on a real Slurm, in a real image."""

from __future__ import annotations

from tests.end_to_end.image.conftest import MARKS, SMALL, MakeSite
from tests.end_to_end.villain import PILOT
from tests.redteam.attacks import ATTACKS
from tests.redteam.campaign import KEY, attacking, check_verdicts

pytestmark = MARKS


def test_each_ends_invalid_with_its_reason_and_harms_nothing(make_site: MakeSite) -> None:
    site = make_site(
        pilot=PILOT,
        budget={"iterations": len(ATTACKS), "optimizer_steps": 3},
        jobs=SMALL | {"smoke": False, "train_wall_limit_s": 60},
    )
    with attacking(ATTACKS) as url:
        site.sbatch(OPENAI_BASE_URL=url, OPENAI_API_KEY=KEY)
        site.wait_for_the_end(seconds=1200)
    check_verdicts(site.run, ATTACKS)
    assert site.left_running() == []
