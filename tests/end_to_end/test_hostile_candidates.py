"""Candidates that break rules on plain processes, and drafts that crash; `tests/redteam` has the others."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mlipilot.audit.ledger import read_ledger
from mlipilot.controller.state import replay
from mlipilot.controller.verification import verify_run
from mlipilot.jobs.job_files import read_result
from mlipilot.paths import JobKey, RunPaths
from tests.end_to_end.conftest import REPOSITORY, mlipilot, with_data, write_campaign
from tests.end_to_end.villain import PILOT, Candidate, villain

pytestmark = pytest.mark.slow

_OUT = """
import sys, pathlib
out = pathlib.Path(sys.argv[sys.argv.index("--output") + 1])
"""
_THEN = """
import atexit, os, runpy, sys
out = sys.argv[sys.argv.index("--output") + 1]
def leave():
    os.chdir(out)
    {}
atexit.register(leave)
runpy.run_path("original.py", run_name="__main__")
"""
_LITTER = _THEN.format("""
    open(b"\\xff\\n\\xe2\\x80\\xa8", "w"); os.mkfifo("model/pipe")
    os.symlink("/etc", "etc"); os.symlink("no", "../no")
    for n in range(4): os.truncate(os.open(f"sparse{n}", os.O_CREAT | os.O_WRONLY), 4 * 2**30)
    for n in range(3000): open(f"many{n}", "w")
    os.mkdir("shut"); open("shut/x", "w"); os.chmod("shut", 0); os.chmod("model", 0)
    os.truncate("../stdout.log", 2 * 2**30)
    for _ in range(1500): os.mkdir("deep"); os.chdir("deep")
""")
_ELSEWHERE = _THEN.format("""
    os.rename("model", "real"); os.symlink("real", "model")
""")
# Forgeries of evaluations, and what the verdict's reason must say.
FORGERIES: list[tuple[str, str, str]] = [
    ("whole", _THEN.format("""
    import shutil; here = "evaluate/attempt-1"
    shutil.copytree("../../../../../0000/seed-1/" + here, "../../../" + here)
"""), r"evaluation with seed 1: there before its time, and removed: iterations/0001/seed-1/evaluate$"),
    ("order", _THEN.format("""
    import json; os.makedirs("../../../evaluate/attempt-1")
    order = json.load(open("../job.json"))
    json.dump(order | {"argv": ["true"], "keeps": None}, open("../../../evaluate/attempt-1/job.json", "w"))
"""), r"evaluation with seed 1: there before its time, and removed: iterations/0002/seed-1/evaluate$"),
    ("rewritten", _THEN.format("""
    other = "../../../../seed-1/evaluate/attempt-1/output/metrics.json"
    if os.path.exists(other): text = open(other).read(); open(other, "w").write(text.replace("0.", "0.0"))
"""), r"^iterations/0003/seed-1/evaluate/attempt-1/output/metrics.json is not the file that was measured$"),
]  # fmt: skip
OPEN = {"isolation": "none"}
"""The host's files are in reach: what is done to them is found out, not prevented."""
RECIPE = REPOSITORY / "mlipilot" / "recipes" / "mace"


def test_what_candidates_leave_besides_is_dropped_and_harms_the_run_in_no_way(
    tiny_data: Path, tmp_path: Path
) -> None:
    with_data(tiny_data, tmp_path)
    campaign = write_campaign(
        tmp_path,
        pilot=PILOT,
        seeds=[1],
        budget={"iterations": 2, "optimizer_steps": 3},
        jobs=OPEN | {"smoke": False, "train_wall_limit_s": 300, "evaluate_wall_limit_s": 300},
    )
    run = RunPaths(tmp_path / "runs" / "tiny")
    original = {"original.py": (RECIPE / "train.py").read_text()}
    proposed = [Candidate(n, original | {"train.py": t}) for n, t in (("a", _LITTER), ("b", _ELSEWHERE))]
    with villain(proposed) as url:
        mlipilot("run", campaign, cwd=tmp_path, OPENAI_BASE_URL=url)
    state = replay(read_ledger(run.lineage(0).ledger))
    litter, elsewhere = (iteration.verdict for iteration in state.iterations[1:])
    assert litter is not None and litter.verdict in ("accepted", "reverted"), litter
    assert elsewhere is not None and elsewhere.verdict == "invalid"
    assert elsewhere.reason == "training with seed 1: the hand-over is refused: model/ is no folder"
    attempt = run.lineage(0).attempt(JobKey(1, 1, "train"), 1)
    dropped = read_result(attempt).dropped
    assert dropped is not None and dropped.entries > 4500 and dropped.bytes == 16 * 2**30
    assert sorted(path.name for path in (attempt / "output").rglob("*")) == [
        *("config.json", "model", "weights.safetensors")
    ]
    assert (attempt / "stdout.log").stat().st_size < 6 * 2**20
    shown = mlipilot("show", run.root, "1", cwd=tmp_path, COLUMNS="400").stdout
    assert "entries of 17179869184 bytes were dropped" in shown
    assert verify_run(run).problems == []


def test_a_forged_evaluation_makes_its_candidate_invalid_and_no_other(
    tiny_data: Path, tmp_path: Path
) -> None:
    with_data(tiny_data, tmp_path)
    limits = {"train_wall_limit_s": 300, "evaluate_wall_limit_s": 300}
    campaign = write_campaign(
        tmp_path,
        pilot=PILOT,
        seeds=[1, 2],
        budget={"iterations": len(FORGERIES), "optimizer_steps": 3},
        jobs=OPEN | {"smoke": False, "max_in_flight": 1} | limits,
    )
    run = RunPaths(tmp_path / "runs" / "tiny")
    original = {"original.py": (RECIPE / "train.py").read_text()}
    with villain([Candidate(name, original | {"train.py": code}) for name, code, _ in FORGERIES]) as url:
        mlipilot("run", campaign, cwd=tmp_path, OPENAI_BASE_URL=url)
    state = replay(read_ledger(run.lineage(0).ledger))
    assert state.incumbent == 0
    for (name, _, reason), iteration in zip(FORGERIES, state.iterations[1:], strict=True):
        assert iteration.verdict is not None, name
        assert iteration.verdict.verdict == "invalid", name
        assert re.search(reason, iteration.verdict.reason), f"{name}: {iteration.verdict.reason}"
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
        tmp_path, recipe="recipe", seeds=[1], jobs=OPEN, budget={"iterations": 1, "optimizer_steps": 3}
    )
    done = mlipilot("run", campaign, cwd=tmp_path, check=1)
    assert "run/data/test/test.xyz" in done.stdout + done.stderr
    run = RunPaths(tmp_path / "runs" / "tiny")
    assert any("test.xyz" in problem for problem in verify_run(run).problems)
