"""What a controller refuses before it takes a step."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlipilot.audit.ledger import Ledger, read_ledger
from mlipilot.campaign.paths import RunPaths
from mlipilot.campaign.spec import load_campaign
from mlipilot.cli.console import ConsoleObserver
from mlipilot.controller.loop import CancelledError, run_lineage
from mlipilot.controller.prepare import create_run
from mlipilot.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    """A run that has begun to be one, and nothing more."""
    run = RunPaths(tmp_path / "run")
    create_run(load_campaign(REPOSITORY / "campaigns" / "cu_emt.yaml"), run)
    return run


def test_a_start_that_nobody_asked_for_leaves_a_cancelled_lineage_alone(run: RunPaths) -> None:
    run.lineage(1).root.mkdir()
    Ledger(run.lineage(1).ledger).append("cancelled", {})
    run.lineage(1).cancel.touch()  # a kill came between the record and the end of the request
    with pytest.raises(CancelledError, match=r"lineage 1 was cancelled; .*--lineage 1"):
        run_lineage(run, 1, ConsoleObserver(), unattended=True)
    assert [record.kind for record in read_ledger(run.lineage(1).ledger)] == ["cancelled"]
    assert not run.lineage(1).cancel.exists() and not run.data.exists()


@pytest.mark.parametrize("inside", [None, "b" * 64])
def test_outside_its_image_a_run_does_not_go_on(
    run: RunPaths, monkeypatch: pytest.MonkeyPatch, inside: str | None
) -> None:
    run.image_digest.write_text("a" * 64 + "\n")
    if inside:
        monkeypatch.setenv("MLIPILOT_IMAGE_SHA256", inside)
    with pytest.raises(InputError, match="goes on inside its image"):
        run_lineage(run, 0, ConsoleObserver())
    assert not run.lineage(0).ledger.exists() and not run.data.exists()


def test_a_lineage_without_a_record_is_not_begun(run: RunPaths, tmp_path: Path) -> None:
    campaign = load_campaign(
        REPOSITORY / "campaigns" / "cu_emt.yaml", None, [f"pilot.replay={run.root}", "pilot.kind=openai"]
    )
    again = RunPaths(tmp_path / "again")
    create_run(campaign, again)
    with pytest.raises(InputError, match=r"there is no lineage 0 to be replayed \(there: none\)"):
        run_lineage(again, 0, ConsoleObserver())
    assert not again.lineage(0).ledger.exists() and not again.data.exists()
