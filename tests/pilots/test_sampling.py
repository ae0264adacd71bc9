"""Searches by law: they stay in the space, repeat themselves, and come nearer to an optimum than chance."""

from __future__ import annotations

import math
import sys
from statistics import median
from typing import Any

import pytest

from mlipilot.errors import InputError
from mlipilot.pilots.pilot_settings import Kind
from mlipilot.pilots.sampling import FAILED, INFEASIBLE, Search, loss
from mlipilot.pilots.space import Parameter, Scalar, Space

Judged = tuple[str, float | None, float | None]
KINDS: tuple[Kind, ...] = ("random", "tpe", "cma-es")
SPACE: Space = {
    "rate": Parameter(low=1e-3, high=1e-1, log=True),
    "clip": Parameter(low=0, high=1),
    "batch": Parameter(low=1, high=8, integer=True),
    "width": Parameter(low=1, high=64, integer=True, log=True),
    "kind": Parameter(choices=["constant", "cosine", "one_cycle"]),
}
BASELINE: dict[str, Scalar] = {"rate": 0.1, "clip": 1.0, "batch": 1, "width": 1, "kind": "constant"}


REST = 0.18 + 0.3 + 0.3
"""How far the parameters of the baseline that a search over two leaves alone are from the optimum."""
_COMPARED: tuple[Kind, Kind] = ("random", "tpe")


def search(kind: Kind, seed: int = 1, **changes: Any) -> Search:
    given: dict[str, Any] = {"space": SPACE, "seeds": [seed], "iterations": 8, "metrics": ["stress_mae_gpa"]}
    return Search(kind, **given | changes)


def distance(values: dict[str, Scalar]) -> float:
    """A quadratic bowl around rate 0.01, clip 0.3, batch 4, width 8, cosine."""
    rate, width = float(values["rate"]), float(values["width"])
    return (
        (math.log10(rate) + 2) ** 2
        + (float(values["clip"]) - 0.3) ** 2
        + (float(values["batch"]) - 4) ** 2 / 50
        + (math.log2(width) - 3) ** 2 / 30
        + (values["kind"] != "cosine") * 0.3
    )


def entry(values: dict[str, Scalar], **changes: Any) -> dict[str, Any]:
    score = {"violation": distance(values), "log_objective": None}
    judged = {"verdict": "reverted", "score": score}
    return {"iteration": 0, "parameters": values} | judged | changes


def played(kind: Kind, seed: int, trials: int, space: Space = SPACE) -> list[dict[str, Any]]:
    history = [entry(BASELINE)]
    for _ in range(trials):
        history.append(entry(BASELINE | search(kind, seed, space=space).suggest(history)))
    return history


def distances(kind: Kind, seed: int, trials: int) -> list[float]:
    """How near each trial of a search over two parameters came."""
    history = played(kind, seed, trials, {path: SPACE[path] for path in ("rate", "clip")})
    return [float(one["score"]["violation"]) for one in history[1:]]


def test_tpe_comes_nearer_than_random_search_in_the_median_over_seeds() -> None:
    dice, tpe = (median(min(distances(kind, seed, 16)) for seed in range(5)) for kind in _COMPARED)
    assert tpe - REST < 0.7 * (dice - REST)


def test_the_sixth_generation_of_cma_es_is_nearer_than_its_first() -> None:
    found = distances("cma-es", 1, 36)  # six each
    assert median(found[-6:]) - REST < 0.5 * (median(found[:6]) - REST)


@pytest.mark.parametrize("kind", KINDS)
def test_every_suggestion_lies_in_the_space_and_is_readable(kind: Kind) -> None:
    history = played("random", 4, 12)
    for values in (search(kind).suggest(history[:n], n % 3) for n in range(13)):
        assert list(values) == list(SPACE)
        assert all(parameter.fits(values[path]) for path, parameter in SPACE.items()), values
        assert float(f"{values['rate']:.4g}") == values["rate"]


@pytest.mark.parametrize("kind", KINDS)
def test_one_history_gives_one_suggestion_and_another_seed_or_attempt_another(kind: Kind) -> None:
    history = played("random", 5, 11)
    first = search(kind).suggest(history)
    assert search(kind).suggest(list(history)) == first
    others = [search(kind, seed=2).suggest(history), search(kind).suggest(history, 1)]
    others.append(search(kind).suggest(history[:-1]))
    others += [search(kind, twin=twin).suggest(history) for twin in (1, 2)]
    assert first not in others and others[-1] != others[-2]


def test_a_logarithmic_range_is_searched_by_its_logarithm() -> None:
    space = {"rate": Parameter(low=1e-6, high=1.0, log=True)}
    drawn = [float(search("random", space=space).suggest([], n)["rate"]) for n in range(60)]
    assert 1e-4 < median(drawn) < 1e-2  # the middle is 1e-3; of an even draw it would be 0.5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "parameter",
    [
        Parameter(choices=[True, False]),
        Parameter(low=1, high=2, integer=True),
        Parameter(low=1e-9, high=1.0, log=True),
    ],
)
def test_a_space_of_one_parameter_and_trials_all_alike_are_searched(kind: Kind, parameter: Parameter) -> None:
    value = parameter.choices[0] if parameter.choices else int(parameter.high or 0)
    history = [entry(BASELINE | {"x": value}, score={}) for _ in range(40)]
    assert parameter.fits(search(kind, space={"x": parameter}).suggest(history)["x"])


def test_until_it_has_its_trials_tpe_draws_what_random_search_draws() -> None:
    history = played("random", 6, 6)
    tpe, dice = search("tpe", iterations=12), search("random")
    assert tpe.startup == 5
    assert [tpe.suggest(history[:n]) == dice.suggest(history[:n]) for n in (1, 4, 5, 7)] == [
        *(True, True),
        *(False, False),
    ]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (("reverted", 0.0, 3.0), ("reverted", 0.01, -3.0)),
        (("accepted", 0.0, -0.2), ("accepted", 0.0, 0.1)),
        (("reverted", 0.0, 5.0), ("reverted", 0.0, None)),
        (("reverted", 1.0, None), ("accepted", 2.0, -5.0)),
        (("reverted", 60.0, 0.0), ("invalid", None, None)),
        (("reverted", 60.0, 0.0), ("invalid", 0.0, 0.0)),
    ],
)
def test_the_loss_has_the_scorecards_order(better: Judged, worse: Judged) -> None:
    losses = [
        loss({"verdict": verdict, "score": {"violation": violation, "log_objective": log_objective}})
        for verdict, violation, log_objective in (better, worse)
    ]
    assert losses[0] < losses[1] <= FAILED


def test_an_invalid_iteration_is_a_bad_trial_and_one_outside_the_space_is_none() -> None:
    history = [
        entry(BASELINE),
        entry(BASELINE, verdict="invalid", score={"violation": None}),
        entry({**BASELINE, "clip": 7.0}),
        {"iteration": 3, "verdict": "invalid", "parameters": {}},
        {"iteration": 4, "verdict": "invalid"},
    ]
    assert [trial.loss for trial in search("tpe").trials(history)] == [
        INFEASIBLE + distance(BASELINE),
        FAILED,
    ]


@pytest.mark.parametrize(("kind", "package"), [("tpe", "optuna"), ("random", "optuna"), ("cma-es", "cmaes")])
def test_a_missing_package_is_named_with_the_extra(
    monkeypatch: pytest.MonkeyPatch, kind: Kind, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"{package}, which is not installed\n  mend: .*mlipilot\[hpo\]"):
        search(kind).suggest([])
