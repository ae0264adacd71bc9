"""What the successor reads of a ledger by itself: how far the lineage got, and how its last word ends it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.audit.events import Event
from tests.events import CLAIM, event
from tests.sbatch.checkout import as_ledger
from tests.sbatch.conftest import REPOSITORY

ALONE = f"""\
set -uo pipefail
run=$1 lineage=0 this=17_0
source {REPOSITORY}/sbatch/successor.sh
count_progress
! ended_for_a_while || echo "for a while"
"""
WRITTEN = (REPOSITORY / "tests" / "audit" / "records_of_format_1.jsonl").read_text().splitlines()
"""Records of real runs, each kind among them."""
NO_PROGRESS = {"resumed", "paused", "cancelled", "ledger_repaired", "heard", "endpoint_probed"}
FOR_A_WHILE = as_ledger(event("paused", mends_by_itself=True))
WORDS = {
    "a kind": '"kind":"finished"',
    "a kind that is no progress": '"kind":"resumed"',
    "a pause in short": '{"body":{"mends_by_itself":true},"hash":"0","kind":"paused"}',
    "a whole pause": FOR_A_WHILE,
    "its end": '\\","hash":"' + FOR_A_WHILE.split('"hash":"')[1].rstrip("\n"),
    "it in a line of its own": "\n" + FOR_A_WHILE,
}
HOLDERS: dict[str, Callable[[str], Event]] = {
    "hypothesis": lambda words: event(
        "drafted", iteration=1, revision=1, hypothesis=CLAIM | {"hypothesis": words}
    ),
    "reason": lambda words: event("no_proposal", iteration=1, reason=words),
    "values of names like the ledger's": lambda words: event(
        "campaign_started", versions={"kind": "resumed", "mends_by_itself": words, words: "paused"}
    ),
}


def read(tmp_path: Path, ledger: str | None) -> list[str]:
    if ledger is not None:
        (tmp_path / "lineage-0").mkdir(exist_ok=True)
        (tmp_path / "lineage-0" / "ledger.jsonl").write_text(ledger)
    command = ["bash", "-c", ALONE, "x", str(tmp_path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


def test_all_but_comings_and_goings_is_progress(tmp_path: Path) -> None:
    kinds = [json.loads(line)["kind"] for line in WRITTEN]
    expected = sum(kind not in NO_PROGRESS for kind in kinds)
    assert 0 < expected < len(kinds) and set(kinds) > NO_PROGRESS
    assert read(tmp_path, "".join(line + "\n" for line in WRITTEN))[0] == str(expected)
    for kind in set(kinds):
        alone = next(line for line in WRITTEN if json.loads(line)["kind"] == kind)
        assert read(tmp_path, alone + "\n")[0] == str(int(kind not in NO_PROGRESS)), kind


def test_no_ledger_yet_is_no_progress(tmp_path: Path) -> None:
    assert read(tmp_path, None) == ["0"]


def test_a_torn_last_line_is_no_record(tmp_path: Path) -> None:
    """It may be torn within a letter."""
    whole = as_ledger(event("lesson", iteration=0, text="1 Å")).encode()
    (tmp_path / "lineage-0").mkdir()
    ledger = tmp_path / "lineage-0" / "ledger.jsonl"
    ledger.write_bytes(whole + whole[: whole.index("Å".encode()) + 1])
    command = ["bash", "-c", ALONE, "x", str(tmp_path)]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"1\n"
    assert read(tmp_path, FOR_A_WHILE + FOR_A_WHILE[:-20]) == ["0"]


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("holder", HOLDERS)
def test_no_text_in_a_record_is_taken_for_one(tmp_path: Path, words: str, holder: str) -> None:
    assert read(tmp_path, as_ledger(HOLDERS[holder](WORDS[words]))) == ["1"]


@pytest.mark.parametrize("words", WORDS)
def test_a_pause_for_a_person_stays_one_whatever_its_reason_says(tmp_path: Path, words: str) -> None:
    for mends in ({}, {"mends_by_itself": False}):
        assert read(tmp_path, as_ledger(event("paused", mends, reason=WORDS[words]))) == ["0"]
    passing = event("paused", mends_by_itself=True, reason=WORDS[words])
    assert read(tmp_path, as_ledger(passing)) == ["0", "for a while"]


def test_only_the_last_record_is_the_last_word(tmp_path: Path) -> None:
    assert read(tmp_path, FOR_A_WHILE) == ["0", "for a while"]
    assert read(tmp_path, as_ledger(event("paused", mends_by_itself=True), event("resumed"))) == ["0"]
