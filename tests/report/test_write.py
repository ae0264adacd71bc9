"""Writing the report: complete, sealed, and repeatable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from filelock import FileLock, Timeout
from typer.testing import CliRunner

from mlipilot.audit.ledger import LedgerError
from mlipilot.audit.manifest import MANIFEST, check_manifest, read_manifest
from mlipilot.cli.app import app
from mlipilot.controller.verification import verify_run
from mlipilot.errors import InputError
from mlipilot.paths import RunPaths
from mlipilot.report.export import Export
from mlipilot.report.figures import Picture
from mlipilot.report.view import LineageView
from mlipilot.report.write import write_report
from tests.report.synthetic import SyntheticRun

NAMES = ("progress", "gates", "parity", "training", "dynamics")
PICTURES = {f"figures/{name}.png" for name in NAMES}


def test_a_finished_runs_report_is_sealed(run: RunPaths) -> None:
    """With the true figures."""
    assert write_report(run, run.lineage(0)) == run.report_html
    assert set(read_manifest(run.root)) == PICTURES | {"report.html", "report.md"}
    assert check_manifest(run.root, allow_extra=True) == []
    assert (run.figures / "progress.png").read_bytes().startswith(b"\x89PNG")
    assert run.report_html.stat().st_size < 3_000_000


@pytest.mark.usefixtures("quick_pictures")
def test_the_same_run_gives_the_same_report(run: RunPaths) -> None:
    first = {
        path: path.read_bytes()
        for path in (write_report(run, run.lineage(0)), run.report_md, run.root / MANIFEST)
    }
    write_report(run, run.lineage(0))
    assert {path: path.read_bytes() for path in first} == first


@pytest.mark.usefixtures("quick_pictures")
def test_an_earlier_reports_files_go(run: RunPaths) -> None:
    write_report(run, run.lineage(0))
    stale, foreign = run.figures / "old.png", run.figures / "mine.png"
    stale.write_bytes(b"x")
    foreign.write_bytes(b"x")
    manifest = run.root / MANIFEST
    manifest.write_text(
        manifest.read_text() + f"{'0' * 64}  figures/old.png\n{'0' * 64}  data/provenance.json\n"
    )
    write_report(run, run.lineage(0))
    assert not stale.exists()
    assert foreign.exists()
    assert (run.data / "provenance.json").exists()
    assert check_manifest(run.root, allow_extra=True) == []


@pytest.mark.usefixtures("quick_pictures")
def test_each_of_several_lineages_has_a_page_that_the_runs_page_leads_to(several: RunPaths) -> None:
    assert write_report(several) == several.report_html
    page = several.report_html.read_text()
    assert page.index('id="lineages"') < page.index("Lineage 1, the best") < page.index('id="scorecard"')
    assert re.findall(r'href="(report[^"]*|#lineage)"', page) == [
        "#lineage", "#lineage", "report-lineage-0.html", "report-lineage-2.html",
    ]  # fmt: skip
    for number, incumbent in enumerate((2, 2, 1)):
        own = several.lineage_html(number).read_text()
        assert f"<h1>cu_emt, lineage {number}</h1>" in own
        assert '<a href="report.html">All 3 lineages</a>' in own
        assert f"The incumbent is iteration {incumbent}," in own
    listed = {f"report-lineage-{number}.html" for number in range(3)} | {
        "figures/lineages.png",
        "figures/verdicts.png",
    }
    assert set(read_manifest(several.root)) == PICTURES | listed | {"report.html", "report.md"}
    assert not [problem for problem in verify_run(several).problems if "report" in problem]
    assert "## Lineages" in several.report_md.read_text()


@pytest.mark.usefixtures("quick_pictures")
def test_a_lineage_that_is_asked_for_is_shown_and_the_best_is_named_and_exported(
    several: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = []

    def export(view: LineageView, _directory: Path) -> Export:
        exported.append(view.lineage.number)
        return Export(missing="of which this test makes none")

    monkeypatch.setattr("mlipilot.report.write.export_incumbent", export)
    write_report(several, several.lineage(2))
    page = several.report_html.read_text()
    assert '<h2 id="lineage" class="part">Lineage 2</h2>' in page
    assert "lineage 1 (scripted) is the best" in page
    assert "It is paused: the endpoint is down." in page
    assert "the run&#39;s exported model is that of lineage 1, the best" in page
    assert "of which this test makes none" in several.lineage_html(1).read_text()
    assert exported == [1]


@pytest.mark.usefixtures("quick_pictures")
def test_the_verb_writes_a_runs_report_and_knows_its_lineages(several: RunPaths) -> None:
    done = CliRunner().invoke(app, ["report", str(several.root)])
    assert done.stdout == f"report: {several.report_html}\n"
    refused = CliRunner().invoke(app, ["report", str(several.root), "--lineage", "3"])
    assert isinstance(refused.exception, InputError)
    assert "begun: 0, 1, 2" in str(refused.exception)


@pytest.mark.usefixtures("quick_pictures")
def test_one_lineage_has_one_page_without_a_section_on_lineages(run: RunPaths) -> None:
    page = write_report(run).read_text()
    assert 'id="lineages"' not in page
    assert "report-lineage" not in page
    assert "# Lineage" not in run.report_md.read_text()
    assert sorted(run.root.glob("report*")) == [run.report_html, run.report_md, run.reports]


@pytest.mark.usefixtures("quick_pictures")
def test_a_broken_ledger_is_left_out_of_the_runs_report_and_named(several: RunPaths) -> None:
    write_report(several)
    ledger = several.lineage(1).ledger
    ledger.write_bytes(ledger.read_bytes().replace(b'"seed":1001', b'"seed":1003', 1))
    page = write_report(several).read_text()
    assert "Lineage 1 is left out: lineage-1/ledger.jsonl:" in page and "does not match its hash" in page
    assert "Lineage 0, the best" in page
    assert not several.lineage_html(1).exists()
    with pytest.raises(LedgerError):
        write_report(several, several.lineage(1))


@pytest.mark.usefixtures("quick_pictures")
def test_models_of_an_interrupted_report_go(several: RunPaths) -> None:
    several.export.mkdir()
    stale, foreign = several.export / "cu_emt-seed1.model", several.export / "mine.model"
    for path in (stale, foreign):
        path.write_bytes(b"x")
    write_report(several)
    assert not stale.exists()
    assert foreign.exists()


@pytest.mark.usefixtures("quick_pictures")
def test_one_lineage_at_a_time_writes_the_report(run: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(_view: LineageView) -> list[Picture]:
        with pytest.raises(Timeout):
            FileLock(run.report_lock).acquire(timeout=0)
        return [Picture(name, name, name, missing="no need") for name in NAMES]

    monkeypatch.setattr("mlipilot.report.write.draw_all", draw)
    write_report(run)
    FileLock(run.report_lock).acquire(timeout=0).lock.release()


def test_an_unfinished_runs_report_says_what_is_missing(tmp_path_factory: pytest.TempPathFactory) -> None:
    made = SyntheticRun(tmp_path_factory.mktemp("x") / "run")
    made.propose(0, None, {})
    html = write_report(made.run, made.run.lineage(0)).read_text()
    for said in (
        "not drawn",
        "there is no incumbent yet",
        "The baseline has not been measured",
        "Not made yet",
    ):
        assert said in html
    assert set(read_manifest(made.run.root)) == {"report.html", "report.md"}


def test_what_is_no_run_is_an_input_error(tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = RunPaths(tmp_path_factory.mktemp("x"))
    with pytest.raises(InputError):
        write_report(empty)
    assert not list(empty.root.iterdir())
