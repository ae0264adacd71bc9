"""Writing the report: complete, sealed, and repeatable."""

from __future__ import annotations

import pytest

from mlipilot.audit.manifest import MANIFEST, check_manifest, read_manifest
from mlipilot.campaign.paths import RunPaths
from mlipilot.errors import InputError
from mlipilot.report.write import write_report
from tests.report.synthetic import SyntheticRun

PICTURES = {f"figures/{name}.png" for name in ("progress", "gates", "parity", "training", "dynamics")}


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
        write_report(empty, empty.lineage(0))
