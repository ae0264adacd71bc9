"""Tables and panels for a terminal. Texts of agents are shown as `Text`, never as markup."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Column, Table
from rich.text import Text

from mlipilot.evaluation.catalog import metric_unit
from mlipilot.report.history import iteration_rows
from mlipilot.report.jobs import JobRow, job_rows
from mlipilot.report.rows import (
    SYMBOLS,
    EffectRow,
    GateCell,
    effect_rows,
    gate_cell,
    gate_rows,
    metric_rows,
    objective_text,
    revision_lines,
)
from mlipilot.report.status_json import find_iteration
from mlipilot.report.text import joined, mean_sd, metric_label
from mlipilot.report.view import IterationView, LineageView

_STATUS_STYLE = {
    "accepted": "bold green",
    "reverted": "yellow",
    "invalid": "red",
    "no proposal": "dim",
    "running": "cyan",
}
_GRADE_STYLE = {"held": "green", "refuted": "red", "unclear": "yellow"}
_DIFF_STYLES = (("+++", "bold"), ("---", "bold"), ("@@", "cyan"), ("+", "green"), ("-", "red"))


def gate_table(view: LineageView) -> Table:
    """The gates with the baseline's values beside the incumbent's."""
    newest = f"incumbent\n(iteration {view.state.incumbent})" if view.improved else "incumbent"
    values = _right("baseline"), _right(newest)
    table = _table("gate", _right("bound"), Column("unit", style="dim"), *values, title="Gates")
    for row in gate_rows(view):
        table.add_row(row.label, row.bound, Text(row.unit), _cell(row.baseline), _cell(row.incumbent))
    table.add_section()
    both = view.baseline, view.incumbent
    table.add_row(Text("gates passed", style="bold"), "", "", *(_passed(view, one) for one in both))
    table.add_row(Text("objective", style="bold"), "", "", *map(_objective, both))
    notes = [
        f"{row.label}, {who}: {cell.note}"
        for row in gate_rows(view)
        for who, cell in (("baseline", row.baseline), ("incumbent", row.incumbent))
        if cell.text == "failed" and (who == "baseline" or view.improved)
    ]
    table.caption = Text("\n".join(notes), style="dim") if notes else None
    table.caption_justify = "left"
    return table


def _table(*columns: Column | str, title: str | None = None) -> Table:
    """A table without lines."""
    return Table(*columns, title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)


def _right(heading: str) -> Column:
    return Column(heading, justify="right")


def _cell(cell: GateCell) -> Text:
    if cell.passed is None:
        return Text(cell.text, style="dim")
    return Text(f"{cell.text} {'✓' if cell.passed else '✗'}", style="green" if cell.passed else "bold red")


def _passed(view: LineageView, iteration: IterationView | None) -> Text:
    passed, total = view.gates_passed(iteration), len(view.gates)
    if passed is None:
        return Text("—", style="dim")
    good = passed == total
    return Text(f"{passed}/{total} {'✓' if good else '✗'}", style="bold green" if good else "bold red")


def _objective(iteration: IterationView | None) -> Text:
    return Text(objective_text(iteration) if iteration else "—")


def iteration_table(view: LineageView) -> Table:
    """The iterations, a line each: title, verdict, violation (ln units), objective, graded effects."""
    table = _table(title="Iterations")
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("title", min_width=16, max_width=44)
    table.add_column("verdict", no_wrap=True)
    table.add_column("violation", justify="right", no_wrap=True)
    table.add_column("objective", justify="right", no_wrap=True)
    table.add_column("effects", min_width=9)
    for row in iteration_rows(view):
        style = _STATUS_STYLE[row.status]
        mark = " ★" if row.is_incumbent else ""
        standing = f"\n({row.standing})" if row.standing else ""
        table.add_row(
            str(row.number),
            Text(row.title),
            Text(f"{SYMBOLS[row.status]} {row.status}{mark}{standing}", style=style),
            row.violation,
            row.objective,
            Text(row.effects),
        )
    return table


def iteration_panel(view: LineageView, iteration_number: int) -> RenderableType:
    """One iteration in full: hypothesis, effects, diff, metrics by seed, gates, verdict and why.

    Raises InputError when there is no such iteration.
    """
    iteration = find_iteration(view, iteration_number)
    title = Text.assemble((f"iteration {iteration.number}: ", "bold"), iteration.title)
    style = _STATUS_STYLE[iteration.status]
    return Panel(
        Group(*_parts(view, iteration)), title=title, title_align="left", border_style=style, padding=(1, 2)
    )


def _parts(view: LineageView, iteration: IterationView) -> list[RenderableType]:
    style = _STATUS_STYLE[iteration.status]
    parts: list[RenderableType] = [
        Text.assemble((f"{SYMBOLS[iteration.status]} {iteration.status}", style), f"  {iteration.reason}")
    ]
    parts += [Text(line, style="dim") for line in revision_lines(iteration)]
    if iteration.lesson:
        parts.append(Text(f"Lesson: {iteration.lesson}"))
    for heading, prose in (("Hypothesis", iteration.hypothesis), ("Mechanism", iteration.mechanism)):
        if prose:
            parts += [_heading(heading), Text(prose)]
    if iteration.effects:
        parts += [_heading("Expected effects"), _effects(effect_rows(iteration))]
    for seed in iteration.seeds:
        parts += [Text(fault, style="red") for fault in seed.faults if fault != iteration.reason]
        if seed.log_tail:
            parts += [
                _heading(f"End of the error output, seed {seed.seed}"),
                Text(seed.log_tail, style="dim"),
            ]
    if iteration.diff:
        parts += [_heading("Change of the recipe"), _diff(iteration.diff)]
    if iteration.scores:
        parts += [_heading("Gates"), _gates(view, iteration)]
        parts += [_heading("Metrics by seed"), _metrics(iteration)]
    if rows := job_rows(view, iteration.number):
        where = f", on cluster {joined(view.clusters)}" if view.clusters else ""
        parts += [_heading(f"Jobs{where}"), _jobs(rows)]
    return parts


def _jobs(rows: list[JobRow]) -> Table:
    """Every attempt, with the scheduler's number and name where it has one."""
    headings = ("job", "attempt", "state", "number", "node", "name", "")
    table = _table(*(Column(heading, overflow="fold") for heading in headings))
    for row in rows:
        name = Text(row.job_name or "", style="dim")
        table.add_row(
            row.job, str(row.attempt), row.state, row.job_id or "—", row.node or "—", name, Text(row.why)
        )
    return table


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold underline")


def _effects(effects: list[EffectRow]) -> Table:
    table = _table("metric", "expected", _right("before"), _right("after"), "grade")
    for effect in effects:
        table.add_row(
            Text(f"{effect.label}{f' ({effect.unit})' if effect.unit else ''}"),
            Text(effect.expected),
            effect.before,
            effect.after,
            Text(effect.grade, style=_GRADE_STYLE.get(effect.grade, "dim")),
        )
    return table


def _diff(diff: str) -> Text:
    """A unified diff in colour, line by line."""
    text = Text()
    for line in diff.splitlines():
        style = next((style for prefix, style in _DIFF_STYLES if line.startswith(prefix)), "")
        text.append(line + "\n", style=style)
    text.rstrip()
    return text


def _gates(view: LineageView, iteration: IterationView) -> Table:
    unit, note = Column("unit", style="dim"), Column("", overflow="fold")
    table = _table("gate", _right("bound"), unit, _right("mean ± sd"), note)
    for index, gate in enumerate(view.gates):
        cell = gate_cell(iteration, index)
        label, in_unit = metric_label(gate.metric), Text(metric_unit(gate.metric))
        table.add_row(label, gate.text, in_unit, _cell(cell), Text(cell.note, style="dim"))
    violation = Text(mean_sd(iteration.violations))
    table.add_row(Text("total violation", style="bold"), "", Text("ln units"), violation, Text(""))
    table.add_row(Text("objective", style="bold"), "", "", _objective(iteration), Text(""))
    return table


def _metrics(iteration: IterationView) -> Table:
    seeds = [_right(f"seed {seed.seed}") for seed in iteration.seeds]
    table = _table("metric", Column("unit", style="dim"), *seeds, Column("", overflow="fold"))
    for row in metric_rows(iteration):
        values = [Text(value, style="red" if value == "failed" else "") for value in row.values_by_seed]
        table.add_row(row.label, Text(row.unit), *values, Text(row.reason, style="dim"))
    return table
