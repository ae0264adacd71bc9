"""Runs of every format that was ever released: this version reads, checks, shows and reports them.

They are never made anew (`make.py` says how they were made): whoever finds a test here failing has changed
what this version reads, and mends the reading.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import pytest

from mlipilot.audit import protected
from mlipilot.audit.events import KINDS
from mlipilot.audit.ledger import read_ledger
from mlipilot.campaign.spec import RUN_FORMAT, load_locked
from mlipilot.controller.state import replay
from mlipilot.controller.verification import verify_run
from tests.runs.kept import ARCHIVES, LATER, Kept, contents, expectations, ledger_lines, name_of, verb

OF_NO_RUN = {"reported": "a report's pages and pictures would be most of an archive"}
"""Kinds of ledger records that are in no run here, and why."""


def test_there_is_a_run_of_every_format() -> None:
    names = ("local", "slurm", "asked")
    wanted = {f"format-{number}/{name}" for number in range(1, RUN_FORMAT + 1) for name in names}
    assert {name_of(archive) for archive in ARCHIVES} == wanted


def test_the_spec_is_of_the_format_that_its_folder_says(kept: Kept, request: pytest.FixtureRequest) -> None:
    assert f"format-{load_locked(kept.run.spec).format}/" in request.node.name


def test_each_ledger_is_read_and_gives_the_state_that_it_gave_then(kept: Kept) -> None:
    assert [lineage.number for lineage in kept.run.lineages()] == sorted(kept.said)
    for number, said in kept.said.items():
        records = read_ledger(kept.run.lineage(number).ledger)
        state = replay(records)
        assert records[-1].hash == said["head"]
        assert Counter(record.event.kind for record in records) == said["kinds"]
        assert (state.phase, state.incumbent) == (said["phase"], said["incumbent"])
        assert len(state.iterations) == len(said["verdicts"])
        assert state.exchanges == said["kinds"].get("exchange", 0)


@pytest.mark.usefixtures("later_toolkit")
def test_all_of_it_verifies_but_that_the_toolkit_is_another(kept: Kept) -> None:
    found = json.loads(verb("verify", kept.run.root, "--json"))
    assert found["ok"] is True and found["problems"] == []
    assert found["records"] == sum(sum(said["kinds"].values()) for said in kept.said.values())
    changed = protected.differing_toolkit(protected.read_protected(kept.run.protected))
    assert LATER in changed
    another = [note for note in found["notes"] if "this toolkit is not the one that ran" in note]
    assert another == [
        f"this toolkit is not the one that ran: {len(changed)} of its files differ ({changed[0]}, ...)"
    ] * len(kept.said)
    lines = [line for number in kept.said for line in ledger_lines(kept.run, number)]
    named = sum(line["body"].get("job_name") is not None for line in lines)
    assert found["anchors"] == {"in_ledger": named, "in_accounts": 0, "in_extract_only": named}
    assert (named > 0) == (load_locked(kept.run.spec).jobs.backend == "slurm")


def test_a_changed_byte_is_found_in_it_still(kept: Kept) -> None:
    """What `verify` says of a run that is whole is worth nothing unless it is strict with one that is not."""
    weights = sorted(kept.run.root.rglob("weights.safetensors"))[-1]
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert any(str(weights) in problem for problem in verify_run(kept.run).problems)


def test_status_and_show_say_how_it_stands(kept: Kept) -> None:
    lineages = json.loads(verb("status", kept.run.root, "--json"))["lineages"]
    for status, (number, said) in zip(lineages, sorted(kept.said.items()), strict=True):
        objectives = [None if value is None else math.exp(value) for value in said["log_objective"]]
        assert status["incumbent"] == said["incumbent"]
        of_search = "confirmed" not in said["kinds"]  # else the incumbent's figures are of fresh seeds
        now = status["objective"]["incumbent"]
        assert (now == pytest.approx(objectives[said["incumbent"]])) == of_search and now > 0
        for iteration, verdict in enumerate(said["verdicts"]):
            words = "show", kept.run.root, str(iteration), "--lineage", str(number), "--json"
            shown = json.loads(verb(*words))
            assert verdict in (shown["status"], None)
            assert shown["objective"] == pytest.approx(objectives[iteration])
    assert "baseline" in verb("status", kept.run.root) and "recipe.yaml" in verb("show", kept.run.root, "1")


@pytest.mark.slow
def test_the_report_has_the_verdicts_and_the_incumbents_objective(kept: Kept, tmp_path: Path) -> None:
    before, said = contents(kept.run), kept.said[0]
    verb("report", kept.run.root, "--lineage", "0", "--output", tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text()
    table = text[text.index("# | hypothesis | verdict |") :].splitlines()[2:]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[: len(said["verdicts"])]]
    for iteration, verdict in enumerate(said["verdicts"]):
        assert rows[iteration][0] == str(iteration) and (verdict or "no proposal") in rows[iteration][2]
    incumbent = rows[said["incumbent"]]
    objective = math.exp(said["log_objective"][said["incumbent"]])
    assert "(incumbent)" in incumbent[2]
    assert ("(confirmed)" in incumbent[2]) == ("confirmed" in said["kinds"])
    assert float(incumbent[5].split()[0]) == pytest.approx(objective, rel=0.1)  # it shows two digits or so
    assert contents(kept.run) == before


def test_every_kind_of_record_is_in_some_run() -> None:
    """As the ledgers of the newest format have it: a kind that comes later is in the runs of a later one."""
    lineages = [said for archive in ARCHIVES for said in expectations(archive).values()]
    found = {kind for said in lineages for kind in said["kinds"]}
    assert set(KINDS) - OF_NO_RUN.keys() == found
    assert not OF_NO_RUN.keys() & found
