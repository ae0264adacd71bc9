"""What fresh seeds said of the steps that the search kept, for every form of report."""

from __future__ import annotations

from dataclasses import dataclass

from mlipilot.audit.events.concluding import Confirmed, ConfirmedStep
from mlipilot.campaign.extent import Confirmation
from mlipilot.controller.confirmation import LABELS_SHOW, asked_for
from mlipilot.report.text import joined, number
from mlipilot.report.view import LineageView
from mlipilot.untrusted import one_line

PROVISIONAL = "provisional"
"""Of a step that the search kept, and that fresh seeds have not been asked of yet."""


@dataclass(frozen=True)
class StepRow:
    """One kept step on fresh seeds; the baseline has nothing to be compared with."""

    what: str
    before: str
    gain: str
    """Mean and standard deviation over seeds, in ln units."""
    p: str
    level: str
    passed: str
    word: str


def step_rows(view: LineageView) -> list[StepRow]:
    """The baseline, each kept step, and where there are several the whole; none before the confirmation."""
    found = view.state.confirmed
    if found is None:
        return []
    baseline = StepRow("baseline", "", "", "", "", _passed(found.baseline_passed, found), "")
    whole = [_row(found.whole, found, "the whole: ")] if len(found.steps) > 1 else []
    return [baseline, *(_row(step, found) for step in found.steps), *whole]


def _row(step: ConfirmedStep, found: Confirmed, which: str = "") -> StepRow:
    return StepRow(
        what=f"{which}iteration {step.iteration}",
        before=f"iteration {step.before}" if step.before else "baseline",
        gain=f"{step.gain:+.2f} ± {step.sd:.2f} ({step.measure})",
        p=number(step.p, 2),
        level=number(step.level, 2) if step.level else "—",
        passed=_passed(step.passed, found),
        word=_word(step),
    )


def _passed(passed: int, found: Confirmed) -> str:
    return f"{passed} of {len(found.seeds)}"


def _word(step: ConfirmedStep) -> str:
    if step.fault:
        return f"not confirmed: {step.fault}"
    return "confirmed" if step.confirmed else "not confirmed"


def standing(view: LineageView, iteration: int) -> str:
    """What a kept step's word is worth so far; empty for the baseline and for what was not kept."""
    is_kept = iteration > 0 and view.iterations[iteration].status == "accepted"
    if not is_kept or asked_for(view.state, view.spec) is None:
        return ""
    steps = view.state.confirmed.steps if view.state.confirmed else []
    return next((_word(step) for step in steps if step.iteration == iteration), PROVISIONAL)


def confirmation_sentences(view: LineageView) -> list[str]:
    """How many kept steps hold, and how often the incumbent passes every gate, by fresh seeds alone."""
    found, kept = view.state.confirmed, [i for i in view.iterations[1:] if i.status == "accepted"]
    if asked_for(view.state, view.spec) is None:
        return ["No fresh seeds have confirmed this: the seeds that chose it also measured it."] * bool(kept)
    if found is None:
        return ["What was accepted is provisional until fresh seeds confirm it."] * bool(kept)
    seeds, whole = len(found.seeds), found.whole
    held = [f"iteration {step.iteration}" for step in found.steps if step.confirmed]
    looked = [f"A second look follows, with {found.goes_on_to} fresh seeds."] if found.goes_on_to else []
    if not whole.confirmed:
        why = one_line(whole.fault, 300) if whole.fault else f"p = {number(whole.p, 2)}"
        stands = "the baseline stands" + (" until then" if looked else "")
        return [
            f"{seeds} fresh seeds do not confirm that iteration {whole.iteration} is better than the "
            f"baseline ({why}): {stands}.",
            *looked,
        ]
    passed = f"passes every gate with {whole.passed} of {seeds} of them" + (
        f", and so in at least {found.pass_rate_at_least:.0%} of trainings (95 % confidence)"
        if whole.passed
        else ""
    )
    words = [
        f"{seeds} fresh seeds confirm that iteration {whole.iteration} is better than the baseline "
        f"(p = {number(whole.p, 2)}); it {passed}."
    ]
    if len(found.steps) > 1:
        alone = joined(held) if held else "none"
        verb = "are" if len(held) > 1 else "is"
        words.append(
            f"Of its {len(found.steps)} steps {alone} {verb} confirmed alone "
            f"(Holm's procedure at {found.alpha:g})."
        )
    asked = asked_for(view.state, view.spec)
    return [*words, *_of_structures(asked), *_of_control(found), *looked]


def _of_structures(asked: Confirmation | None) -> list[str]:
    if asked is None or not asked.leave_out:
        return []
    share = f"{100 * asked.leave_out:g} %"
    return [f"Each of these seeds was trained without another {share} of the training structures."]


def _of_control(found: Confirmed) -> list[str]:
    control = found.control
    if control is None:
        return []
    if control.explained is None or control.of_true is None:
        return ["The control of labels says nothing: an explained variance of forces could not be measured."]
    if control.labels_explain > LABELS_SHOW:
        return ["The control of labels says nothing: so few labels hardly change when they are permuted."]
    return [
        f"Trained on other structures' labels it explains {control.explained:.3f} of the true forces' "
        f"variance, on its own {control.of_true:.3f}."
    ]


@dataclass(frozen=True)
class WorthRow:
    """What the model that stands loses without a step."""

    what: str
    worth: str
    """Mean over fresh seeds and its 95 % interval, in ln units."""
    passed: str
    """Fresh seeds with which the model without it passes every gate."""
    word: str


def worth_rows(view: LineageView) -> list[WorthRow]:
    """Each confirmed step by what it is worth; none before an ablation."""
    ablated, confirmed = view.state.ablated, view.state.confirmed
    if ablated is None or confirmed is None:
        return []
    rows = []
    for step in ablated.steps:
        what, worth, passed, word = f"iteration {step.iteration}", "—", "—", one_line(step.fault or "", 300)
        if step.worth is not None and step.passed is not None:
            width = "no scatter" if step.half_width is None else f"± {number(step.half_width, 2)}"
            worth = f"{step.worth:+.2f} {width} ({step.measure})"
            passed = _passed(step.passed, confirmed)
            holds_0 = step.half_width is not None and abs(step.worth) <= step.half_width
            word = word or ("the interval holds 0" if holds_0 else "")
        rows.append(WorthRow(what, worth, passed, word))
    return rows
