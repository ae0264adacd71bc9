"""The README's commands on one machine, typed as they stand there by an ordinary user in a fresh clone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.documents.blocks import REPOSITORY, block
from tests.documents.conftest import interrupt, label_structures
from tests.documents.user import Shell, User

# One worker installs and runs the quickstart, and tries in that clone what needs it.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("installed")]
MODEL = "runs/cu_emt/lineage-0/iterations/0000/seed-31/train/attempt-1/output/model"


def test_every_verb_of_a_campaign(user: User, installed: Path) -> None:
    commands = block("README.md", "source .venv/bin/activate")
    with Shell(user, installed) as shell:
        shell.type(commands.take("source .venv/bin/activate"))
        assert "cu_emt" in shell.type(commands.take("mlipilot plan campaigns/cu_emt.yaml"))
        shell.type(commands.take("mlipilot run campaigns/cu_emt.yaml --profile smoke"))
        assert "iteration 3 of 3" in shell.type("mlipilot status runs/cu_emt_3")
        assert "by 3 fresh seeds" in shell.type(commands.take("mlipilot confirm runs/cu_emt_3"))
        assert "is confirmed already" in shell.type("mlipilot confirm runs/cu_emt_3", status=2)
        told = json.loads(shell.type("mlipilot status runs/cu_emt_3 --json"))["confirmed"]
        has_held = told["whole"]["confirmed"]  # by trainings of seconds: as chance has it
        ablated = shell.type(commands.take("mlipilot ablate runs/cu_emt_3"), status=0 if has_held else 2)
        assert ("report:" if has_held else "fresh seeds confirmed no step") in ablated
        assert "finished" in shell.type(commands.take("mlipilot status runs/cu_emt --watch"))
        assert "iteration 2" in shell.type(commands.take("mlipilot show runs/cu_emt 2"))
        assert "report.html" in shell.type(commands.take("mlipilot report runs/cu_emt"))
        assert "every verdict recomputed" in shell.type(commands.take("mlipilot verify runs/cu_emt"))
        sealed = commands.take("mlipilot seal runs/cu_emt")
        assert "there is no file with a key here" in shell.type(sealed, status=2)  # test_audit.py has one
        assert "report.html" in shell.type(commands.take("mlipilot resume runs/cu_emt"))
        assert "nothing to cancel" in shell.type(commands.take("mlipilot cancel runs/cu_emt"))
        assert "nobody holds" in shell.type(commands.take("mlipilot unlock runs/cu_emt"))
        dropped = commands.take("mlipilot drop runs/cu_emt 2")
        assert "no candidate under way" in shell.type(dropped, status=2)
        again = shell.type(commands.take("mlipilot reproduce runs/cu_emt --incumbent"))
        assert "the weights of 1 of 1 seeds are the same bytes" in again
        assert "lock: flock keeps two processes apart" in shell.type(commands.take("mlipilot doctor"))
        assert "data/cu_emt" in shell.type(commands.take("mlipilot data build cu_emt"))
        evaluate = commands.take("mlipilot evaluate MODEL_DIR --scorecard scorecards/cu_emt.yaml")
        assert "gates fail" in shell.type(evaluate.replace("MODEL_DIR", MODEL), status=1)
        label_structures(user, installed / "labelled.xyz")
        given = commands.take("mlipilot data import FILES… --name mine")
        assert "data/mine" in shell.type(given.replace("FILES…", "labelled.xyz"))
        shell.type(commands.take("mlipilot init mine --data data/mine"))
        assert "mine" in shell.type("mlipilot plan campaigns/mine.yaml")
        shell.begin(commands.take("mlipilot endpoint --scripted --port 8000"))
        shell.wait_for("http://127.0.0.1:8000/v1", 60)
        shell.interrupt()
        shell.end()
    commands.end()


def test_a_language_model(user: User, installed: Path) -> None:
    commands = block("README.md", "export OPENAI_BASE_URL=http://localhost:8000/v1")
    scripted = "mlipilot endpoint --scripted --port 8000"
    with Shell(user, installed) as server, Shell(user, installed) as shell:
        for each in (server, shell):
            each.type("source .venv/bin/activate")
        server.begin(scripted)
        server.wait_for("http://127.0.0.1:8000/v1", 60)
        shell.type(commands.take("export OPENAI_BASE_URL="))
        run = commands.take("mlipilot run campaigns/cu_emt.yaml").replace("MODEL", "scripted")
        shell.type(run)
        said = shell.type("mlipilot status runs/cu_emt_llm")
        assert "finished" in said and "iteration 2 of 2" in said
        server.interrupt()
        server.end()
    commands.end()


def test_the_quickstart_is_quick_the_second_time_and_knows_the_other_campaign(
    user: User, installed: Path
) -> None:
    with Shell(user, installed) as shell:
        commands = block("README.md", "bash ci/quickstart.sh")
        again = shell.type(commands.take("bash ci/quickstart.sh"), seconds=60)
        assert "going on with runs/cu_emt" in again
        molecules = block("docs/benchmarks.md", "bash ci/quickstart.sh qm7_b3lyp")
        line = molecules.take("bash ci/quickstart.sh qm7_b3lyp")
        assert f"`{line}`" in (REPOSITORY / "README.md").read_text(encoding="utf-8")
        shell.begin(line)
        shell.wait_for("iteration 0: the baseline", 120)
        interrupt(shell, "runs/qm7_b3lyp")
    molecules.end()
    # The second of the two commands is what types all this: .ci/run is nothing but it.
    assert commands.take("bash ci/test.sh").split("#")[0].split() == ["bash", "ci/test.sh"]
    commands.end()
    run = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert run[1:] == ['exec bash "$(dirname "${BASH_SOURCE[0]}")/../ci/test.sh"']
