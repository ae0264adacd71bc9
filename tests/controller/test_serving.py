"""Which lineages share the model's job, and which of them ends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.ledger import Ledger
from mlipilot.campaign.spec import dump_spec
from mlipilot.controller.observer import Silent
from mlipilot.controller.serving import end_if_last, endpoint_job
from mlipilot.paths import RunPaths
from tests.events import event
from tests.report.synthetic import make_spec

ON_SLURM = {"backend": "slurm"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPaths:
    """The run of a campaign of three lineages whose site has a model."""
    monkeypatch.setenv("MLIPILOT_ENDPOINT", "/models/tiny.gguf")
    monkeypatch.setenv("MLIPILOT_LINEAGES", "0-2")
    monkeypatch.delenv("OWN_URL", raising=False)
    return RunPaths(tmp_path)


def _write(run: RunPaths, **spec: Any) -> None:
    run.spec.write_text(dump_spec(make_spec(**{"pilot": {"kind": "openai"}, "jobs": ON_SLURM} | spec)))


def _ends(run: RunPaths, number: int) -> bool:
    """Whether the end of that lineage is the end of the job."""

    class Job:
        ended = False

        def end(self) -> None:
            self.ended = True

    end_if_last(job := Job(), run, number)  # type: ignore[arg-type]  # all that is asked of it
    return job.ended


def _record(run: RunPaths, number: int, kind: str) -> None:
    run.lineage(number).root.mkdir(exist_ok=True)
    Ledger(run.lineage(number).ledger).append(event(kind))


@pytest.mark.parametrize(
    ("spec", "has_job"),
    [
        ({}, True),
        ({"jobs": {"backend": "local"}}, False),
        ({"pilot": {"kind": "scripted"}}, False),
        ({"pilot": {"kind": "openai", "base_url": "http://a/v1"}}, False),
        ({"pilot": {"kind": "openai", "base_url": "http://a/v1", "analyst": {"base_url": None}}}, True),
        ({"pilot": {"kind": "openai", "base_url_env": "OWN_URL"}}, True),
    ],
)
def test_a_job_serves_the_roles_that_have_no_address(
    run: RunPaths, spec: dict[str, Any], has_job: bool
) -> None:
    _write(run, **spec)
    assert (endpoint_job(run, 0, Silent()) is not None) is has_job


def test_a_variable_of_the_pilots_own_goes_before_the_job(
    run: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OWN_URL", "http://a/v1")
    _write(run, pilot={"kind": "openai", "base_url_env": "OWN_URL"})
    assert endpoint_job(run, 0, Silent()) is None


def test_without_a_model_of_the_site_there_is_no_job(run: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLIPILOT_ENDPOINT")
    _write(run)
    assert endpoint_job(run, 0, Silent()) is None


def test_the_last_lineage_to_end_ends_the_job(run: RunPaths) -> None:
    _write(run)
    _record(run, 0, "finished")
    assert not _ends(run, 0), "lineages 1 and 2 are still to come"
    _record(run, 1, "campaign_started")
    _record(run, 2, "paused")
    assert not _ends(run, 0), "lineage 1 works, or its successor will"
    _record(run, 1, "cancelled")
    assert _ends(run, 0)


def test_a_lineage_that_asks_another_endpoint_is_not_waited_for(run: RunPaths) -> None:
    _write(run, pilot={"kind": "openai"}, pilots=[{"kind": "openai"}, {"kind": "scripted"}])
    assert not _ends(run, 0), "lineage 2 asks the model again"
    _record(run, 2, "finished")
    assert _ends(run, 0)


def test_lineages_of_another_cluster_are_not_waited_for(
    run: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(run)
    monkeypatch.setenv("MLIPILOT_LINEAGES", "4-5")
    assert not _ends(run, 4), "lineage 5 is still to come"
    _record(run, 5, "finished")
    assert _ends(run, 4), "0 to 3 never begin here"


def test_a_lineage_whose_search_is_over_needs_no_model_though_its_fresh_seeds_are_trained(
    run: RunPaths,
) -> None:
    _write(run, budget={"iterations": 1, "optimizer_steps": 1}, confirm={"seeds": 3})
    for number in (0, 1, 2):
        _record(run, number, "campaign_started")
    ledgers = [Ledger(run.lineage(number).ledger) for number in (1, 2)]
    for ledger in ledgers:
        ledger.append(event("proposed", iteration=0))
        ledger.append(event("verdict", iteration=0))
    assert not _ends(run, 0), "the others may ask yet"
    for ledger in ledgers:
        ledger.append(event("proposed", iteration=1))
        ledger.append(event("verdict", iteration=1, incumbent=1))
    assert not _ends(run, 0), "the analyst is to be asked"
    for ledger in ledgers:
        ledger.append(event("lesson", iteration=1, text=""))
    assert _ends(run, 0)
