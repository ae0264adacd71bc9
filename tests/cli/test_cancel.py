"""Cancelling a run that is over."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from mlipilot.cli.app import app
from mlipilot.paths import RunPaths
from tests.report.scenarios import finished_run


def test_a_run_that_is_over_stays_as_it_is(tmp_path: Path) -> None:
    finished_run(tmp_path / "cu_emt")
    run = RunPaths(tmp_path / "cu_emt")
    lineage = run.lineage(0)
    before = lineage.ledger.read_bytes()
    told = CliRunner().invoke(app, ["cancel", str(run.root)])
    assert told.exit_code == 0 and "nothing to cancel" in told.stdout
    assert lineage.ledger.read_bytes() == before and not lineage.cancel.exists()
