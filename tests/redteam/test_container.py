"""The attacks on a real Slurm, in a real image: each by itself; or every door at once, some of each kind."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mlipilot.paths import JobKey
from tests.end_to_end.cluster import Site, needs_image, needs_slurm
from tests.end_to_end.image.conftest import SMALL
from tests.end_to_end.villain import PILOT
from tests.redteam.attacks import (
    ATTACKS,
    DOORS,
    ENDS,
    HAND_OVERS,
    KILLING,
    LEFT,
    PLANTED,
    SAID,
    TAKEN,
    Attack,
    all_in_one,
    wrong_lines,
)
from tests.redteam.campaign import KEY, attacking, check_verdicts

pytestmark = [pytest.mark.slow, needs_slurm, needs_image]
ALL_THAT_IS_LEFT = Attack("all that is left", "\n".join(attack.code for attack in LEFT), LEFT[0].reason)
SOME = [*HAND_OVERS[1:3], *HAND_OVERS[-5:-1:2], ALL_THAT_IS_LEFT, *SAID[::3]]
TOGETHER = [all_in_one(DOORS), *PLANTED, *KILLING, *SOME, *ENDS, *TAKEN]


@pytest.mark.parametrize(
    "attacks",
    [
        # A start of a container takes seconds, so the doors are tried by one candidate.
        pytest.param(TOGETHER, id="some of each kind"),
        pytest.param(ATTACKS, id="each by itself", marks=pytest.mark.sweep),
    ],
)
def test_each_ends_invalid_with_its_reason_and_harms_nothing(
    attacks: list[Attack], make_site: Callable[..., Site]
) -> None:
    site = make_site(
        pilot=PILOT,
        budget={"iterations": len(attacks), "optimizer_steps": 3},
        jobs=SMALL | {"smoke": False, "train_wall_limit_s": 45},
    )
    with attacking(attacks) as url:
        site.sbatch(OPENAI_BASE_URL=url, OPENAI_API_KEY=KEY)
        site.wait_for_the_end(seconds=60 * len(attacks))
    check_verdicts(site.run, attacks)
    if attacks is TOGETHER:
        log = site.run.lineage().attempt(JobKey(1, 1, "train"), 1) / "stdout.log"
        assert wrong_lines(DOORS, log.read_text()) == []
    assert site.left_running() == []
