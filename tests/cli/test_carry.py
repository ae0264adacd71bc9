"""What `run` and `resume` share around the loop."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlipilot.cli.carry import carry_on
from tests.report.scenarios import small_run


def test_a_start_that_nobody_asked_for_leaves_a_report_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small_run(tmp_path / "run").run
    run.report_html.write_text("as it was")
    before = run.lineage(0).ledger.read_bytes()
    carry_on(run, 0, unattended=True)
    assert "is over already" in capsys.readouterr().out
    assert run.report_html.read_text() == "as it was" and run.lineage(0).ledger.read_bytes() == before
