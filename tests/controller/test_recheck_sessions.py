"""Whether a controller can have taken a lineage up as its ledger says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.claims import claim_file
from mlipilot.audit.events import Event
from mlipilot.audit.ledger import Ledger
from mlipilot.controller.recheck import recheck_records
from mlipilot.controller.recheck_sessions import Sessions
from mlipilot.controller.state import State
from mlipilot.paths import JobKey
from tests.controller.desk import PILOT
from tests.events import event
from tests.report.synthetic import SyntheticRun, make_spec


def _made(root: Path, claims: int, **jobs: Any) -> SyntheticRun:
    made = SyntheticRun(root, make_spec(seeds=[1], **jobs))
    made.propose(0, None, {})
    made.lineage.controller.mkdir()
    for epoch in range(1, claims + 1):
        claim_file(made.lineage.controller, epoch).touch()
    return made


def _faults(made: SyntheticRun, *events: Event) -> list[str]:
    for each in events:
        made.ledger.append(each)
    return recheck_records(made.run, made.lineage)


def _session(epoch: int | None, **said: Any) -> Event:
    return event("resumed", epoch=epoch, **said)


@pytest.mark.parametrize(
    ("epochs", "said"),
    [
        ([1, 2], None),
        ([1, 3], None),  # the one between found nothing to do, or was `mlipilot unlock`
        ([None, 1], None),  # earlier versions had none
        ([2, None], "it has no epoch, and the session before it had 2"),
        ([2, 2], "epoch 2 does not follow that of the session before it, 2"),
        ([2, 1], "epoch 1 does not follow that of the session before it, 2"),
    ],
)
def test_epochs_of_sessions_go_up(epochs: list[int | None], said: str | None, tmp_path: Path) -> None:
    found = _faults(_made(tmp_path / "cu_emt", 3), *map(_session, epochs))
    assert [fault.partition(": resumed: ")[2] for fault in found] == ([said] if said else [])


def test_each_session_has_left_its_claim(tmp_path: Path) -> None:
    made = _made(tmp_path / "cu_emt", 1)
    assert _faults(made, _session(1)) == []
    (said,) = _faults(made, _session(2))
    assert said.endswith(
        f"there is no claim {claim_file(made.lineage.controller, 2)}, and none is ever removed"
    )


def test_a_controller_whose_models_job_was_lost_begins_anew_under_its_claim(tmp_path: Path) -> None:
    served = {"pilot": {key: PILOT[key] for key in ("kind", "model")}, "jobs": {"backend": "slurm"}}
    assert _faults(_made(tmp_path / "served", 1, **served), _session(1), _session(1)) == []
    elsewhere = served | {"pilot": PILOT}
    (said,) = _faults(_made(tmp_path / "elsewhere", 1, **elsewhere), _session(1), _session(1))
    assert "does not follow" in said


@pytest.mark.parametrize("end", ["paused", "cancelled"])
def test_after_its_end_a_session_did_nothing_more(end: str, tmp_path: Path) -> None:
    made = _made(tmp_path / "cu_emt", 1)
    ended = event(end, {"reason": "x"} if end == "paused" else {})
    assert _faults(made, ended, event("paused", reason="again"), event("cancelled")) == []
    made.start(JobKey(0, 1, "train"))
    assert any(said.endswith("and no record takes it up again") for said in _faults(made))


def test_what_was_cancelled_is_taken_up_by_a_person_alone(tmp_path: Path) -> None:
    made = _made(tmp_path / "cu_emt", 2)
    assert _faults(made, event("paused", reason="x"), _session(1, unattended=True)) == []
    (said,) = _faults(made, event("cancelled"), _session(2, unattended=True))
    assert said.endswith("what was cancelled is not taken up unless a person asks for it")


def test_nothing_is_taken_up_that_has_not_begun(tmp_path: Path) -> None:
    made = _made(tmp_path / "cu_emt", 1)
    made.lineage.ledger.unlink()
    record = Ledger(made.lineage.ledger).append(_session(1))
    (said,) = Sessions(made.lineage, made.spec, [record]).faults(record, State())
    assert said == "no record says how the lineage began that it takes up"
