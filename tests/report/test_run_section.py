"""Several lineages side by side: the accept rule's own order, and no more certainty than the seeds give."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mlipilot.audit.ledger import LedgerError
from mlipilot.paths import RunPaths
from mlipilot.report.figures import draw_run
from mlipilot.report.ranking import RunView, load_run
from mlipilot.report.run_section import LineageRow, lineages_section
from mlipilot.report.summary import pilot_text
from mlipilot.report.verdict_rows import VerdictsRow, verdict_rows
from mlipilot.report.view import LineageView
from tests.report.synthetic import SyntheticRun, make_spec

Measured = tuple[float, float | None]
"""Total violation and objective of one seed."""


def _with_incumbent(view: LineageView, *measured: Measured) -> LineageView:
    """The lineage with other scores of its incumbent, one a seed."""
    number = view.state.incumbent
    assert number is not None
    incumbent = view.iterations[number]
    seeds = []
    for seed, (violation, objective) in zip(incumbent.seeds, measured, strict=False):
        assert seed.score is not None
        gates = [gate.model_copy(update={"passed": violation == 0}) for gate in seed.score.gates]
        scored = {
            "feasible": violation == 0,
            "violation": violation,
            "log_objective": None if objective is None else math.log(objective),
            "gates": gates,
        }
        seeds.append(replace(seed, score=seed.score.model_copy(update=scored)))
    iterations = [*view.iterations]
    iterations[number] = replace(incumbent, seeds=seeds)
    spec = view.spec.model_copy(update={"seeds": view.spec.seeds[: len(measured)]})
    return replace(view, iterations=iterations, spec=spec)


def _run(compared: RunView, *incumbents: list[Measured]) -> RunView:
    views = zip(compared.lineages, incumbents, strict=False)
    return RunView([_with_incumbent(view, *measured) for view, measured in views])


def _rows(run: RunView) -> dict[int, LineageRow]:
    return {row.number: row for row in lineages_section(run).rows}


def test_the_lineages_stand_in_the_accept_rules_order(compared: RunView) -> None:
    section = lineages_section(compared)
    assert [row.number for row in section.rows] == [1, 0, 2]
    assert [row.is_best for row in section.rows] == [True, False, False]
    assert [row.passed for row in section.rows] == [True, True, False]
    assert section.rows[0].incumbent.startswith("objective 0.28")
    assert section.rows[2].incumbent.startswith("violation 0.69")
    assert "2 of 3 measured incumbents pass every gate" in section.said


def test_a_row_says_what_the_lineage_did(compared: RunView) -> None:
    row = _rows(compared)[0]
    assert (row.pilot, row.seeds, row.iterations, row.verdicts) == ("scripted", "1, 2", "3 of 3", "2 / 1 / 0")
    assert (row.gates, row.state, row.page) == ("16 → 26", "finished", "report-lineage-0.html")
    assert (row.sealed, row.sealed_test) == ("9.92", "9.92")
    paused = _rows(compared)[2]
    assert (paused.iterations, paused.sealed, paused.state) == ("1 of 3", "—", "paused")
    hours = sum(view.state.cpu_seconds for view in compared.lineages) / 3600
    assert lineages_section(compared).cpu_h == f"{hours:.2f}"


def test_a_difference_beyond_the_seeds_scatter_is_called_so(compared: RunView) -> None:
    run = _run(compared, [(0, 0.5), (0, 0.51)], [(0, 0.4), (0, 0.41)], [(3.0, 0.1), (3.1, 0.1)])
    assert "needed >" in _rows(run)[0].behind and _rows(run)[0].behind.endswith("beyond the noise")
    assert _rows(run)[2].behind == "fails gates"
    assert "Against lineage 0, the next: objective 0.505 → 0.405;" in lineages_section(run).said
    assert lineages_section(run).said.endswith("That is beyond the noise.")


def test_a_difference_within_the_seeds_scatter_is_called_so(compared: RunView) -> None:
    run = _run(compared, [(0, 0.4), (0, 0.6)], [(0, 0.3), (0, 0.5)])
    assert run.best is run.lineages[1]
    assert _rows(run)[0].behind.endswith("too little to count")
    assert "does not tell the two apart" in lineages_section(run).said


def test_one_seed_tells_nothing_of_the_noise(compared: RunView) -> None:
    run = _run(compared, [(0, 0.4)], [(0, 0.1)])
    assert _rows(run)[0].behind.endswith("noise not known")
    assert "beyond the noise" not in lineages_section(run).said
    assert "a lucky one" in lineages_section(run).said


def test_the_only_feasible_lineage_is_the_best_whatever_its_objective(compared: RunView) -> None:
    run = _run(compared, [(0.1, 0.01), (0.1, 0.01)], [(0, 9.0), (0, 9.0)])
    assert run.best is run.lineages[1]
    assert lineages_section(run).said.endswith("Its incumbent alone passes every gate.")


def test_an_objective_that_is_not_known_comes_last_of_the_feasible(compared: RunView) -> None:
    run = _run(compared, [(0, None), (0, 0.1)], [(0, 9.0), (0, 9.0)], [(0.5, 0.1), (0.5, 0.1)])
    assert [view.lineage.number for view in run.ranked] == [1, 0, 2]
    assert _rows(run)[0].behind == "its objective is not known"


def test_equal_lineages_stand_by_their_number(compared: RunView) -> None:
    run = _run(compared, [(0, 0.4), (0, 0.5)], [(0, 0.4), (0, 0.5)])
    assert run.best is run.lineages[0]


def test_statistics_count_each_lineage_once_and_say_how_many_there_are(compared: RunView) -> None:
    run = _run(compared, [(0, 0.2), (0, 0.2)], [(0, 0.4), (0, 0.4)], [(3.0, 0.1), (3.0, 0.1)])
    baselines, incumbents = lineages_section(run).statistics
    assert (baselines.what, baselines.count, baselines.feasible, baselines.objective) == (
        "baselines", 3, "0 of 3", "—",
    )  # fmt: skip
    assert (incumbents.what, incumbents.count, incumbents.feasible) == (
        "incumbents, scripted",
        3,
        "2 of 3",
    )
    assert incumbents.violation == "1.0 ± 1.7"  # of 0, 0 and 3: √3
    assert incumbents.objective == "0.30 ± 0.14 (n = 2)"  # of 0.2 and 0.4: √0.02


def test_statistics_are_by_pilot_and_count_a_shared_baseline_once(tmp_path: Path) -> None:
    """Lineages 0, 1 and 2 are of three pilots on one seed; 3 is of the first pilot again, on another."""
    asked = {"kind": "openai", "base_url": "http://node7:8000/v1", "model": "a-model"}
    pilots = [asked, {"kind": "random"}, asked | {"temperature": 0.2}]
    spec = make_spec(seeds=[1], pilot=asked, pilots=pilots)
    for number in range(4):
        lineage = SyntheticRun(tmp_path / "run", spec, number)
        lineage.propose(0, None, {})
        lineage.candidate(0, 0.0)
    found = load_run(RunPaths(tmp_path / "run"))
    assert pilot_text(found.lineages[0]) == "language model a-model"
    assert pilot_text(found.lineages[1]).startswith("random search over 0 declared parameters (no language")
    section = lineages_section(found)
    named = {row.number: (row.pilot, row.seeds) for row in section.rows}
    assert named == {
        0: ("a-model", "1"),
        1: ("random", "1"),
        2: ("a-model", "1"),
        3: ("a-model", "1001"),
    }
    assert [(row.what, row.count) for row in section.statistics] == [
        ("baselines", 2),
        ("incumbents, a-model", 2),
        ("incumbents, random", 1),
        ("incumbents, a-model", 1),
    ]


def test_a_second_lineage_can_be_compared_however_far_it_has_come(
    pristine_lineages: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlipilot.report.figures.render", lambda draw, theme: b"x" if draw(theme) else b"")
    run = RunPaths(Path(shutil.copytree(pristine_lineages.root, tmp_path / "run")))
    ledgers = [lineage.ledger for lineage in run.lineages()]
    lines = [ledger.read_bytes().splitlines(keepends=True) for ledger in ledgers]
    assert json.loads(lines[2][10])["kind"] == "verdict"
    ledgers[0].write_bytes(lines[0][0])
    shutil.rmtree(run.lineage(1).root)
    bests = []
    for length in (0, 1, 10, 11, len(lines[2])):  # begun; the baseline measured, then judged; the end
        ledgers[2].write_bytes(b"".join(lines[2][:length]))
        found = load_run(run)
        section = lineages_section(found)
        assert len(section.rows) == 2
        bests.append(section.best)
        assert bool(draw_run(found)[0].missing) == (section.best is None)
    assert list(dict.fromkeys(bests)) == [None, 2]


def test_a_run_of_broken_ledgers_is_an_error(several: RunPaths) -> None:
    for lineage in several.lineages():
        lineage.ledger.write_bytes(lineage.ledger.read_bytes().replace(b'"seq":1,', b'"seq":7,', 1))
    with pytest.raises(LedgerError):
        load_run(several)


def test_verdicts_are_counted_by_pilot(compared: RunView) -> None:
    assert verdict_rows(compared) == [
        VerdictsRow("scripted", "lineages 0, 1 and 2", 6, 5, 1, 0, 0, "—"),
    ]
    first, *others = compared.lineages
    apart = first.spec.model_copy(update={"pilot": first.spec.pilot.model_copy(update={"kind": "random"})})
    found = verdict_rows(RunView([replace(first, spec=apart), *others]))
    assert [(row.lineages, row.tried, row.reverted) for row in found] == [
        ("lineage 0", 3, 1),
        ("lineages 1 and 2", 3, 0),
    ]


def test_of_the_kept_it_is_counted_what_fresh_seeds_confirmed(confirmed: LineageView) -> None:
    (row,) = verdict_rows(RunView([confirmed]))
    assert (row.accepted, row.confirmed) == (2, "1 of 2")
