"""Who may not read or write a run is told once, by every verb, and nothing is half-written.

Two real users of one group: alice began the run, bob types the verb.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from mlipilot.audit.files import files_below
from mlipilot.cli.app import app
from mlipilot.paths import RunPaths
from tests.claims import OTHER_HOST, leave_claim
from tests.events import event
from tests.pair import PACKAGES, REPOSITORY, Pair, needs_root, two_users
from tests.report.synthetic import SyntheticRun, make_spec

pytestmark = [needs_root, pytest.mark.slow, pytest.mark.xdist_group("users of a group")]

# What bob types, with RUN for the run, OUT for a folder of his own, CAMPAIGN for the run's own file.
READS = {
    "status": "status RUN",
    "status --json": "status RUN --json",
    "show": "show RUN 0",
    "verify": "verify RUN",
    "report --output": "report RUN --output OUT/report",
}
WRITES = {
    "run": "run CAMPAIGN --go-on --run-dir RUN/.. --set name=run",
    "resume": "resume RUN",
    "confirm": "confirm RUN --seeds 2",
    "ablate": "ablate RUN",
    "cancel": "cancel RUN",
    "unlock": "unlock RUN --lineage 1 --yes",
    "drop": "drop RUN 1 --why x",
    "report": "report RUN",
    "seal": "seal RUN --key OUT/key",
    "endpoint": "endpoint --gguf RUN/nothing.gguf --run RUN",
}
OTHERS = {  # these need nothing of the run, or only what they are told here to read
    "plan": "plan CAMPAIGN",
    "doctor": "doctor --run-dir RUN/..",
    "reproduce": "reproduce RUN --seed 99 --output OUT/again",
    "evaluate": "evaluate RUN/lineage-0 --scorecard RUN/scorecard.yaml --data RUN/data",
    "merge": "merge OUT/merged RUN",
    "init": "init mine --data RUN/data",
    "data build": "data build cu_emt --output RUN/built",
    "data plan": "data plan qm7_b3lyp --qm7 RUN/ledger.mat",
    "data label": "data label RUN/data --shard 0",
    "data status": "data status RUN/data",
    "data import": "data import RUN/scorecard.yaml --name mine",
}
ALL = READS | WRITES | OTHERS


def test_every_verb_is_typed() -> None:
    group = typer.main.get_command(app)
    verbs = set()
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        verbs |= {f"{name} {sub}" for sub in getattr(command, "commands", {})} or {name}
    assert verbs == {name.partition(" --")[0] for name in ALL}


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with two_users() as found:
        yield found


@pytest.fixture
def run(pair: Pair, request: pytest.FixtureRequest) -> RunPaths:
    """A paused run of alice's, written under the usual umask; its second lineage was left by another host."""
    folder = pair.desk / str(abs(hash(request.node.name)))
    made = SyntheticRun(folder / "run", make_spec(seeds=[1]))
    made.propose(0, None, {})
    made.candidate(0, 0.0)
    made.ledger.append(event("paused", reason="the endpoint is down"))
    SyntheticRun(folder / "run", make_spec(seeds=[1]), 1)
    leave_claim(made.run.lineage(1).root, **OTHER_HOST)
    for name in ("requests", "receipts", "cancel", "intents", "started"):
        (made.run.spool / name).mkdir(parents=True)
    name = "mlp-0123456789abcdef-l0.0000.s1.t.a1"
    (made.run.spool / "requests" / name).write_text("template=train\n")
    (made.run.spool / "receipts" / name).write_text("status=submitted\njob_id=1\ntime=1\n")
    pair.own(pair.alice, folder)
    return made.run


def _few_at_once(cases: Iterable[str]) -> list[Any]:
    """All cases: the first two with each run of the tests, the others in the sweep."""
    return [pytest.param(case, marks=pytest.mark.sweep if n > 1 else ()) for n, case in enumerate(cases)]


Answer = tuple[int, str, str]  # exit status and both streams


def _listing(run: RunPaths) -> dict[str, tuple[int, int]]:
    """Every file and folder, with what a write would change."""
    paths = [run.root, *run.root.rglob("*")]
    return {str(p): (p.lstat().st_size, p.lstat().st_mtime_ns) for p in paths if p.exists()}


def _type(
    pair: Pair, run: RunPaths, verbs: dict[str, str], before: str = ""
) -> dict[str, tuple[int, str, str]]:
    """What each verb answers to bob; `before` is done by root in a mount namespace of its own."""
    out = pair.desk / f"bob-{run.root.parent.name}"
    out.mkdir(exist_ok=True)
    pair.own(pair.bob, out)
    places = {"RUN": run.root, "OUT": out, "CAMPAIGN": REPOSITORY / "campaigns" / "cu_emt.yaml"}
    lines = []
    for line in verbs.values():
        words = line.split()
        for key, place in places.items():
            words = [word.replace(key, str(place)) if word.startswith(key) else word for word in words]
        lines.append(words)
    typed = pair.bob.command(pair.python, "-m", "tests.cli.verbs", json.dumps(lines))
    script = f'{before or ":"} && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "bash", "-c", script, "bash", *typed],
        cwd=out,
        env={"PATH": "/usr/bin:/bin", "HOME": str(out), "LANG": "C.UTF-8", "PYTHONPATH": PACKAGES},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(verbs, map(tuple, json.loads(done.stdout.splitlines()[-1])), strict=True))


def _is_told_once(name: str, answer: Answer) -> None:
    status, out, err = answer
    assert "Traceback" not in out + err, f"{name}: {err}"
    assert status in (0, 1, 2), f"{name}: {status} {err}"
    assert "not readable" not in err, f"{name}: {err}"
    assert err.count("mlipilot: ") <= 1 and len(err.splitlines()) <= 3, f"{name}: {err}"


def _is_refused(name: str, answer: Answer, words: str) -> None:
    _is_told_once(name, answer)
    status, _, err = answer
    assert status == 2 and words in err and "mend: " in err, f"{name}: {status} {err}"


NOT_WRITABLE: dict[str, Callable[[RunPaths], list[Path]]] = {
    "all": lambda _: [],
    "the run's folder": lambda run: [run.root],
    "the lineage's folder": lambda run: [run.lineage(0).root, run.lineage(1).root],
    "the ledger": lambda run: [run.lineage(0).ledger],
    "the claims": lambda run: [run.lineage(0).controller, run.lineage(1).controller],
}


@pytest.mark.parametrize("what", _few_at_once(NOT_WRITABLE))
def test_who_may_not_write_is_told_what_and_by_whom_it_is_mended(
    pair: Pair, run: RunPaths, what: str
) -> None:
    run.lineage(0).controller.mkdir(exist_ok=True)
    shut = NOT_WRITABLE[what](run)
    if shut:  # all else is the group's
        pair.own(pair.alice, run.root.parent, umask=0o002, gid=pair.gid)
        for path in shut:
            path.chmod(path.stat().st_mode & ~0o022)
    before = _listing(run)
    partly = {"status": READS["status"], "verify": READS["verify"]} | WRITES
    if what != "the run's folder":
        del partly["report"], partly["seal"]  # which have what they need
    answers = _type(pair, run, partly if shut else ALL)
    concerned = set(WRITES) - ({"report", "seal"} if shut and what != "the run's folder" else set())
    concerned -= {"unlock"} if what in ("the ledger", "the run's folder", "the lineage's folder") else set()
    concerned -= {"endpoint"} if shut and what != "the run's folder" else set()
    for name, answer in answers.items():
        if name in concerned:
            _is_refused(name, answer, "mlipilot-bob may not write this")
            assert "mlipilot-alice types `find " in answer[2]
        else:
            _is_told_once(name, answer)
        if name in READS:
            assert answer[0] == 0 or name == "verify", (name, answer)
    if not shut:
        assert _listing(run) == before


def test_a_read_only_file_system_is_said_to_be_one_and_can_be_read(pair: Pair, run: RunPaths) -> None:
    pair.own(pair.bob, run.root.parent)
    mount = f"mount --bind {run.root} {run.root} && mount -o remount,bind,ro {run.root}"
    answers = _type(pair, run, READS | WRITES, before=mount)
    for name in WRITES:
        _is_refused(name, answers[name], "the file system is read-only here")
    for name in READS:
        _is_told_once(name, answers[name])
        assert answers[name][0] == 0 or name == "verify", (name, answers[name])


UNREADABLE: dict[str, Callable[[RunPaths], Path]] = {
    "the run": lambda run: run.root,
    "the run's list": lambda run: run.root,
    "the lineage": lambda run: run.lineage(0).root,
    "the ledger": lambda run: run.lineage(0).ledger,
    "the campaign": lambda run: run.spec,
    "the scorecard": lambda run: run.scorecard,
    "an iteration": lambda run: run.lineage(0).iteration(0),
}


@pytest.mark.parametrize("what", _few_at_once(UNREADABLE))
def test_what_cannot_be_read_is_one_clear_error(pair: Pair, run: RunPaths, what: str) -> None:
    shut = UNREADABLE[what](run)
    shut.chmod(0o711 if what == "the run's list" else shut.stat().st_mode & ~0o077)
    before = _listing(run)
    answers = _type(pair, run, ALL)
    for name, answer in answers.items():
        _is_told_once(name, answer)
        # A page of what can be read is written all the same; it says what is missing.
        if name in ("verify", "resume", "cancel") or (name == "report --output" and what != "an iteration"):
            assert answer[0] == 2 and "mlipilot-bob may not" in answer[2], (name, answer)
            assert "there is no run" not in answer[2] and "has not begun" not in answer[2]
    assert _listing(run) == before


def test_a_run_that_is_not_there_is_no_question_of_rights(pair: Pair, run: RunPaths) -> None:
    missing = RunPaths(run.root.parent / "other")
    for name, answer in _type(pair, missing, READS | {"cancel": WRITES["cancel"]}).items():
        assert answer[0] == 2 and "there is no run here" in answer[2], (name, answer)


def test_what_bob_reads_is_what_alice_reads(pair: Pair, run: RunPaths) -> None:
    answers = _type(pair, run, READS)
    assert "paused" in answers["status"][1]
    written = pair.desk / f"bob-{run.root.parent.name}" / "report"
    assert (written / "report.html").is_file() and (written / "manifest-sha256.txt").is_file()
    assert {path.owner() for path in files_below(written)} == {"mlipilot-bob"}
    assert run.root.stat().st_uid == pair.alice.uid
