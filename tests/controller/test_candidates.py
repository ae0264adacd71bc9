"""The recorded diff is a patch that `patch` applies; a transcript is acknowledged line by line."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from mlipilot.audit.files import sha256_bytes, tree_digest
from mlipilot.audit.ledger import Ledger
from mlipilot.audit.lock import TakenOverError
from mlipilot.campaign.paths import RunPaths
from mlipilot.campaign.spec import load_campaign
from mlipilot.controller.proposals import Proposals, recipe_diff
from mlipilot.controller.verdict import Measurements
from mlipilot.pilots.turn import Exchange

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a.yaml": "x: 1\ny: 2\n"}, {"a.yaml": "x: 1\ny: 3\n"}),
        ({"a.yaml": "x: 1"}, {"a.yaml": "x: 2"}),
        ({"a.yaml": "x: 1\n"}, {"a.yaml": "x: 1\n", "new.py": "pass\n"}),
        ({"a.yaml": "x\n", "old.py": "pass\n"}, {"a.yaml": "x\n"}),
        ({"a.yaml": "x: é\n"}, {"a.yaml": "x: Å"}),
    ],
)
def test_the_diff_is_a_patch(tmp_path: Path, before: dict[str, str], after: dict[str, str]) -> None:
    patch = shutil.which("patch")
    if patch is None:
        pytest.skip("patch is not installed")
    for name, files in (("before", before), ("after", after)):
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    diff = recipe_diff(tmp_path / "before", tmp_path / "after")
    subprocess.run([patch, "-p1", "--quiet"], input=diff.encode(), cwd=tmp_path / "before", check=True)
    assert tree_digest(tmp_path / "before") == tree_digest(tmp_path / "after")


def _proposals(root: Path, fence: Callable[[], None] = lambda: None) -> Proposals:
    campaign = load_campaign(REPOSITORY / "campaigns" / "cu_emt.yaml")
    run = RunPaths(root)
    lineage = run.lineage(0)
    lineage.root.mkdir(parents=True, exist_ok=True)
    measured = Measurements(lineage, campaign.spec, campaign.scorecard)
    ledger = Ledger(lineage.ledger, fence)
    return Proposals(run, lineage, campaign.spec, campaign.scorecard, ledger, measured, ExitStack())


def test_a_stale_controller_leaves_transcript_and_candidates_alone(tmp_path: Path) -> None:
    def taken_over() -> None:
        raise TakenOverError("another controller took over")

    proposals = _proposals(tmp_path, taken_over)
    theirs = proposals.lineage.iteration(1)
    (theirs / "recipe").mkdir(parents=True)
    (tmp_path / "draft").mkdir()
    exchange = Exchange(request={}, reply={}, prompt_tokens=5, completion_tokens=2, duration_s=1)
    with pytest.raises(TakenOverError):
        proposals._record(1, exchange)
    with pytest.raises(TakenOverError):
        proposals._publish(1, tmp_path / "draft", tmp_path / "draft", None)
    assert not proposals.lineage.transcript.exists()
    assert (theirs / "recipe").is_dir()


def test_exchanges_that_a_kill_left_unacknowledged_are_taken_up(tmp_path: Path) -> None:
    proposals = _proposals(tmp_path)
    reply = {"choices": [{"message": {"content": "hi"}}]}
    exchange = Exchange(
        request={"messages": []}, reply=reply, prompt_tokens=5, completion_tokens=2, duration_s=1
    )
    proposals._record(1, exchange)
    line = proposals.lineage.transcript.read_text()
    with proposals.lineage.transcript.open("a") as stream:
        stream.write(line + '{"torn": ')  # written, not acknowledged; then a torn one
    again = _proposals(tmp_path)
    again.recover_transcript()
    exchanges = [r.body for r in again.ledger.records if r.kind == "exchange"]
    assert [body["line"] for body in exchanges] == [1, 2]
    assert {body["sha256"] for body in exchanges} == {sha256_bytes(line.rstrip("\n").encode())}
    assert [
        json.loads(text)["prompt_tokens"] for text in again.lineage.transcript.read_text().splitlines()
    ] == [5, 5]
    again.recover_transcript()
    assert sum(r.kind == "exchange" for r in again.ledger.records) == 2
