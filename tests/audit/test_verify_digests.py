"""What verify says of files that no manifest holds, on runs without training."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit import manifest, unlisted
from mlipilot.audit.manifest import MANIFEST, check_manifest, drop_unsealable, write_manifest
from mlipilot.controller.verification import verify_run
from mlipilot.paths import JobKey
from tests.events import event
from tests.report.synthetic import SyntheticRun, make_spec


def test_a_sealed_check_that_was_lost_is_no_fault_of_the_run(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "cu_emt", make_spec(seeds=[1]))
    made.propose(0, None, {})
    made.candidate(0, 0.0)
    attempt = made.start(JobKey(0, 1, "sealed"))
    (attempt / "stdout.log").write_text("half a line")
    made.ledger.append(event("job_finished", job="sealed", outcome="lost"))
    made.ledger.append(event("finished", reason="a test", incumbent=0))
    found = verify_run(made.run)
    assert not any("sealed-check" in problem for problem in found.problems)
    assert f"{attempt}: lost without a seal; what it left is not checked" in found.notes
    (attempt.parent / "attempt-2").mkdir()
    (attempt.parent / "attempt-2" / "stdout.log").write_text("of no record")
    assert any("attempt-2/stdout.log: no record" in problem for problem in verify_run(made.run).problems)


@pytest.fixture
def made(tmp_path: Path) -> SyntheticRun:
    """A lineage whose baseline is accepted, which is not over."""
    made = SyntheticRun(tmp_path / "cu_emt", make_spec(seeds=[1]))
    made.propose(0, None, {})
    made.candidate(0, 0.0)
    made.lineage.incumbent.symlink_to("iterations/0000")
    return made


@pytest.fixture
def finished(made: SyntheticRun) -> SyntheticRun:
    made.end("a test")
    assert verify_run(made.run).problems == []
    return made


TRAIN = "lineage-0/iterations/0000/seed-1/train"


@pytest.mark.parametrize(
    "name",
    [
        ".protected.json.a_c3efgh",
        ".manifest-sha256.txt.abcdefgh",
        ".report.html.abcdefgh",
        "data/.provenance.json.abcdefgh",
        f"{TRAIN}/.worker.json.abcdefgh",
        "image.sha256.4711",
        ".endpoint.4711",
        "..spool",
    ],
)
def test_what_a_killed_write_left_is_named_and_no_fault(finished: SyntheticRun, name: str) -> None:
    (finished.run.root / name).write_text("half of it")
    found = verify_run(finished.run)
    assert found.problems == []
    assert f"{finished.run.root / name}: left by a killed write, no part of the record" in found.notes


@pytest.mark.parametrize(
    "name",
    [
        ".model.pt.abcdefgh",  # of no file of the run's
        ".protected.json.abcdefg",
        ".protected.json.ABCDEFGH",
        "protected.json.abcdefgh",
        "lineage-0/.endpoint.4711",
        "image.sha256.x",
        "lineage-0/..spool",
        "export/.evil.py.abcdefgh",
        "lineage-0/.worker.json.abcdefgh",  # where no attempts are
        f"{TRAIN}/.evil.json.abcdefgh",
        f"{TRAIN}/attempt-1/.worker.json.abcdefgh",
    ],
)
def test_a_planted_file_does_not_pass_for_a_killed_write(finished: SyntheticRun, name: str) -> None:
    write_manifest(finished.run.root, [])  # a report's
    path = finished.run.root / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    assert [str(path) in problem for problem in verify_run(finished.run).problems].count(True) >= 1


@pytest.mark.parametrize("place", [Path.symlink_to, lambda path, _target: os.mkfifo(path)])
@pytest.mark.parametrize("name", [".protected.json.abcdefgh", f"{TRAIN}/.worker.json.abcdefgh"])
def test_what_is_no_regular_file_does_not_pass_for_a_killed_write(
    finished: SyntheticRun, name: str, place: Callable[[Path, str], None]
) -> None:
    place(finished.run.root / name, "/etc/passwd")
    assert any(name in problem for problem in verify_run(finished.run).problems)


def test_labels_that_were_made_for_the_run_are_no_part_of_the_record(finished: SyntheticRun) -> None:
    shard = finished.run.root / "data.labels" / "shards" / "0000"
    shard.mkdir(parents=True)
    (shard / "ethanol.jsonl").write_text("{}\n")
    found = verify_run(finished.run)
    assert found.problems == []
    assert any("data.labels: where the labels were made" in note for note in found.notes)


def _interrupted_report(made: SyntheticRun) -> list[Path]:
    files = [made.run.report_html, made.run.lineage_html(0), made.run.figures / "progress.png"]
    for path in (*files, made.run.figures / ".gates.png.abcdefgh"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    return files


def test_an_interrupted_report_is_an_unsealed_one(finished: SyntheticRun) -> None:
    files = _interrupted_report(finished)
    found = verify_run(finished.run)
    assert found.problems == []
    (note,) = (note for note in found.notes if "an unsealed report" in note)
    assert all(path.name in note for path in files)
    (finished.run.root / "report.txt").write_text("x")
    assert len(verify_run(finished.run).problems) == 1
    (finished.run.root / "report.txt").unlink()
    write_manifest(finished.run.root, files[:1])
    problems = verify_run(finished.run).problems
    assert [f"{path}: no record speaks of this file" in problems for path in files] == [False, True, True]


@pytest.mark.parametrize("anew", [False, True])
def test_a_report_that_is_made_anew_meanwhile_is_no_fault(
    finished: SyntheticRun, monkeypatch: pytest.MonkeyPatch, anew: bool
) -> None:
    files = _interrupted_report(finished)[:1]
    write_manifest(finished.run.root, files)

    def look(directory: Path, **options: Any) -> list[str]:
        if directory == finished.run.root:
            (directory / MANIFEST).unlink()
            files[0].write_text("another page")
            if anew:
                write_manifest(directory, files)
            return [f"{files[0]}: changed"]
        return check_manifest(directory, **options)

    monkeypatch.setattr(unlisted, "check_manifest", look)
    assert verify_run(finished.run).problems == []


def test_a_manifest_that_vanishes_is_not_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "is_finished", lambda _: True)
    assert check_manifest(tmp_path) == [f"{tmp_path}: not finished ({MANIFEST} is missing)"]


def test_a_late_workers_claim_is_not_sealed_with_the_job(tmp_path: Path) -> None:
    claim = tmp_path / "train" / ".worker.json.abcdefgh"
    (tmp_path / "train" / "attempt-1").mkdir(parents=True)
    (tmp_path / "train" / "attempt-1" / "worker.json").write_text("{}")
    claim.write_text("{}")
    drop_unsealable(tmp_path)
    write_manifest(tmp_path)
    claim.unlink()
    assert check_manifest(tmp_path) == []


def test_what_a_kill_left_of_a_turn_is_a_note_until_the_lineage_is_over(made: SyntheticRun) -> None:
    transcript, link = made.lineage.transcript, made.lineage.incumbent
    transcript.write_text("{}\n")
    link.unlink()
    found = verify_run(made.run)
    assert found.problems == []
    assert any(
        f"{transcript}:1: a line that the ledger does not know; a contr" in note for note in found.notes
    )
    assert any(f"{link}: does not point at iterations/0000" in note for note in found.notes)
    made.end("a test")
    assert [p.split(": ")[0] for p in verify_run(made.run).problems] == [f"{transcript}:1", str(link)]


def test_what_is_recorded_after_the_end_does_not_open_the_lineage_again(finished: SyntheticRun) -> None:
    finished.ledger.append(event("cancelled"))
    (finished.lineage.root / "extra.txt").write_text("x")
    assert any("extra.txt: no record" in problem for problem in verify_run(finished.run).problems)
