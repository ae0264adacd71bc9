"""What a search proposes next over a declared space, computed from a lineage's history and nothing else.

A search sees one number a trial, its loss, that is in the scorecard's order:

    passes every gate       ln objective
    fails gates             INFEASIBLE + total gate violation
    failed or was invalid   FAILED

`random` and `tpe` are Optuna's samplers (TPE: Bergstra et al. 2011, one density over all parameters).
`cma-es` is CMA-ES with margin (Hamano et al. 2022) of the package cmaes, which Optuna's sampler calls, too.
Optuna's can only go on from trials that the same sampler asked for; here the distribution is made again from
the history, whoever proposed it. It begins at the middle of the space, as Optuna's does.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlipilot.pilots.pilot_settings import Kind, missing_package
from mlipilot.pilots.space import Parameter, Scalar, Space

INFEASIBLE = 1000.0
"""Added to the total gate violation in ln units; no ln objective comes near it."""
FAILED = 2000.0
"""The loss of a trial without a verdict by its metrics."""
DIGITS = 4
"""Significant digits of a suggested number: what is beyond them only makes a recipe hard to read."""
_MAX_STARTUP = 10  # trials; Optuna's default
_SIGMA = 0.3  # of each range, as Hansen's tutorial (arXiv:1604.00772) has it


@dataclass(frozen=True)
class Trial:
    """What was tried, and its loss."""

    values: dict[str, Scalar]
    loss: float


@dataclass(frozen=True)
class Search:
    """One search of a lineage. The same history gives the same suggestion."""

    kind: Kind
    """`random`, `tpe`, `cma-es`, or `hybrid`, whose numbers are TPE's."""
    space: Space
    seeds: Sequence[int]
    """The lineage's training seeds, from which the draws' own seed is derived."""
    iterations: int
    """How many hypotheses the lineage may make."""
    metrics: Sequence[str]
    """The metrics of the objective."""
    twin: int = 0
    """How many searches of its kind stand before it among the pilots that train with these seeds."""

    @property
    def startup(self) -> int:
        """How many trials TPE waits for: the baseline and a quarter of the budget, at most Optuna's 10.

        Until then it draws what random search would.
        """
        return min(_MAX_STARTUP, 2 + self.iterations // 4)

    def trials(self, history: Sequence[dict[str, Any]]) -> list[Trial]:
        """The trials in a history; entries without a value of the space for every parameter are none."""
        found = [(entry.get("parameters") or {}, entry) for entry in history]
        return [
            Trial({path: values[path] for path in self.space}, loss(entry))
            for values, entry in found
            if all(path in values and parameter.fits(values[path]) for path, parameter in self.space.items())
        ]

    def suggest(self, history: Sequence[dict[str, Any]], attempt: int = 0) -> dict[str, Scalar]:
        """A value for every parameter; `attempt` numbers further suggestions from the same history.

        Raises InputError when the package that this search needs is not installed.
        """
        trials = self.trials(history)
        seed = _seed(self.seeds, len(history), attempt, *[self.twin] * (self.twin > 0))
        if self.kind == "cma-es":
            drawn = _cma_es(self.space, trials, seed)
        else:
            startup = None if self.kind == "random" else self.startup
            drawn = _optuna(self.space, trials, seed, startup)
        return {path: _tidy(parameter, drawn[path]) for path, parameter in self.space.items()}


def loss(entry: dict[str, Any]) -> float:
    """One number for an entry of the history, smaller for what the scorecard prefers."""
    score = entry.get("score") or {}
    violation, log_objective = score.get("violation"), score.get("log_objective")
    if entry.get("verdict") == "invalid" or violation is None:
        return FAILED
    if violation > 0 or log_objective is None:
        return INFEASIBLE + float(violation)
    return min(float(log_objective), INFEASIBLE)


def _seed(seeds: Sequence[int], *numbers: int) -> int:
    text = json.dumps([list(seeds), *numbers])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


def _optuna(space: Space, trials: list[Trial], seed: int, startup: int | None) -> dict[str, Scalar]:
    """What Optuna's TPE sampler suggests after `startup` random trials; its random one without `startup`."""
    try:
        import optuna
    except ImportError:
        raise missing_package("tpe") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = {path: _distribution(optuna.distributions, parameter) for path, parameter in space.items()}
    sampler: optuna.samplers.BaseSampler = (
        optuna.samplers.RandomSampler(seed=seed)
        if startup is None
        else optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, multivariate=True)
    )
    study = optuna.create_study(sampler=sampler, direction="minimize")
    study.add_trials(
        [
            optuna.trial.create_trial(params=dict(trial.values), distributions=made, value=trial.loss)
            for trial in trials
        ]
    )
    return study.ask(made).params


def _distribution(distributions: Any, parameter: Parameter) -> Any:
    if parameter.choices is not None:
        return distributions.CategoricalDistribution(parameter.choices)
    low, high = parameter.bounds
    if parameter.integer:
        return distributions.IntDistribution(int(low), int(high), log=parameter.log)
    return distributions.FloatDistribution(low, high, log=parameter.log)


def _cma_es(space: Space, trials: list[Trial], seed: int) -> dict[str, Scalar]:
    """A draw from the distribution that the full generations among `trials` lead to.

    Each parameter is mapped to [0, 1], choices in their order.
    """
    try:
        import cmaes
        import numpy as np
    except ImportError:
        raise missing_package("cma-es") from None
    points = [[_position(space[path], trial.values[path]) for path in space] for trial in trials]
    optimiser = cmaes.CMAwM(
        mean=np.full(len(space), 0.5),
        sigma=_SIGMA,
        bounds=np.array([[0.0, 1.0]] * len(space)),
        steps=np.array([_step(parameter) for parameter in space.values()]),
        seed=seed,
    )
    size = optimiser.population_size
    for start in range(0, len(points) - size + 1, size):
        generation = zip(points[start : start + size], trials[start : start + size], strict=True)
        optimiser.tell([(np.array(point), trial.loss) for point, trial in generation])
    drawn = optimiser.ask()[0]
    return {path: _at(space[path], float(where)) for path, where in zip(space, drawn, strict=True)}


def _step(parameter: Parameter) -> float:
    """The distance of neighbouring values in [0, 1]; 0 where they lie close together or are not even."""
    if parameter.choices is not None:
        return 1 / (len(parameter.choices) - 1)
    low, high = parameter.bounds
    return 1 / (high - low) if parameter.integer and not parameter.log else 0.0


def _position(parameter: Parameter, value: Scalar) -> float:
    """Where a value that fits lies in [0, 1]."""
    if parameter.choices is not None:
        return parameter.choices.index(value) / (len(parameter.choices) - 1)
    low, high, at = *parameter.bounds, float(value)
    if parameter.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    return (at - low) / (high - low)


def _at(parameter: Parameter, position: float) -> Scalar:
    """The value at a position in [0, 1]."""
    if parameter.choices is not None:
        choice: Scalar = parameter.choices[round(position * (len(parameter.choices) - 1))]
        return choice
    low, high = parameter.bounds
    if parameter.log:
        return math.exp(math.log(low) + (math.log(high) - math.log(low)) * position)
    return low + (high - low) * position


def _tidy(parameter: Parameter, value: Scalar) -> Scalar:
    """A drawn value as it is written into a recipe."""
    if parameter.choices is not None:
        return value
    low, high = parameter.bounds
    if parameter.integer:
        return min(max(round(float(value)), int(low)), int(high))
    return min(max(float(f"{value:.{DIGITS}g}"), low), high)
