"""Reports on record: a page or an exported model is the one that was written, and of these ledgers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from mlipilot.audit.files import sha256_file
from mlipilot.audit.ledger import Ledger, LedgerError, read_ledger
from mlipilot.audit.manifest import MANIFEST, read_manifest, write_manifest
from mlipilot.audit.reports import note_report
from mlipilot.controller.verification import verify_run
from mlipilot.paths import RunPaths
from mlipilot.report.write import write_report
from tests.events import event
from tests.report.synthetic import SyntheticRun


@pytest.fixture
def run(tmp_path: Path, quick_pictures: None) -> RunPaths:
    """A finished run with its report."""
    made = SyntheticRun(tmp_path / "cu_emt")
    made.propose(0, None, {})
    made.candidate(0, 0.0)
    made.lineage.incumbent.symlink_to("iterations/0000")
    made.end("a test")
    write_report(made.run)
    assert verify_run(made.run).problems == []
    return made.run


def seal_anew(run: RunPaths) -> None:
    """The manifest that goes with the files as they are now."""
    write_manifest(run.root, [run.root / name for name in read_manifest(run.root)])


def test_a_report_is_on_record_once_with_its_manifest_and_ledgers(run: RunPaths) -> None:
    write_report(run)
    (record,) = read_ledger(run.reports)
    heads = {"0": read_ledger(run.lineage(0).ledger)[-1].hash}
    assert json.loads(run.reports.read_text())["body"] == {
        "heads": heads,
        "manifest_sha256": sha256_file(run.root / MANIFEST),
    }
    Ledger(run.lineage(0).ledger).append(event("resumed"))
    write_report(run)
    first, second = read_ledger(run.reports)
    assert first == record and second.prev == first.hash


def test_one_that_is_written_elsewhere_is_not_on_record(run: RunPaths, tmp_path: Path) -> None:
    before = run.reports.read_bytes()
    write_report(run, output=tmp_path / "elsewhere")
    assert run.reports.read_bytes() == before and not (tmp_path / "elsewhere" / run.reports.name).exists()


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_a_changed_page_is_found_though_the_manifest_was_made_anew(run: RunPaths, name: str) -> None:
    path = run.root / name
    path.write_text(path.read_text().replace("1", "2", 1))
    seal_anew(run)
    assert verify_run(run).problems == [f"{run.root / MANIFEST}: not that of the report that is on record"]


def test_an_exported_model_that_nobody_exported_is_found(run: RunPaths) -> None:
    planted = run.export / "cu_emt-lineage-0-iteration-0000-seed-1.model"
    planted.parent.mkdir(exist_ok=True)
    planted.write_bytes(b"cos\nsystem\n")
    write_manifest(run.root, [*(run.root / name for name in read_manifest(run.root)), planted])
    assert f"{run.root / MANIFEST}: not that of the report that is on record" in verify_run(run).problems


def _cut(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def _write_anew(path: Path) -> None:
    _cut(path)
    Ledger(path).append(event("finished", reason="another", incumbent=0))


@pytest.mark.parametrize("change", [_cut, _write_anew])
def test_a_ledger_that_was_cut_or_written_anew_is_not_that_of_its_report(
    run: RunPaths, change: Callable[[Path], None]
) -> None:
    change(run.lineage(0).ledger)
    (at,) = (record.time for record in read_ledger(run.reports))
    said = f"{run.lineage(0).ledger}: a report of {at} was made from a record that is not there any more"
    assert said in verify_run(run).problems


def test_what_is_no_record_of_a_report_is_named(run: RunPaths) -> None:
    Ledger(run.reports).append(event("cancelled"))
    assert f"{run.reports}:2: it speaks of no report" in verify_run(run).problems
    run.reports.write_bytes(run.reports.read_bytes().replace(b'"seq":1', b'"seq":2'))
    assert any(problem.startswith(f"{run.reports}:2: ") for problem in verify_run(run).problems)
    with pytest.raises(LedgerError, match=r"reports\.jsonl:2"):
        write_report(run)


def test_a_report_is_no_event_of_a_lineage(run: RunPaths) -> None:
    Ledger(run.lineage(0).ledger).append(read_ledger(run.reports)[0].event)
    assert any("it is no event of a lineage" in problem for problem in verify_run(run).problems)


def test_a_report_without_a_record_is_one_of_before_there_were_any(run: RunPaths) -> None:
    run.reports.unlink()
    assert verify_run(run).problems == [], "runs that began before have no folder of the toolkit's modules"
    run.modules.mkdir()
    assert verify_run(run).problems == [f"{run.root / MANIFEST}: no report is on record in reports.jsonl"]


MISSING = "missing: the report on record is not whole"


def test_a_report_whose_seal_a_kill_or_a_person_took_away_is_named_with_the_mend(run: RunPaths) -> None:
    (run.root / MANIFEST).unlink()
    run.report_html.write_text("<html>better numbers</html>")
    assert verify_run(run).problems == [f"{run.root / MANIFEST}: {MISSING}; `mlipilot report` makes it"]
    for path in (run.report_html, run.report_md):
        path.unlink()
    assert verify_run(run).problems == [f"{run.root / MANIFEST}: {MISSING}; `mlipilot report` makes it"]
    write_report(run)
    assert verify_run(run).problems == [] and len(read_ledger(run.reports)) == 1


def test_a_record_that_was_cut_short_is_cut_off_by_the_next_report(run: RunPaths) -> None:
    whole = run.reports.read_bytes()
    run.reports.write_bytes(whole + whole[:20])
    torn = f"{run.reports}: its last line is not whole; the next report cuts it off"
    assert verify_run(run).problems == [torn], "no kill leaves it beside a sealed report"
    (run.root / MANIFEST).unlink()
    with FileLock(run.report_lock):
        found = verify_run(run)
    assert found.problems == [] and {torn, f"{run.root / MANIFEST}: {MISSING}: it is being written"} <= {
        *found.notes
    }
    assert [MISSING in said for said in verify_run(run).problems] == [True]
    write_report(run)
    kinds = [record.event.kind for record in read_ledger(run.reports)]
    assert kinds == ["reported", "ledger_repaired", "reported"] and verify_run(run).problems == []


def test_the_same_report_is_noted_once(tmp_path: Path) -> None:
    run = RunPaths(tmp_path)
    for manifest, head in (("a", "b"), ("a", "b"), ("a", "c"), ("d", "c"), ("a", "c")):
        note_report(run, manifest * 64, {0: head * 64})
    bodies = [json.loads(line)["body"] for line in run.reports.read_text().splitlines()]
    assert [(body["manifest_sha256"][0], body["heads"]["0"][0]) for body in bodies] == [
        ("a", "b"),
        ("a", "c"),
        ("d", "c"),
        ("a", "c"),
    ]
