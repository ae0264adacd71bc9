"""Runs of every format that was ever released, gone on with: what is due is read from what is on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mlipilot.audit import protected
from mlipilot.audit.files import sha256_file, write_json
from mlipilot.audit.ledger import read_ledger
from mlipilot.audit.settled import SettledRequests
from mlipilot.controller.carrying import run_lineage
from mlipilot.controller.observer import Silent
from mlipilot.controller.state import replay
from mlipilot.controller.verification import verify_run
from mlipilot.errors import PausedError
from mlipilot.paths import RunPaths
from tests.endpoint.faulty_server import Behaviour, FaultyServer, error
from tests.runs.kept import Kept, contents, ledger_lines, runs_of, verb
from tests.runs.model import ADDRESS, PROBE, calls

WITHDRAW = calls("give_up", reason="Nothing else comes to mind.")


def take_for_the_runs_own(run: RunPaths) -> None:
    """Put the present toolkit's digests into `protected.json`, in place of its that made the run.

    By design a run is not gone on with when a protected file has changed, and the toolkit is protected. What
    is tested after this is that a later version *could*: that it reads the ledger, the drafts, the spool and
    the transcript well enough to know what is due, and to do it. Nobody is to do this to a run that counts:
    `verify` finds it, and so it must.
    """
    recorded = json.loads(run.protected.read_text())
    own = {name: digest for name, digest in recorded.items() if name.startswith("run/")}
    now = {name: sha256_file(path) for name, path in protected.package_files().items()}
    write_json(run.protected, own | now)


@runs_of("local", "slurm")
@pytest.mark.usefixtures("later_toolkit", "signals")
def test_a_later_version_goes_on_with_none_of_them_and_damages_nothing(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADDRESS, "http://127.0.0.1:9/v1")  # which is not asked
    assert kept.unfinished
    for number in kept.unfinished:
        ledger = kept.run.lineage(number).ledger
        before, lines = contents(kept.run), ledger.read_bytes()
        changed = protected.differing_toolkit(protected.read_protected(kept.run.protected))
        said = verb("resume", kept.run.root, "--lineage", str(number), status=75)
        assert "protected files are not as they were when the run began" in said
        assert changed[0] in said and "restore them and resume, or begin a new run" in said
        assert "the toolkit that began a run resumes it" in said
        assert ledger.read_bytes().startswith(lines)
        (paused,) = kept.new_lines(number)
        assert paused["kind"] == "paused" and changed[0] in paused["body"]["reason"]
        after = contents(kept.run)
        differing = {name for name in before | after if before.get(name) != after.get(name)}
        claims = f"lineage-{number}/controller/"
        assert {name for name in differing if not name.startswith(claims)} == {
            str(ledger.relative_to(kept.run.root))
        }
    assert json.loads(verb("verify", kept.run.root, "--json"))["ok"] is True


@runs_of("slurm")
@pytest.mark.usefixtures("later_toolkit")
def test_what_slurm_ended_without_a_controller_is_collected(kept: Kept) -> None:
    """Of one of the two jobs `spool/settled` alone tells, of the other its receipt; neither is run again."""
    run = kept.run
    take_for_the_runs_own(run)
    settled = SettledRequests(run.spool).names()
    assert settled and any((run.spool / "receipts").iterdir())
    run_lineage(run, 0, Silent())
    new = kept.new_lines(0)
    assert [line["kind"] for line in new] == [
        *("resumed", "job_finished", "job_finished", "sealed_check", "finished")
    ]
    ended = [line["body"] for line in new if line["kind"] == "job_finished"]
    assert all(body["outcome"] == "ok" and body["job_id"] and body["job_name"] for body in ended)
    assert sorted(body["job_name"] in settled for body in ended) == [False, True]
    _verifies_but_for_the_replaced_digests(run)


@runs_of("local")
@pytest.mark.usefixtures("later_toolkit")
def test_a_draft_that_was_sent_back_goes_on_to_its_pilot(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pilot is told of all that lineages did before; then its endpoint fails, so that no job is run."""
    run = kept.run
    take_for_the_runs_own(run)
    with pytest.raises(PausedError), _model(monkeypatch, PROBE, WITHDRAW, error(500)) as server:
        run_lineage(run, 1, Silent())
    new = kept.new_lines(1)
    assert [line["kind"] for line in new] == [
        *("resumed", "endpoint_probed", "heard", "exchange", "no_proposal", "heard", "paused")
    ]
    others = kept.said[0]["kinds"]
    assert new[2]["body"]["findings"] == others["lesson"]
    assert new[2]["body"]["records"] == {"0": sum(others.values())}
    asked = "\n".join(message["content"] for message in server.requests[1]["messages"])
    told = [line["body"]["text"] for line in ledger_lines(run, 1) if line["kind"] == "reviewed"]
    told += [line["body"]["text"] for line in ledger_lines(run, 0) if line["kind"] == "lesson"]
    assert len(told) > 1 and all(text in asked for text in told)
    _verifies_but_for_the_replaced_digests(run)


@pytest.mark.slow
@runs_of("local")
@pytest.mark.usefixtures("signals")
def test_a_cancelled_lineage_goes_on_to_its_end(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pilot gives up, and the models of old are measured on what no verdict has used."""
    take_for_the_runs_own(kept.run)
    with _model(monkeypatch, PROBE, WITHDRAW, WITHDRAW):
        assert "report" in verb("resume", kept.run.root, "--lineage", "1")
    state = replay(read_ledger(kept.run.lineage(1).ledger))
    assert state.phase == "finished" and state.gave_up and state.sealed_check
    assert kept.run.report_html.exists()
    _verifies_but_for_the_replaced_digests(kept.run)


@contextmanager
def _model(monkeypatch: pytest.MonkeyPatch, *answers: Behaviour) -> Iterator[FaultyServer]:
    """The model of a kept run: it is asked at whatever address the environment has."""
    with FaultyServer() as server:
        server.answers(*answers)
        monkeypatch.setenv(ADDRESS, server.base_url)
        yield server


def _verifies_but_for_the_replaced_digests(run: RunPaths) -> None:
    started = {ledger_lines(run, n.number)[0]["body"]["protected_sha256"] for n in run.lineages()}
    problems = verify_run(run).problems
    assert bool(problems) == (started != {sha256_file(run.protected)})  # the same on the day of its making
    assert all(problem.startswith(f"{run.protected}: changed") for problem in problems)
