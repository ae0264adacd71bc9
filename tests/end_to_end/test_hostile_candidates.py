"""Candidates that break every rule: each is invalid with its reason, and the campaign goes on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mlipilot.audit.ledger import read_ledger
from mlipilot.controller.state import replay
from mlipilot.controller.verification import verify_run
from mlipilot.paths import RunPaths
from tests.end_to_end.conftest import REPOSITORY, mlipilot, with_data, write_campaign
from tests.end_to_end.villain import PILOT, Candidate, villain

pytestmark = pytest.mark.slow

_OUT = """
import sys, pathlib
out = pathlib.Path(sys.argv[sys.argv.index("--output") + 1])
"""
_NAN = """
import sys, runpy
import torch, mlipilot.handover as h
real = h.write_handover
def poisoned(out, cls, args, model):
    with torch.no_grad():
        for p in model.parameters(): p.fill_(float("nan"))
    return real(out, cls, args, model)
h.write_handover = poisoned
runpy.run_path("original.py", run_name="__main__")
"""
RECIPE = REPOSITORY / "mlipilot" / "recipes" / "mace"
# What train.py becomes, and what the verdict's reason must say.
CANDIDATES: list[tuple[str, str, str]] = [
    ("crash", "raise RuntimeError('out of \\x1b[31mluck')", r"seed 1: RuntimeError: out of .*luck"),
    ("nothing", "print('done')", r"refused"),
    ("pickle", _OUT + "(out/'model').mkdir(); import pickle; (out/'model'/'model.pt').write_bytes("
     "pickle.dumps(print))", r"refused"),
    ("endless", "while True: pass", r"limit of 40 s"),
    ("nan", _NAN, r"NaN or infinite"),
]  # fmt: skip


def test_each_is_invalid_with_its_reason_and_the_incumbent_stands(tiny_data: Path, tmp_path: Path) -> None:
    budget = {"iterations": len(CANDIDATES), "optimizer_steps": 3}
    jobs = {"max_in_flight": 2, "smoke": False, "train_wall_limit_s": 40, "evaluate_wall_limit_s": 300}
    with_data(tiny_data, tmp_path)
    campaign = write_campaign(tmp_path, pilot=PILOT, seeds=[1], budget=budget, jobs=jobs)
    run = RunPaths(tmp_path / "runs" / "tiny")
    wrapped = {"nan": {"original.py": (RECIPE / "train.py").read_text()}}
    proposed = [Candidate(name, wrapped.get(name, {}) | {"train.py": code}) for name, code, _ in CANDIDATES]
    with villain(proposed) as url:
        mlipilot("run", campaign, cwd=tmp_path, OPENAI_BASE_URL=url)
    state = replay(read_ledger(run.lineage(0).ledger))
    assert state.incumbent == 0
    for (name, _, reason), iteration in zip(CANDIDATES, state.iterations[1:], strict=True):
        assert iteration.verdict is not None, name
        assert iteration.verdict.verdict == "invalid", name
        assert re.search(reason, iteration.verdict.reason), f"{name}: {iteration.verdict.reason}"
        assert "\x1b" not in iteration.verdict.reason
    assert "<script>" not in run.report_html.read_text()
    assert verify_run(run).problems == []


def test_a_draft_that_crashes_is_mended_or_withdrawn_at_the_price_of_a_smoke_step(
    tiny_data: Path, tmp_path: Path
) -> None:
    budget = {"iterations": 2, "optimizer_steps": 3}
    with_data(tiny_data, tmp_path)
    campaign = write_campaign(tmp_path, pilot=PILOT, seeds=[1], budget=budget)
    run = RunPaths(tmp_path / "runs" / "tiny")
    slower = (RECIPE / "recipe.yaml").read_text().replace("learning_rate: 0.01", "learning_rate: 0.005")
    mended = {"train.py": (RECIPE / "train.py").read_text(), "recipe.yaml": slower}
    crash = "raise SystemExit('no luck \\x1b[31m<b>today</b>')"
    drafts = [
        Candidate("first", {"train.py": crash}, mended),
        Candidate("second", {"train.py": f"0; {crash}"}),
    ]
    with villain(drafts) as url:
        mlipilot("run", campaign, cwd=tmp_path, OPENAI_BASE_URL=url)
    state = replay(read_ledger(run.lineage(0).ledger))
    first, second = state.iterations[1:]
    assert first.verdict is not None and first.verdict.verdict in ("accepted", "reverted")
    assert second.no_proposal == "revision 1 was withdrawn: there is no mending it"
    smoked = [(key.text, attempts[-1].outcome) for key, attempts in state.jobs.items() if key.kind == "smoke"]
    assert smoked == [("0001-1/smoke", "failed"), ("0001-2/smoke", "ok"), ("0002-1/smoke", "failed")]
    assert {key.iteration for key in state.jobs if key.kind == "train"} == {0, 1}
    requests = [json.loads(line)["request"] for line in run.lineage(0).transcript.read_text().splitlines()]
    (task,) = {r["messages"][1]["content"] for r in requests if "revision 1, first" in str(r["messages"][1])}
    assert "UNTRUSTED OUTPUT" in task and "no luck" in task and "\x1b" not in task
    assert "Revision 1 failed its smoke step" in run.report_md.read_text()
    assert "no luck" in mlipilot("show", run.root, "2", cwd=tmp_path).stdout
    assert verify_run(run).problems == []


def test_a_candidate_that_touches_the_test_data_voids_itself_and_stops_the_campaign(
    tiny_data: Path, tmp_path: Path
) -> None:
    code = (
        _OUT
        + "data = out.parents[6] / 'data' / 'test' / 'test.xyz'\ndata.write_text(data.read_text() + ' ')\n"
    )
    recipe = tmp_path / "recipe"
    recipe.mkdir()
    (recipe / "recipe.yaml").write_text("{}\n")
    (recipe / "train.py").write_text(code)
    with_data(tiny_data, tmp_path)
    campaign = write_campaign(
        tmp_path, recipe="recipe", seeds=[1], budget={"iterations": 1, "optimizer_steps": 3}
    )
    done = mlipilot("run", campaign, cwd=tmp_path, check=1)
    assert "run/data/test/test.xyz" in done.stdout + done.stderr
    run = RunPaths(tmp_path / "runs" / "tiny")
    assert any("test.xyz" in problem for problem in verify_run(run).problems)
