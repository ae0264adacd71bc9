"""What the report says, gathered once: `templates/report.j2` makes page and text of the same rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mlipilot.audit.surroundings import Machine
from mlipilot.controller.confirmation import asked_for
from mlipilot.controller.isolation_words import LOCAL
from mlipilot.paths import SCORECARD, SPEC
from mlipilot.report import rows, scorecard_rows
from mlipilot.report.billing_rows import billed_notes, billed_rows
from mlipilot.report.confirmation_rows import confirmation_sentences, step_rows, worth_rows
from mlipilot.report.exam_rows import committee_rows, exam_rows
from mlipilot.report.export import Export
from mlipilot.report.figures import Picture
from mlipilot.report.history import iteration_rows
from mlipilot.report.results import result_rows, results_note
from mlipilot.report.run_section import LineagesSection
from mlipilot.report.summary import pilot_text, summary
from mlipilot.report.text import duration
from mlipilot.report.view import LineageView
from mlipilot.untrusted import one_line

_LOCAL_WARNING = (
    "The jobs ran as local processes: the code of candidates could reach the files and the network of this "
    "machine. Protected files were hashed before and after every job, which shows a change but does not "
    "prevent one."
)


@dataclass(frozen=True)
class Tile:
    """A number that sums something up."""

    label: str
    before: str
    after: str
    note: str
    good: bool | None


@dataclass(frozen=True)
class Fact:
    """A name with its value, such as a digest."""

    name: str
    value: str


@dataclass(frozen=True)
class Column:
    """A column of a table: which field of its rows it shows, and how."""

    heading: str
    field: str
    look: str = "text"
    """text, prose, number, unit, or what else the macro `cell` of the templates tells apart."""
    below: str = ""
    """A second line of the heading, such as the unit."""
    remark: str = ""
    """A second field, which is said of the first where it is not empty."""
    said: str = ""
    """A word before the remark."""

    @property
    def is_number(self) -> bool:
        """Whether it is set to the right."""
        return self.look in ("number", "gate", "iteration")

    def remark_of(self, row: Any) -> str:
        """The remark of one row; empty where there is none."""
        remark = getattr(row, self.remark) if self.remark else ""
        return f"{self.said} {remark}".strip() if remark else ""


@dataclass(frozen=True)
class DiffLine:
    """One line of a diff and what it is: file, hunk, add, del or same."""

    kind: str
    text: str


def context(
    view: LineageView,
    pictures: list[Picture],
    export: Export,
    lineages: LineagesSection | None = None,
    *,
    whole_run: bool = False,
) -> dict[str, Any]:
    """Everything that the templates name. Texts are cleaned of control characters, not yet escaped.

    `lineages` where the run has several; on the page of the `whole_run` they come first, and `view` is the
    one that is shown in full below them.
    """
    return {
        "lineage": view.lineage.number,
        "lineages": _with_part_of(view, lineages) if lineages and whole_run else lineages,
        "whole_run": whole_run,
        "name": view.spec.name,
        "description": one_line(view.spec.description, 300),
        "phase": view.phase,
        "pilot": pilot_text(view),
        "profile": view.spec.profile,
        "summary": summary(view),
        "problems": [one_line(problem, 400) for problem in view.problems],
        "tiles": _tiles(view),
        "pictures": {picture.name: picture for picture in pictures},
        "gates": rows.gate_rows(view),
        "terms": scorecard_rows.term_rows(view),
        "totals": scorecard_rows.totals(view),
        "gate_notes": scorecard_rows.gate_notes(view),
        "spread": scorecard_rows.spread_note(view),
        "results": result_rows(view),
        "results_note": results_note(view),
        "is_sealed": view.state.sealed_check is not None,
        "standing": " ".join(confirmation_sentences(view)),
        "iterations": view.iterations,
        "iteration_rows": iteration_rows(view),
        "steps": step_rows(view),
        "worths": worth_rows(view),
        "confirms": asked_for(view.state, view.spec) is not None,
        "column": Column,
        "diff_lines": diff_lines,
        "effect_rows": rows.effect_rows,
        "metric_rows": rows.metric_rows,
        "revision_lines": rows.revision_lines,
        "costs": rows.cost_rows(view),
        "busy": rows.busy_notes(view),
        "billed": billed_rows(view),
        "billed_notes": billed_notes(view),
        "elapsed": duration(rows.elapsed_s(view)),
        "exam": exam_rows(view),
        "committee": committee_rows(view),
        "improved": view.improved,
        "incumbent": view.state.incumbent,
        "isolation": [", ".join(map(" ".join, kind.items())) for kind in view.isolation],
        "isolation_warnings": [_LOCAL_WARNING if door == LOCAL else door for door in view.open_doors],
        "export": export,
        "exported": _exported(export),
        "digests": _digests(view),
        "weights": _weights(view),
        "versions": _versions(view),
        "times": _times(view),
    }


def environment(finalize: Callable[[Any], Any] | None = None) -> Environment:
    """The templates, with every value escaped: by `finalize`, else as HTML."""
    found = Environment(
        loader=PackageLoader("mlipilot.report"),
        autoescape=True,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals["SYMBOLS"] = rows.SYMBOLS
    return found


def _with_part_of(view: LineageView, lineages: LineagesSection) -> LineagesSection:
    """The section whose row of the lineage that is shown below it leads there."""
    number = view.lineage.number
    found = [replace(row, page="#lineage") if row.number == number else row for row in lineages.rows]
    return replace(lineages, rows=found)


def diff_lines(diff: str) -> list[DiffLine]:
    """A unified diff, line by line."""
    prefixes = (("+++", "file"), ("---", "file"), ("@@", "hunk"), ("+", "add"), ("-", "del"))
    return [
        DiffLine(next((kind for prefix, kind in prefixes if line.startswith(prefix)), "same"), line)
        for line in diff.splitlines()
    ]


def _tiles(view: LineageView) -> list[Tile]:
    baseline, incumbent, total = view.baseline, view.incumbent, len(view.gates)
    before, after = view.gates_passed(baseline), view.gates_passed(incumbent)
    tried = view.iterations[1:]
    accepted = sum(iteration.status == "accepted" for iteration in tried)
    cost = view.total_cost
    gpu = f"{duration(cost.gpu_s)} of GPU time, " if cost.gpu_s else ""
    unknown = f", wall time for {cost.cpu_unknown} of them" if cost.cpu_unknown else ""
    return [
        Tile(
            "gates passed",
            "—" if before is None else str(before),
            "—" if after is None else str(after),
            f"of {total}",
            None if after is None else after == total,
        ),
        Tile(
            "objective",
            rows.objective_text(baseline) if baseline else "—",
            rows.objective_text(incumbent) if incumbent else "—",
            "lower is better",
            None,
        ),
        Tile("hypotheses accepted", "", f"{accepted}", f"of {len(tried)} tried", None),
        Tile("CPU time of jobs", "", duration(cost.cpu_s), f"{gpu}{cost.jobs} jobs{unknown}", None),
    ]


def _digests(view: LineageView) -> list[Fact]:
    started = view.state.started
    named = {
        SPEC: "spec_sha256",
        SCORECARD: "scorecard_sha256",
        "data manifest": "data_manifest_sha256",
        "protected files": "protected_sha256",
        "starting recipe (tree)": "recipe_digest",
        "prompts": "prompts_digest",
        "image": "image_sha256",
    }
    facts = [Fact(name, digest) for name, key in named.items() if (digest := getattr(started, key, None))]
    if view.incumbent is not None and view.incumbent.recipe_digest:
        facts.append(Fact("incumbent's recipe (tree)", view.incumbent.recipe_digest))
    if view.records:
        facts.append(Fact(f"ledger head ({len(view.records)} records)", view.records[-1].hash))
    return facts


def _exported(export: Export) -> list[Fact]:
    if export.model is None or export.card is None:
        return []
    return [
        Fact("model", f"export/{export.model.name}"),
        Fact("its card", f"export/{export.card.name}"),
        *(Fact("of a committee", f"export/{member.name}") for member in export.members),
        Fact("SHA-256", export.sha256),
        Fact("size", f"{export.size_bytes / 1024:.0f} KiB"),
    ]


def _weights(view: LineageView) -> list[Fact]:
    seeds = view.incumbent.seeds if view.incumbent else []
    return [Fact(f"seed {seed.seed}", seed.weights_digest) for seed in seeds if seed.weights_digest]


def _versions(view: LineageView) -> list[Fact]:
    facts = [Fact(name, value) for name, value in sorted(view.versions.items())]
    facts += [Fact("machine", one_line(str(Machine.model_validate(kind)), 120)) for kind in view.machines]
    return facts + [Fact("cluster", name) for name in view.clusters]


def _times(view: LineageView) -> list[Fact]:
    pairs = (("first record", view.state.first_time), ("last record", view.state.last_time))
    return [Fact(name, time[:19].replace("T", " ") + " UTC") for name, time in pairs if time]
