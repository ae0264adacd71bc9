"""Verbs that only look leave a run as it was: no file more, none changed."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.claims import LOCK, Job
from mlipilot.cli.app import app
from mlipilot.paths import RunPaths
from tests.claims import OTHER_HOST, leave_claim
from tests.report.synthetic import SyntheticRun, make_spec

REBOOTED = {"boot_id": "earlier", "since": datetime(2020, 1, 1, tzinfo=UTC)}
CLAIMS: dict[str, dict[str, Any] | None] = {
    "nobody": None,
    "this process": {},
    "one that is gone": {"pid": 2**22},
    "before a boot": REBOOTED,
    "another host": OTHER_HOST,
    "a container": {"pid_namespace": 1},
    "a job": OTHER_HOST | {"job": Job(id="17")},
}
VERBS = (["status"], ["status", "--json"], ["show", "0"], ["show", "0", "--json"], ["verify"])


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two lineages, one of which has not come to its end."""
    root = tmp_path_factory.mktemp("readers") / "cu_emt"
    for number in (0, 1):
        made = SyntheticRun(root, make_spec(seeds=[1]), number)
        made.propose(0, None, {})
        made.candidate(0, 0.3)
        made.lineage.incumbent.symlink_to("iterations/0000")
        made.lineage.controller.mkdir()
    made.end("a test")
    return root


@pytest.fixture
def run(pristine: Path, tmp_path: Path, no_programs: None) -> RunPaths:
    return RunPaths(Path(shutil.copytree(pristine, tmp_path / "cu_emt", symlinks=True)))


def _tree(root: Path) -> dict[str, tuple[int, int, int]]:
    """Every file and folder with its kind and mode, its size and when it was written."""
    found = {}
    for path in (root, *sorted(root.rglob("*"))):
        stat = path.lstat()
        found[str(path.relative_to(root))] = (stat.st_mode, stat.st_size, stat.st_mtime_ns)
    return found


@pytest.mark.parametrize("claimed", CLAIMS)
@pytest.mark.parametrize("locked", [False, True])
def test_a_run_that_was_looked_at_is_what_it_was(run: RunPaths, claimed: str, locked: bool) -> None:
    lineage = run.lineage(0)
    if (changes := CLAIMS[claimed]) is not None:
        leave_claim(lineage.root, **changes)
    if locked:
        (lineage.controller / LOCK).touch()
    before = _tree(run.root)
    for verb, *words in VERBS:
        app([verb, str(run.root), *words], standalone_mode=False)
        assert _tree(run.root) == before, verb


def test_a_report_that_lies_elsewhere_leaves_it_so_too(
    run: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlipilot.report.figures.render", lambda draw, theme: b"x")  # drawing takes seconds
    leave_claim(run.lineage(0).root, **OTHER_HOST)
    before = _tree(run.root)
    app(["report", str(run.root), "--output", str(tmp_path / "report")], standalone_mode=False)
    assert _tree(run.root) == before and (tmp_path / "report" / "report.html").is_file()
