"""A verdict that the metrics do not give is found by everybody who reads a run, though every digest holds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mlipilot.audit.files import sha256_file, write_json
from mlipilot.audit.manifest import write_manifest
from mlipilot.audit.verify_digests import verify_digests
from mlipilot.campaign.spec import RUN_FORMAT
from mlipilot.cli.app import app
from mlipilot.controller.state import replay
from mlipilot.controller.verdict import Measurements, compute_verdict
from mlipilot.controller.verification import verify_lineage, verify_run, wrong_records
from mlipilot.errors import CheckFailedError, InputError, MlipilotError
from mlipilot.paths import RunPaths
from tests.events import event
from tests.report.synthetic import SyntheticRun, make_spec

BETTER = {"learning_rate: 0.01": "learning_rate: 0.02"}


def _judge_well(made: SyntheticRun, number: int) -> None:
    """What a forger's controller writes: the worse candidate is accepted, and all of it is sealed."""
    state = replay(made.ledger.records)
    body = compute_verdict(state, state.iterations[number], Measurements(made.lineage, made.spec, made.card))
    assert body["verdict"] == "reverted"
    body |= {"verdict": "accepted", "incumbent": number}
    directory = made.lineage.iteration(number)
    write_json(directory / "verdict.json", body)
    record = {key: body[key] for key in body if key not in ("title", "scores")}
    record["manifest_sha256"] = write_manifest(directory)
    record["verdict_sha256"] = sha256_file(directory / "verdict.json")
    made.ledger.append(event("verdict", record))


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    made = SyntheticRun(tmp_path_factory.mktemp("forged") / "cu_emt", make_spec(seeds=[1]))
    made.propose(0, None, {})
    made.candidate(0, 0.5)
    made.propose(1, None, BETTER)
    made.train(1, 1, 0.1)
    made.evaluate(1, 1, 0.1)
    _judge_well(made, 1)
    made.lineage.incumbent.symlink_to("iterations/0001")
    made.end("a test")
    return made.run


def test_its_only_fault_is_the_verdict(forged: RunPaths) -> None:
    assert verify_digests(forged).problems == []
    (said,) = verify_run(forged).problems
    path = forged.lineage(0).iteration(1) / "verdict.json"
    assert said.startswith(f"{forged.lineage(0).ledger}:")
    assert said.endswith(f"verdict: {path} is not what metrics and scorecard give when computed again")
    assert verify_lineage(forged, forged.lineage(0)) == [said]


@pytest.mark.parametrize("verb", ["verify", "merge", "reproduce"])
def test_no_verb_goes_on_with_it(
    verb: str, forged: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [verb, "together", str(forged.root)] if verb == "merge" else [verb, str(forged.root)]
    with pytest.raises(MlipilotError) as refused:
        app(words, standalone_mode=False)
    assert isinstance(refused.value, InputError if verb == "merge" else CheckFailedError)
    assert verb == "verify" or "0001/verdict.json is not what metrics and scorecard give" in str(
        refused.value
    )
    assert list(tmp_path.iterdir()) == []


def test_a_line_that_is_being_written_hides_nothing_and_a_broken_chain_is_named(
    forged: RunPaths, tmp_path: Path
) -> None:
    run = RunPaths(Path(shutil.copytree(forged.root, tmp_path / "cu_emt", symlinks=True)))
    ledger = run.lineage(0).ledger
    with ledger.open("ab") as stream:
        stream.write(b'{"body":')
    assert len(wrong_records(run, run.lineage(0))) == 1
    ledger.write_bytes(ledger.read_bytes().replace(b'"seed":1', b'"seed":2', 1))
    (said,) = wrong_records(run, run.lineage(0))
    assert "does not match its hash" in said


def test_the_report_says_so(forged: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlipilot.report.figures.render", lambda draw, theme: b"x")  # drawing takes seconds
    app(["report", str(forged.root), "--output", str(tmp_path / "report")], standalone_mode=False)
    for name in ("report.html", "report.md"):
        page = (tmp_path / "report" / name).read_text()
        assert "0001/verdict.json is not what metrics and scorecard give when computed again" in page


@pytest.mark.parametrize("verb", ["verify", "status", "report", "resume"])
def test_a_run_of_a_newer_format_is_refused_by_every_verb(
    verb: str, forged: RunPaths, tmp_path: Path
) -> None:
    run = RunPaths(Path(shutil.copytree(forged.root, tmp_path / "cu_emt", symlinks=True)))
    text = run.spec.read_text()
    run.spec.write_text(text.replace(f"format: {RUN_FORMAT}\n", f"format: {RUN_FORMAT + 1}\n"))
    assert run.spec.read_text() != text
    with pytest.raises(MlipilotError, match="this run was made by a newer version") as refused:
        app([verb, str(run.root)], standalone_mode=False)
    assert refused.value.exit_status == 2


def test_verify_says_it_in_json(forged: RunPaths, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CheckFailedError, match="1 of the run's files or records"):
        app(["verify", str(forged.root), "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], len(found["problems"])) == (False, 1)
