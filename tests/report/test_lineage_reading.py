"""A lineage can be looked at whenever: at every record of its ledger, and with files missing or torn."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from mlipilot.audit.ledger import LedgerError
from mlipilot.audit.surroundings import Isolation
from mlipilot.controller.endpoint_memory import LedgerMemory
from mlipilot.endpoint.abilities import Abilities, Finding
from mlipilot.endpoint.endpoint_settings import EndpointSettings
from mlipilot.errors import InputError
from mlipilot.evaluation.catalog import SPREAD
from mlipilot.paths import JobKey, RunPaths
from mlipilot.report import rows
from mlipilot.report.export import Export
from mlipilot.report.figures import Picture, draw_all
from mlipilot.report.html import render_html
from mlipilot.report.markdown import render_markdown
from mlipilot.report.page import context
from mlipilot.report.status_json import iteration_dict, status_dict, status_line
from mlipilot.report.summary import pilot_text, summary
from mlipilot.report.terminal_tables import gate_table, iteration_panel, iteration_table
from mlipilot.report.view import LineageView
from tests.report.conftest import view_of
from tests.report.scenarios import small_run
from tests.report.synthetic import SyntheticRun, make_spec

NAMES = ("progress", "gates", "parity", "training", "dynamics")


def _show_everything(view: LineageView) -> None:
    console = Console(quiet=True)
    console.print(gate_table(view), iteration_table(view))
    for number in range(len(view.iterations))[-2:]:
        console.print(iteration_panel(view, number))
        json.dumps(iteration_dict(view, number), allow_nan=False)
    assert status_line(json.loads(json.dumps(status_dict(view), allow_nan=False)))
    assert rows.cost_rows(view)
    rows.sealed_rows(view)
    assert summary(view)


def test_the_finished_run(view: LineageView) -> None:
    assert [i.status for i in view.iterations] == ["accepted", "accepted", "accepted", "reverted", "invalid"]
    assert view.phase == "finished"
    assert view.problems == []
    baseline, incumbent = view.baseline, view.incumbent
    assert baseline is not None and incumbent is not None
    assert (incumbent.number, incumbent.feasible, baseline.feasible) == (2, True, False)
    assert view.gates_passed(incumbent) == len(view.gates)
    assert len(incumbent.values("force_mae_mev_per_a")) == 3
    assert view.iterations[4].seeds[0].faults[0].startswith("training with seed 1: the loss is nan")
    assert "Traceback" in view.iterations[4].seeds[0].log_tail
    _show_everything(view)


def test_every_draft_of_an_iteration_is_told_with_its_cost(tmp_path: Path) -> None:
    view = view_of(small_run(tmp_path / "run").run)
    assert rows.revision_lines(view.iterations[1]) == [
        "Revision 1 met an objection: the mechanism speaks of averaging, the diff does not",
        "Revision 2 was agreed to; failed its smoke step (5.5 s of CPU time): "
        "ema.decay is '-0.99' but must be a non-negative number",
    ]
    assert view.iterations[1].cost.cpu_s == pytest.approx(5.5 + 32.0 + 21.0)
    status = status_dict(view)
    assert status["drafts"] == {"submitted": 2, "objections": 1, "smoke_failures": 1}
    assert "1 failed smoke step" in status_line(status)
    shown = iteration_dict(view, 1)
    assert shown["lesson"] == "annealing and averaging lower every error"
    assert [draft["smoke"] for draft in shown["revisions"]] == [None, "failed"]
    console = Console(width=120, record=True, quiet=False, file=StringIO())
    console.print(iteration_panel(view, 1))
    assert "Revision 2 was agreed to; failed its smoke step" in console.export_text()


def test_costs_add_up_to_the_ledgers(view: LineageView) -> None:
    total = view.total_cost
    assert total.cpu_s == pytest.approx(view.state.cpu_seconds)
    assert total.prompt_tokens == view.state.prompt_tokens
    assert total.jobs == sum(len(attempts) for attempts in view.state.jobs.values())


def test_cpu_time_that_is_not_known_is_said_wherever_it_is_summed(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "run", make_spec(seeds=[1]))
    made.propose(0, None, {})
    made.candidate(0, 0.0)
    before = view_of(made.run).total_cost
    made.start(key := JobKey(0, 1, "sealed"))
    made.finish(key, 100.0, counted=False)
    view = view_of(made.run)
    assert view.total_cost.cpu_s == pytest.approx(before.cpu_s + 105.0)
    assert view.total_cost.cpu_s == pytest.approx(view.state.cpu_seconds)
    assert "of 1 job unknown: the wall time" in summary(view)
    status = status_dict(view)
    assert status["cpu_unknown_jobs"] == 1 and "1 job of unknown CPU time" in status_line(status)
    assert [row.cpu for row in rows.cost_rows(view) if "unknown" in row.cpu] == [
        "105.0 (1 unknown)",
        f"{view.total_cost.cpu_s:.1f} (1 unknown)",
    ]


def test_the_probe_of_an_endpoint_is_among_the_costs(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "run", make_spec(seeds=[1]))
    before = view_of(made.run)
    prices = EndpointSettings(usd_per_million_prompt_tokens=1e5)
    LedgerMemory(made.ledger, prices).note(
        Finding("http://a/v1", "m", Abilities(), "native: a right call", 2, 210, 33)
    )
    view = view_of(made.run)
    assert view.total_cost.tokens == before.total_cost.tokens + 243
    assert status_dict(view)["tokens"] == {"prompt": view.state.prompt_tokens, "completion": 33}
    probe, total = rows.cost_rows(view)[-2:]
    assert probe.what == "probe of the endpoint"
    assert probe.tokens == total.tokens == "210 + 33 (21.00 US$)"


@pytest.mark.slow
def test_every_moment_of_a_run_can_be_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The law: whatever prefix of the ledger exists, tables, panels, pages and figures can be made."""
    monkeypatch.setattr("mlipilot.report.figures.render", lambda draw, theme: b"x" if draw(theme) else b"")
    made = small_run(tmp_path / "run")
    ledger = made.lineage.ledger
    lines = ledger.read_bytes().splitlines(keepends=True)
    phases = []
    for length in range(len(lines) + 1):
        ledger.write_bytes(b"".join(lines[:length]))
        view = view_of(made.run)
        _show_everything(view)
        pictures = (
            draw_all(view) if length in (5, len(lines)) else [Picture(name, name, name) for name in NAMES]
        )
        said = context(view, pictures, Export(missing="not tried"))
        assert render_html(said) and render_markdown(said)
        phases.append(view.phase)
    assert list(dict.fromkeys(phases)) == ["preparing", "interrupted", "paused", "finished"]


def test_a_run_before_its_first_record(tmp_path_factory: pytest.TempPathFactory) -> None:
    made = SyntheticRun(tmp_path_factory.mktemp("x") / "run")
    made.lineage.ledger.unlink()
    view = view_of(made.run)
    assert view.phase == "preparing"
    _show_everything(view)


def test_a_torn_last_line_is_told(run: RunPaths) -> None:
    ledger = run.lineage(0).ledger
    whole = len(view_of(run).records)
    ledger.write_bytes(ledger.read_bytes()[:-10])
    view = view_of(run)
    assert len(view.records) == whole - 1
    assert "not whole" in view.problems[0]
    ledger.write_bytes(b'{"torn')
    assert view_of(run).records == []


def test_a_broken_chain_is_an_error(run: RunPaths) -> None:
    ledger = run.lineage(0).ledger
    ledger.write_bytes(ledger.read_bytes().replace(b'"seed":1', b'"seed":2', 1))
    with pytest.raises(LedgerError, match="does not match its hash"):
        view_of(run)


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"metrics": {"force_mae_mev_per_a": 1}}'])
def test_a_missing_or_torn_metrics_file(run: RunPaths, content: str | None) -> None:
    path = run.lineage(0).metrics(JobKey(2, 1, "evaluate"), 1)
    path.unlink()
    if content is not None:
        path.write_text(content)
    view = view_of(run)
    assert view.iterations[2].seeds[0].faults == ["its metrics file cannot be read"]
    assert not view.iterations[2].measured
    assert "metrics.json" in view.problems[0]
    _show_everything(view)


def test_missing_files_of_an_iteration_are_survived(run: RunPaths) -> None:
    for path in run.lineage(0).root.rglob("*"):
        if path.is_file() and path.name in ("patch.diff", "stdout.log", "curves.npz", "stderr.log"):
            path.unlink()
    view = view_of(run)
    assert view.iterations[1].diff == ""
    _show_everything(view)


def test_a_failed_metric_is_a_failed_gate_with_its_reason(view: LineageView) -> None:
    row = next(row for row in rows.gate_rows(view) if row.metric == "nvt_rdf_wasserstein_a")
    assert (row.baseline.text, row.baseline.passed) == ("failed", False)
    assert "a force of 61 eV/Å" in row.baseline.note
    assert view.baseline is not None
    metric = next(row for row in rows.metric_rows(view.baseline) if row.metric == "nvt_rdf_wasserstein_a")
    assert metric.values_by_seed == ["failed"] * 3
    assert "a force of 61 eV/Å" in metric.reason


def test_a_gate_holds_only_on_every_seed(view: LineageView) -> None:
    row = rows.gate_cell(view.iterations[3], next(
        i for i, gate in enumerate(view.gates) if gate.metric == "large_cell_force_mae_mev_per_a"
    ))  # fmt: skip
    assert row.passed is False
    assert row.note == "fails on 1 of 3 seeds"


def test_a_gate_that_does_not_count_says_why(tmp_path: Path) -> None:
    (says,) = SPREAD
    made = SyntheticRun(tmp_path / "run", make_spec(seeds=[1, 2]))
    made.propose(0, None, {})
    made.candidate(0, 1.0, (says,))
    view = view_of(made.run)
    cells = {gate.metric: rows.gate_cell(view.baseline, index) for index, gate in enumerate(view.gates)}
    assert {cell.passed for cell in cells.values()} == {False}
    own = cells.pop(says)
    assert own.text == "failed" and "a force of 61 eV/Å" in own.note
    assert {cell.note for cell in cells.values()} == {f"nothing is shown where {says} is not ≥ 0.5"}


def test_a_candidate_under_evaluation(tmp_path_factory: pytest.TempPathFactory) -> None:
    made = SyntheticRun(tmp_path_factory.mktemp("x") / "run", make_spec(seeds=[1, 2]))
    made.propose(0, None, {})
    made.train(0, 1, 0.0)
    made.evaluate(0, 1, 0.0)
    made.start(JobKey(0, 2, "train"))
    view = view_of(made.run)
    found = status_dict(view)
    assert found["running_jobs"] == []
    assert [(job["job"], job["phase"]) for job in found["jobs_in_flight"]] == [
        ("0000/seed-2/train", "pending")
    ]
    assert "pending: 0000/seed-2/train" in status_line(found)
    rows_of = [(row["job"], row["state"]) for row in iteration_dict(view, 0)["jobs"]]
    assert rows_of[0] == ("0000/seed-1/train", "ok") and rows_of[-1] == ("0000/seed-2/train", "pending")
    assert found["gates"]["baseline_passed"] is None
    assert view.phase == "interrupted"
    assert view.baseline is not None and view.baseline.status == "running"
    assert rows.gate_cell(view.baseline, 0).note == "1 of 2 seeds measured"
    _show_everything(view)


def test_an_unknown_iteration_is_an_input_error(view: LineageView) -> None:
    for number in (-1, 5):
        with pytest.raises(InputError, match="iterations 0 to 4"):
            iteration_panel(view, number)


@pytest.mark.parametrize(
    ("pilot", "text"),
    [
        ({"kind": "random"}, "random search over 2 declared parameters (no language model)"),
        ({"kind": "tpe"}, "TPE search over 2 declared parameters (no language model)"),
        ({"kind": "cma-es"}, "CMA-ES search over 2 declared parameters (no language model)"),
        ({"kind": "hybrid", "model": "m"}, "language model m with TPE over 2 declared parameters"),
        ({"kind": "openai"}, "language model"),
        ({"kind": "openai", "model": "m", "replay": "runs/x"}, "replay of a language model m"),
    ],
)
def test_a_search_is_not_taken_for_a_language_model(
    view: LineageView, pilot: dict[str, str], text: str
) -> None:
    space = {"ema.decay": {"choices": [0.0, 0.9]}, "loss.energy": {"low": 0.1, "high": 10}}
    assert pilot_text(replace(view, spec=make_spec(pilot=pilot, space=space))) == text


def test_the_summary_is_computed(view: LineageView) -> None:
    text = summary(view)
    for part in (
        "scripted pilot (no language model)",
        "The baseline fails 10 of 26 gates",
        "4 hypotheses were tried: 2 accepted, 1 reverted and 1 invalid.",
        "The incumbent is iteration 2, “One-cycle schedule",
        "passes all 26 gates on every seed",
        "On sealed data, which no verdict has used",
        "It ended because the budget of 4 iterations is used up.",
    ):
        assert part in text


def test_an_isolation_that_is_weak_is_seen_in_status_and_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weak = Isolation(
        backend="slurm",
        filesystem="container",
        measured=True,
        mounts=["/srv/secret (ext4 /dev/sda, writable)"],
        variables=["SITE_TOKEN"],
    )
    monkeypatch.setattr("tests.report.synthetic.Isolation", lambda: weak)
    view = view_of(small_run(tmp_path / "run").run)
    found = json.loads(json.dumps(status_dict(view)))
    texts = "\n".join(found["isolation"]["open_doors"])
    line = status_line(found)
    names = ("progress", "gates", "parity", "training", "dynamics")
    page = context(view, [Picture(n, n, "", b"", b"") for n in names], Export(missing="no model"))
    for word in ("the host's network is open", "/srv/secret (ext4 /dev/sda, writable)", "SITE_TOKEN"):
        assert word in texts and word in line
        assert word in render_markdown(page) and word.replace("'", "&#39;") in render_html(page)
    assert line.count("warning: ") == 3 and "measured yes" in render_markdown(page)
