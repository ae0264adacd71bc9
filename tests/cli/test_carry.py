"""What `run` and `resume` share around the loop."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlipilot.cli import carry
from mlipilot.cli.carry import carry_on
from mlipilot.controller.loop import CancelledError
from mlipilot.controller.state import State
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


@pytest.mark.parametrize("unattended", [False, True])
def test_the_lineage_is_told_whether_somebody_asked_for_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unattended: bool
) -> None:
    made = small_run(tmp_path / "run")
    monkeypatch.setattr(carry, "replay", lambda _records: State())  # it is not over
    told: list[bool] = []

    def run_lineage(*_: object, unattended: bool) -> State:
        told.append(unattended)
        raise CancelledError("enough")

    monkeypatch.setattr(carry, "run_lineage", run_lineage)
    with pytest.raises(CancelledError, match="enough"):
        carry_on(made.run, 0, unattended=unattended)
    assert told == [unattended]
