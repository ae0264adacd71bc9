from pathlib import Path

import pytest
from pydantic import ValidationError

from mlipilot.evaluation.catalog import CATALOG
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.scorecard import load_scorecard

COPPER = Path(__file__).parents[2] / "scorecards" / "cu_emt.yaml"


@pytest.mark.parametrize(
    "wrong",
    [
        {"nvee": {}},
        {"nve": {"durationps": 1}},
        {"nve": {"timestep_fs": -1}},
        {"nve": {"temperatures_k": []}},
        {"nvt": {"friction_per_ps": 0}},
        {"hot_forces": {"temperature_k": 5001}},
        {"system": "molecules", "stability": {"temperature_k": 5001}},
        {"system": "molecules", "stability": {"friction_per_ps": -1}},
        {"system": "structures", "frame_nvt": {"duration_ps": 0}},
        {"system": "structures", "frame_nve": {"timestep_fs": 11}},
        {"elasticity": {"shear_strains": [0.2]}},
        {"crystal": {"structure": "hcp"}},
    ],
)
def test_unknown_keys_and_wrong_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EvaluationSettings.model_validate(wrong)


def test_the_copper_scorecard_is_valid_in_both_profiles_and_says_why_it_gates() -> None:
    card = load_scorecard(COPPER)
    smoke, full = card.settings_for("smoke"), card.settings_for("full")
    assert full.nve.duration_ps > smoke.nve.duration_ps
    assert full.crystal == smoke.crystal
    assert all(gate.why for gate in card.gates)


def test_gates_ask_for_less_where_less_is_better_and_more_where_more_is() -> None:
    for gate in load_scorecard(COPPER).gates:
        assert CATALOG[gate.metric].better == ("lower" if gate.max is not None else "higher"), gate.metric
