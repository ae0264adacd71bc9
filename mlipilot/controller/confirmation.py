"""The confirmation: what the search kept is trained again with fresh seeds, and only these have a say.

A search that accepts the best of many candidates also chooses their luck: its gains are too large, and some
are nothing else. So at its end the baseline and each kept step are trained once more, with k seeds that
nobody could see before. Models are compared on the same seeds, by Student's one-sided paired test:

    p = P(T > d̄ / (s_d / √k)),  d_i the gain with seed i, T of k − 1 degrees of freedom.

First the whole: the last kept step against the baseline, at alpha. Where it holds, its model stands. Only
then the A steps are tested, each against the one before, by Holm's step-down procedure (S. Holm,
Scandinavian Journal of Statistics 6 (1979) 65): the r-th smallest p must be below alpha / (A + 1 − r), and
so must those before it. As the steps are asked only after the whole has held (serial gatekeeping:
P. H. Westfall and A. Krishen, Journal of Statistical Planning and Inference 99 (2001) 25), any false word
among all of them has at most the chance alpha, where noise is normal. The seeds that chose a step are in
none of these figures.

Where a campaign plans for it (`confirm.most_seeds`), there are two looks: with k seeds at
alpha · (k / K)², and with K seeds at the rest of alpha, where the first has left something near. What the
first look has said stays said, and no chance is spent twice: false words have at most the sum of both parts
(Bonferroni). To divide alpha by the share of the data that a look has is the idea of K. K. G. Lan and
D. L. DeMets, Biometrika 70 (1983) 659. It holds for looks that were planned; nobody asks twice.

A step that is not confirmed by itself stays in the model that stands: few seeds show the whole long
before each part, and to take true steps away costs more than to carry idle ones (docs/scorecard.md).

A gain is of the objective where every fresh seed of both passes every gate, else of the gates' violation,
both in ln units: passing all gates where the one before did not is a gain like any other here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from mlipilot.audit.events.concluding import Confirmed, ConfirmedStep, LabelControl
from mlipilot.audit.files import sha256_bytes
from mlipilot.campaign.extent import Confirmation
from mlipilot.campaign.spec import CampaignSpec
from mlipilot.controller.accept import feasible, mean, pooled_noise
from mlipilot.controller.state import State
from mlipilot.evaluation.scorecard import Score
from mlipilot.paths import PERMUTED, JobKey, JobKind

MOST_WITHOUT = 0.5
"""Which part of the forces' variance that a model explains it may explain without its labels."""
_SPENT_LATE = 2
"""The power of the share of seeds that the first look has, by which alpha is divided."""
_LAST_DIGITS = 1e-9
LABELS_SHOW = 0.1
"""How much of the true forces' variance permuted ones may explain: few structures have few places."""
_NEAR = 0.2
"""A p below which more seeds may still confirm: to stop at a larger one costs no chance of a false word."""
_SURE = 0.95
"""With which probability a model passes at least as often as is told."""
_SEEDS_BELOW = 10**9  # fit into 32 bits, which NumPy's and torch's generators take


def kept_steps(state: State) -> list[int]:
    """The baseline and each step that the search kept, in order."""
    return [i.number for i in state.iterations if i.verdict is not None and i.verdict.verdict == "accepted"]


def asked_for(state: State, spec: CampaignSpec) -> Confirmation | None:
    """What confirmation the lineage is to have: the campaign's, else what a person has asked for since."""
    if state.asked is None:
        return spec.confirm
    return Confirmation(**state.asked.model_dump())


def why_not_to_be_asked(state: State) -> str | None:
    """Why nobody can ask for a confirmation now, or None.

    Not for a second one: who asks until it holds would be told what chance says in the end.
    """
    if state.confirmed is not None:
        return f"the lineage is confirmed already, with {len(state.confirmed.seeds)} fresh seeds"
    if state.finished is None:
        return "the lineage is not over, and may be about to confirm what it kept: resume it first"
    if len(kept_steps(state)) < 2:
        return "the lineage has kept no step: there is nothing to confirm"
    return None


def fresh_seeds(state: State, taken: Sequence[int], count: int) -> list[int]:
    """The seeds of the confirmation, of all verdicts of the search; none is of `taken`, what that had."""
    judged = ":".join(i.verdict.verdict_sha256 for i in state.iterations if i.verdict is not None)
    seeds: list[int] = []
    counter = 0
    while len(seeds) < count:
        seed = int(sha256_bytes(f"{judged}:{counter}".encode())[:12], 16) % _SEEDS_BELOW
        if seed not in (*taken, *seeds):
            seeds.append(seed)
        counter += 1
    return seeds


def control_of(kept: Sequence[int], seeds: Sequence[int], kind: JobKind) -> JobKey:
    """The job of the last kept step's training on permuted labels."""
    return JobKey(kept[-1], seeds[0], kind, fresh=True, variant=PERMUTED)


def knows_without_labels(control: LabelControl) -> str | None:
    """Why what a candidate knows did not come from its data, or None.

    Of the forces' variance, 1 − Σ|F_model − F|² / Σ|F|², a model that has learnt from permuted labels
    explains nothing, but for what its form alone knows (a repulsion that is put in by hand, say): at most
    `MOST_WITHOUT` of what it explains with true labels and the same seed.
    """
    if control.fault is not None:
        return f"it could not be trained on permuted labels: {control.fault}"
    if control.labels_explain > LABELS_SHOW or control.of_true is None or control.of_true <= 0.0:
        return None  # the labels are hardly permuted, or it says nothing of the true ones anyhow
    if control.explained is None:
        return "trained on permuted labels it is a model whose forces cannot be measured"
    if control.explained <= MOST_WITHOUT * control.of_true:
        return None
    return (
        f"trained on permuted labels it explains {control.explained:.2f} of the true forces' variance, with "
        f"true labels {control.of_true:.2f}: what it knows did not come from its data"
    )


def paired_p(gains: Sequence[float]) -> float:
    """The one-sided p of gains that are paired by seed: the chance of such a mean where there is no gain.

    Where nothing scatters Student's test would tell 0. That is what a measure with a largest value gives, if
    every seed of one model has that and none of the other. Of two models of one law, each of whose seeds has
    it with the chance q, this happens in (q (1 − q))^k ≤ 4^−k, which is told instead.
    """
    from scipy.special import stdtr  # here, because it would make every command a third slower to start

    found = mean(gains)
    if not scatter(gains):
        return 4.0 ** -len(gains) if found > 0.0 else 1.0
    sd = pooled_noise([gains]).sd
    return float(stdtr(len(gains) - 1, -found / (sd / math.sqrt(len(gains)))))


def scatter(values: Sequence[float]) -> bool:
    """Whether values differ by more than their last digits, which sums and logarithms leave."""
    return max(values) - min(values) > _LAST_DIGITS * max(map(abs, values))


def holm_levels(ps: Sequence[float], alpha: float) -> list[float]:
    """What each p must be below, in the order of `ps`: 0 where a smaller one was not below its own."""
    levels, is_open = [0.0] * len(ps), True
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        if is_open:
            levels[index] = alpha / (len(ps) - rank)
            is_open = ps[index] < levels[index]
    return levels


def at_least(passed: int, of: int) -> float:
    """The pass rate that a model has at least, by `passed` seeds of `of`, with 95 % confidence.

    The lower bound of C. J. Clopper and E. S. Pearson, Biometrika 26 (1934) 404, one-sided.
    """
    from scipy.special import betaincinv  # as above

    return 0.0 if passed == 0 else float(betaincinv(passed, of - passed + 1, 1.0 - _SURE))


class Look(NamedTuple):
    """One of the looks that are planned for a confirmation."""

    seeds: int
    alpha: float
    """The chance of a false word that is spent on it."""
    more: int | None = None
    """With how many seeds another may follow."""


def looks(asked: Confirmation) -> list[Look]:
    """The looks of a confirmation, in order."""
    if asked.most_seeds is None:
        return [Look(asked.seeds, asked.alpha)]
    first = asked.alpha * (asked.seeds / asked.most_seeds) ** _SPENT_LATE
    return [Look(asked.seeds, first, asked.most_seeds), Look(asked.most_seeds, asked.alpha - first)]


def look_of(state: State, asked: Confirmation) -> Look:
    """The look that is due, or was the last."""
    return looks(asked)[0 if first_look(state) is None else -1]


def first_look(state: State) -> Confirmed | None:
    """What the first of two looks said, where the second is due."""
    found = state.confirmed
    return found if found is not None and found.goes_on_to is not None else None


def confirm(
    kept: Sequence[int],
    seeds: Sequence[int],
    scores: Sequence[Sequence[Score]],
    faults: Sequence[str | None],
    alpha: float,
    control: LabelControl | None = None,
    look: Look | None = None,
    first: Confirmed | None = None,
) -> Confirmed:
    """What the fresh seeds say of the baseline and each kept step.

    `scores`: of each of `kept`, one a seed in the order of `seeds`, the worst where nothing could be
    measured. `faults`: why the seeds of a step say nothing, or None. `control`: of the last step.
    `look`: which of several this is, `first`: what an earlier one has said.
    """
    if control is not None:
        faults = [*faults[:-1], faults[-1] or knows_without_labels(control)]
    look = look or Look(len(seeds), alpha)
    last = len(kept) - 1
    compared = [compare(i, i + 1, scores, faults) for i in range(last)]
    passed = [sum(score.feasible for score in each) for each in scores]

    def told(found: Comparison, level: float, is_said: bool) -> ConfirmedStep:
        return ConfirmedStep(
            iteration=kept[found.new],
            before=kept[found.old],
            measure=found.measure,
            gain=mean(found.gains),
            sd=pooled_noise([found.gains]).sd,
            p=found.p,
            level=level,
            confirmed=found.p < level or (is_said and found.fault is None),
            passed=passed[found.new],
            fault=found.fault,
        )

    whole = told(compare(0, last, scores, faults), look.alpha, first is not None and first.whole.confirmed)
    levels = holm_levels([found.p for found in compared], look.alpha) if whole.confirmed else [0.0] * last
    said = [step.confirmed for step in first.steps] if first and whole.confirmed else [False] * last
    steps = list(map(told, compared, levels, said))
    stands = last if whole.confirmed else 0
    asked = steps if whole.confirmed else [whole]
    is_near = any(not step.confirmed and step.p < _NEAR for step in asked)
    return Confirmed(
        seeds=list(seeds),
        alpha=alpha,
        baseline_passed=passed[0],
        whole=whole,
        steps=steps,
        incumbent=kept[stands],
        pass_rate_at_least=at_least(passed[stands], len(seeds)),
        control=control,
        goes_on_to=look.more if is_near else None,
    )


class Comparison(NamedTuple):
    """Two of the kept, by their places, on the same seeds; gains in ln units."""

    old: int
    new: int
    measure: Literal["violation", "objective"]
    gains: list[float]
    fault: str | None

    @property
    def p(self) -> float:
        """Of no gain; 1 where the seeds say nothing."""
        return 1.0 if self.fault else paired_p(self.gains)


def compare(
    old: int, new: int, scores: Sequence[Sequence[Score]], faults: Sequence[str | None]
) -> Comparison:
    """What the model at place `new` gains over that at `old`, with the same seeds in the same order."""
    before, after, fault = scores[old], scores[new], faults[old] or faults[new]
    pairs = list(zip(before, after, strict=True))
    gains = [
        b.log_objective - a.log_objective
        for b, a in pairs
        if b.log_objective is not None and a.log_objective is not None
    ]
    if feasible(before) and feasible(after) and len(gains) == len(pairs):
        return Comparison(old, new, "objective", gains, fault)
    violations = [b.violation - a.violation for b, a in pairs]
    return Comparison(old, new, "violation", violations, fault)
