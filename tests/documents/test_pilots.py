"""The commands of docs/pilots.md and docs/pilots-search.md that can run here, typed as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.documents.blocks import block
from tests.documents.conftest import interrupt
from tests.documents.user import Shell, User

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("installed")]


def test_an_endpoint_step_by_step(user: User, installed: Path) -> None:
    """The server is the scripted pilot's, on loopback: its address and name stand in the document's."""
    commands = block("docs/pilots.md", "export OPENAI_BASE_URL=http://node7:8000/v1")
    with Shell(user, installed) as server, Shell(user, installed) as shell:
        server.type("source .venv/bin/activate")
        server.begin("mlipilot endpoint --scripted")
        server.wait_for("http://127.0.0.1:8765/v1", 60)
        shell.type("source .venv/bin/activate")
        given = commands.take("export OPENAI_BASE_URL=").replace("node7:8000", "127.0.0.1:8765")
        shell.type(given.replace("API_KEY=...", "API_KEY=a-key-of-this-test"))
        said = shell.type(commands.take("mlipilot doctor campaigns/cu_emt.yaml").replace("MODEL", "scripted"))
        # The line that the document tells to expect.
        assert re.search(
            r"ok +endpoint: http://127.0.0.1:8765/v1 answers \(with the key of OPENAI_API_KEY\)", said
        )
        assert "made a tool call: mode native" in said
    # The third command is the README's, and typed there.
    assert commands.take("mlipilot run") == block("README.md", "export OPENAI_BASE_URL=http").lines[1]
    commands.end()


def test_a_search(user: User, installed: Path) -> None:
    commands = block("docs/pilots-search.md", "pip install")
    with Shell(user, installed) as shell:
        shell.type("source .venv/bin/activate")
        shell.type(commands.take("pip install 'mlipilot[hpo]'"))
        shell.begin(commands.take("mlipilot run campaigns/cu_emt.yaml --set pilot=tpe"))
        # Its pilot has made a proposal by then, and that has passed its smoke step.
        shell.wait_for("job 0001/seed-31/train starts", 300)
        interrupt(shell, "runs/cu_emt_tpe")
    commands.end()


def test_a_model_on_this_machine(user: User, installed: Path) -> None:
    """There is no model here: what a user is told, then."""
    commands = block("docs/pilots.md", "pip install")
    with Shell(user, installed) as shell:
        shell.type("source .venv/bin/activate")
        shell.type(commands.take("pip install 'mlipilot[local-llm]'"))
        for _ in range(2):
            said = shell.type(commands.take("mlipilot endpoint --gguf MODEL.gguf"), status=2)
            assert "MODEL.gguf" in said and "Traceback" not in said
    commands.end()


def test_a_run_again(user: User, installed: Path) -> None:
    commands = block("docs/pilots.md", "mlipilot run campaigns/cu_emt.yaml --profile smoke")
    with Shell(user, installed) as shell:
        shell.type("source .venv/bin/activate")
        shell.begin(commands.take("mlipilot run campaigns/cu_emt.yaml"))
        shell.wait_for("job 0001/seed-31/train starts", 300)
        interrupt(shell, "runs/cu_emt_again")
    commands.end()
