"""The accept rule, term by term: what one term gives to a gain, and what is said where it alone gains."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from mlipilot.controller.accept import judge
from mlipilot.evaluation.metrics_file import MetricsFile
from mlipilot.evaluation.scorecard import AcceptRule, Score, Scorecard, load_scorecard, score
from tests.controller.test_accept import RULE, score_of

QM7 = Path(__file__).parents[2] / "scorecards" / "qm7_b3lyp.yaml"
CAPPED = AcceptRule(confidence=0.95, min_gain=0.02, max_term_gain=0.5)


def _terms(*seeds: dict[str, float]) -> list[Score]:
    return [score_of(log_objective=sum(one.values())).model_copy(update={"terms": one}) for one in seeds]


def _two(energy: float, force: float, rmsd: float = 0.0) -> dict[str, float]:
    return {"energy": energy, "force": force, "rmsd": rmsd}


def test_no_term_gives_more_to_a_gain_than_the_cap() -> None:
    old = _terms(_two(0.0, 0.0), _two(0.0, 0.0))
    found = judge(CAPPED, old, _terms(_two(-4.0, -0.2), _two(-6.0, -0.2)))
    # 5 of the energies, of which 0.5 count, and 0.2 of the forces; s² = 2/2 of both groups
    assert found.gain == pytest.approx(0.7)
    assert found.verdict == "reverted" and found.threshold == pytest.approx(2.919986, rel=1e-6)
    assert found.reason.endswith(
        "(noise s = 1.000 over 2 degrees of freedom); energy gives +5.000, of which 0.5 counts"
    )
    both = judge(CAPPED, old, _terms(_two(-5.0, -3.0), _two(-5.0, -3.0)))
    assert both.gain == pytest.approx(1.0)
    assert both.reason.endswith(
        "; energy gives +5.000, of which 0.5 counts; force gives +3.000, of which 0.5 counts"
    )


def test_what_a_term_loses_counts_in_full() -> None:
    found = judge(CAPPED, _terms(_two(0.0, 0.0)), _terms(_two(-9.0, 0.6)))
    assert found.gain == pytest.approx(-0.1) and found.verdict == "reverted"


def test_a_gain_up_to_the_cap_counts_in_full() -> None:
    found = judge(CAPPED, _terms(_two(0.0, 0.0)), _terms(_two(-0.5, 0.0)))
    assert found.gain == pytest.approx(0.5) and found.verdict == "accepted"
    assert found.reason.endswith("(one seed: the noise is not known)")


def test_a_rule_of_before_counts_all_and_says_what_it_said() -> None:
    old, new = _terms(_two(0.0, 0.0)), _terms(_two(-9.0, 0.6))
    found = judge(RULE, old, new)
    assert found.gain == pytest.approx(8.4) and found.reason.endswith("(one seed: the noise is not known)")


ALONE = (
    "; the gain is of {} alone, and {} worsened beyond the noise: "
    "it is not confirmed by other seeds and starts"
)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ([_two(0, 0)], [_two(-0.4, 0.1)], ALONE.format("energy", "force")),
        ([_two(0, 0)], [_two(-0.4, 0.1, 0.1)], ALONE.format("energy", "force, rmsd")),
        ([_two(0, 0)], [_two(0.1, 0.1, -0.4)], ALONE.format("rmsd", "energy, force")),
        ([_two(0, 0)], [_two(-0.4, 0.1, -0.1)], ""),  # two gain
        ([_two(0, 0)], [_two(-0.4, 0.0)], ""),  # nothing worsens
        ([_two(0, 0)], [_two(-0.4, 0.0201)], ""),  # by less than the least gain, -ln 0.98 = 0.0202
        ([_two(0, 0)], [_two(-0.4, 0.0203)], ALONE.format("energy", "force")),
        ([_two(0, 0)], [_two(-0.4, 0.1, -0.0201)], ALONE.format("energy", "force")),
        ([_two(0, 0)], [_two(-0.4, 0.1, -0.0203)], ""),
        # s² = 0.02/2 for the forces: 2.919986·0.1 = 0.292 is their noise, not 0.02
        ([_two(0, 0), _two(0, 0.0)], [_two(-0.4, 0.19), _two(-0.4, 0.39)], ""),
        ([_two(0, 0), _two(0, 0.0)], [_two(-0.4, 0.2), _two(-0.4, 0.4)], ALONE.format("energy", "force")),
        # s² = 2e-6/2: 2.919986·0.001 = 0.003 is less than the least gain, which is what counts then
        ([_two(0, 0), _two(0, 0.0)], [_two(-0.4, 0.019), _two(-0.4, 0.021)], ""),
        ([_two(0, 0), _two(0, 0.0)], [_two(-0.4, 0.020), _two(-0.4, 0.022)], ALONE.format("energy", "force")),
        (
            [_two(0, 0), _two(0, 0)],
            [_two(-0.4, 0.1, -0.019), _two(-0.4, 0.1, -0.021)],
            ALONE.format("energy", "force"),
        ),
    ],
)
def test_a_gain_of_one_term_while_others_worsen_is_told_so(
    old: list[dict[str, float]], new: list[dict[str, float]], said: str
) -> None:
    reason = judge(CAPPED, _terms(*old), _terms(*new)).reason
    assert reason.partition(")")[2] == said


def test_what_is_no_more_than_the_noise_neither_gains_nor_worsens() -> None:
    rule = CAPPED.model_copy(update={"min_gain": 0.5, "max_term_gain": 3.0})
    ln2 = -math.log1p(-0.5)
    for energy, force, said in [
        (-2.0, ln2, ""),
        (-2.0, ln2 + 1e-9, ALONE.format("energy", "force")),
        (-ln2, 1.0, ""),
        (-ln2 - 1e-9, 1.0, ALONE.format("energy", "force")),
    ]:
        found = judge(rule, _terms(_two(0, 0)), _terms(_two(energy, force)))
        assert found.reason.partition(")")[2] == said


def test_terms_are_of_the_objective_and_not_of_the_violation() -> None:
    old, new = (
        [one.model_copy(update={"feasible": False}) for one in _terms(terms)]
        for terms in (_two(0, 0), _two(-9, 1))
    )
    found = judge(CAPPED, [old[0].model_copy(update={"violation": 2.0})], new)
    assert found.gain == pytest.approx(2.0) and found.reason.endswith("(one seed: the noise is not known)")


def _measured(card: Scorecard, *values: float) -> list[Score]:
    """What the card says of a model that passes every gate by a hair, with these values of its terms."""
    gates = {gate.metric: gate.max or gate.min for gate in card.gates}
    terms = dict(zip((term.metric for term in card.objective.terms), values, strict=True))
    entries = {name: {"value": value, "status": "ok"} for name, value in (gates | terms).items()}
    return [score(card, MetricsFile.model_validate({"metrics": entries}))]


def test_forces_silenced_where_molecules_relax_gain_the_cap_at_most_and_are_told_so() -> None:
    """Energies and forces as somebody had them who did that; the distance went from 0.04 Å to nothing."""
    card = load_scorecard(QM7)
    energy, *_, distance = (term.metric for term in card.objective.terms)
    old, new = (
        _measured(card, 6.01, 154.0, 600.0, 77.0, 0.04),
        _measured(card, 6.49, 157.0, 600.0, 77.0, 1e-16),
    )
    found = judge(card.accept, old, new)
    assert found.gain is not None and card.accept.max_term_gain is not None
    assert found.gain < card.accept.max_term_gain
    assert ALONE.format(distance, energy) in found.reason
    unbounded = [term.model_copy(update={"floor": None}) for term in card.objective.terms]
    bare = card.model_copy(update={"objective": card.objective.model_copy(update={"terms": unbounded})})
    old, none = (
        _measured(bare, 6.01, 154.0, 600.0, 77.0, 0.04),
        _measured(bare, 6.49, 157.0, 600.0, 77.0, 1e-16),
    )
    capped = judge(card.accept, old, none)
    assert capped.gain is not None and capped.gain < card.accept.max_term_gain
    assert f"{distance} gives +4.803, of which 0.5 counts" in capped.reason  # ln(0.04 / 1e-16) / 7
    # a model that is a third better in energies and forces takes the place again, at 0.02 Å
    assert judge(card.accept, new, _measured(card, 4.0, 100.0, 600.0, 60.0, 0.02)).verdict == "accepted"
    assert judge(card.accept, none, _measured(bare, 4.0, 100.0, 600.0, 60.0, 0.02)).verdict == "reverted"
