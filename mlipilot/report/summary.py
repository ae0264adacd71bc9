"""What came of a campaign in a few sentences, computed from the data and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from mlipilot.evaluation.catalog import metric_unit
from mlipilot.pilots.pilot_settings import Kind
from mlipilot.report.confirmation_rows import confirmation_sentences
from mlipilot.report.exam_rows import exam_sentences
from mlipilot.report.rows import sealed_headline
from mlipilot.report.text import count, duration, joined, mean_sd, metric_label, upper_first
from mlipilot.report.view import IterationView, LineageView
from mlipilot.untrusted import few, one_line

_SEARCHES: dict[Kind, str] = {"random": "random", "tpe": "TPE", "cma-es": "CMA-ES"}
_VERDICTS = ("accepted", "reverted", "invalid", "no proposal")


def pilot_text(view: LineageView) -> str:
    """Who proposed, so that a scripted pilot is never taken for a language model."""
    pilot = view.spec.pilot
    return _kind_text(view) if pilot.replay is None else f"replay of a {_kind_text(view)}"


def _kind_text(view: LineageView) -> str:
    pilot = view.spec.pilot
    if pilot.kind == "scripted":
        return "scripted pilot (no language model)"
    numbers = count(len(view.spec.space), "declared parameter")
    if pilot.kind in _SEARCHES:
        return f"{_SEARCHES[pilot.kind]} search over {numbers} (no language model)"
    name = pilot.model or pilot.name
    model = f"language model {one_line(name, 80)}" if name else "language model"
    return f"{model} with TPE over {numbers}" if pilot.kind == "hybrid" else model


def pilot_name(view: LineageView) -> str:
    """Who proposed in this lineage, in a word or two, as its own first record says."""
    pilot = view.spec.pilot
    name = (view.state.started and view.state.started.pilot) or pilot.label
    if pilot.name is None and pilot.model is not None:
        name = pilot.model if name == "openai" else f"{name}, {pilot.model}"
    return one_line(name, 40)


def summary(view: LineageView) -> str:
    """One paragraph: the baseline, what was tried, what the incumbent reaches, what it cost."""
    sentences = [
        _setting(view),
        _baseline(view),
        *_tried(view),
        *confirmation_sentences(view),
        *_incumbent(view),
        *_sealed(view),
        *exam_sentences(view),
        _cost(view),
        *_end(view),
    ]
    return " ".join(sentences)


def _setting(view: LineageView) -> str:
    seeds = count(len(view.spec.seeds), "seed")
    steps = f"{view.spec.budget.optimizer_steps:,}".replace(",", "\u202f")
    return (
        f"Campaign {view.spec.name}, profile {view.spec.profile}: a {pilot_text(view)} changes a MACE "
        f"training recipe for the data set {view.spec.dataset.name}; every candidate is trained with {seeds} "
        f"for at most {steps} optimiser steps, as its recipe counts them{_machine_time(view)}, and judged by "
        f"the scorecard {view.card.name}."
    )


def _machine_time(view: LineageView) -> str:
    over = view.spec.budget.training_seconds_over_baseline
    return f", in less than {over:g} times the machine time of the baseline" if over else ""


def _baseline(view: LineageView) -> str:
    passed = view.gates_passed(view.baseline)
    if view.baseline is None or passed is None:
        return "The baseline has not been measured."
    failing = failing_gates(view, view.baseline)
    if not failing:
        return f"The baseline passes all {len(view.gates)} gates."
    return f"The baseline fails {len(failing)} of {len(view.gates)} gates ({few(failing)})."


def failing_gates(view: LineageView, iteration: IterationView) -> list[str]:
    """The labels of the gates that fail on some seed."""
    failing = [
        gate.metric
        for index, gate in enumerate(view.gates)
        if any(not result.passed for result in iteration.gate_results(index))
    ]
    return [metric_label(name) for name in failing]


def _tried(view: LineageView) -> list[str]:
    tried = view.iterations[1:]
    if not tried:
        return []
    counts = {word: sum(i.status == word for i in tried) for word in (*_VERDICTS, "running")}
    said = [f"{number} {word}" for word, number in counts.items() if number]
    was = "was" if len(tried) == 1 else "were"
    return [f"{count(len(tried), 'hypothesis', 'hypotheses')} {was} tried: {joined(said)}."]


def _incumbent(view: LineageView) -> list[str]:
    incumbent, baseline = view.incumbent, view.baseline
    if incumbent is None or baseline is None or not incumbent.measured:
        return []
    if not view.improved:
        judged = any(i.status in ("reverted", "invalid") for i in view.iterations)
        return ["None was accepted: the baseline is still the incumbent."] if judged else []
    failing = failing_gates(view, incumbent)
    gates = f"passes all {len(view.gates)} gates on every seed"
    if failing:
        gates = f"still fails {len(failing)} of {len(view.gates)} gates ({few(failing)})"
    changes = [
        _unbroken(metric_label(name), baseline.values(name), incumbent.values(name), metric_unit(name))
        for name in (term.metric for term in view.card.objective.terms)
        if baseline.mean_value(name) is not None and incumbent.mean_value(name) is not None
    ]
    if baseline.objective is not None and incumbent.objective is not None:
        changes.append(_unbroken("objective", baseline.objectives, incumbent.objectives))
    return [
        f"The incumbent is iteration {incumbent.number}, “{incumbent.title}”: it {gates}.",
        f"{upper_first(joined(changes))}.",
    ]


def _unbroken(label: str, before: Sequence[float], after: Sequence[float], unit: str = "") -> str:
    """A change in numbers, without a line break inside a number."""
    old, new = (mean_sd(values).replace(" ", "\u00a0") for values in (before, after))
    return f"{label} {old} → {new}" + (f"\u00a0{unit}" if unit else "")


def _sealed(view: LineageView) -> list[str]:
    row = sealed_headline(view)
    if row is None:
        return []
    return [
        f"On sealed data, which no verdict has used, the incumbent's {row.label} is "
        f"{row.incumbent_sealed} {row.unit} (test split: {row.incumbent_test})."
    ]


def _cost(view: LineageView) -> str:
    cost = view.total_cost
    unknown = f" (of {count(cost.cpu_unknown, 'job')} unknown: the wall time)" if cost.cpu_unknown else ""
    parts = [f"{duration(cost.cpu_s)} of CPU time{unknown}"]
    if cost.gpu_s:
        parts.append(f"{duration(cost.gpu_s)} of GPU time")
    if cost.tokens:
        parts.append(count(cost.tokens, "token"))
    return f"The jobs took {joined(parts)}." if cost.jobs else "No job has ended yet."


def _end(view: LineageView) -> list[str]:
    if view.state.finished is not None:
        return [f"It ended because {one_line(view.state.finished, 400).rstrip('.')}."]
    if view.state.paused is not None:
        return [f"It is paused: {one_line(view.state.paused, 400).rstrip('.')}."]
    return [f"The run is not over ({view.phase}): this is how it stands so far."]
