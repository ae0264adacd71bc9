"""Upper bounds of a campaign, counted from its spec alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlipilot.campaign.spec import load_campaign
from mlipilot.controller.planning import make_plan

CAMPAIGN = Path(__file__).resolve().parents[2] / "campaigns" / "cu_emt.yaml"
MODEL = ["pilot.kind=openai", "pilot.requests_per_turn=10", "pilot.smoke_retries=2"]


@pytest.mark.parametrize(
    ("overrides", "smokes", "requests"),
    [
        (MODEL, 4 * 3, 4 * 4 * 10),  # a turn, two after failed smoke steps, one after an objection
        ([*MODEL, "pilot.reviewer=false"], 4 * 3, 4 * 3 * 10),
        ([*MODEL, "pilot.reviewer=false", "jobs.smoke=false"], 0, 4 * 10),
    ],
)
def test_each_way_back_to_the_pilot_is_counted(overrides: list[str], smokes: int, requests: int) -> None:
    bounds = make_plan(load_campaign(CAMPAIGN, overrides=overrides))["bounds"]
    assert bounds["smoke steps"] == smokes
    assert bounds["requests to the pilot"] == requests
