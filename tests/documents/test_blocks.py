"""No document tells a user to type what no test has typed, or what the toolkit does not know."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from mlipilot.cli.app import app
from tests.documents.blocks import REPOSITORY, blocks, documents

# Each block by the beginning of its first command, and the test that types it.
TYPED = {
    ("README.md", "bash ci/quickstart.sh"): "conftest.py",
    ("README.md", "source .venv/bin/activate"): "test_readme.py",
    ("README.md", "export OPENAI_BASE_URL=http://localhost:8000/v1"): "test_readme.py",
    ("README.md", "git clone"): "test_cluster.py",
    ("README.md", "* * * * *"): "test_cluster.py",
    ("containers/README.md", "containers/build.sh image cpu"): "test_containers.py",
    ("containers/README.md", "containers/build.sh wheelhouse cpu"): "test_containers.py",
    ("containers/README.md", "openssl genpkey"): "test_containers.py",
    ("docs/benchmarks.md", "bash ci/quickstart.sh qm7_b3lyp"): "test_readme.py",
    ("docs/data-import.md", "mlipilot data import"): "test_data.py",
    ("docs/data-qm7.md", "mlipilot data build qm7_b3lyp  "): "test_data.py",
    ("docs/data-qm7.md", "mlipilot data build qm7_b3lyp --qm7"): "test_data.py",
    ("docs/pilots-search.md", "pip install"): "test_pilots.py",
    ("docs/pilots.md", "export OPENAI_BASE_URL=http://node7:8000/v1"): "test_pilots.py",
    ("docs/pilots.md", "campaign+=(--set pilot=local)"): "../sbatch/test_site_block.py",
    ("docs/pilots.md", "pip install"): "test_pilots.py",
    ("docs/pilots.md", "mlipilot run campaigns/cu_emt.yaml --profile smoke"): "test_pilots.py",
}
NOT_TYPED = {
    ("docs/benchmarks.md", "python ci/benchmark_labels.py"): "a quarter of an hour of PySCF",
    ("docs/pilots-search.md", "sbatch --array=0-11"): "twelve lineages, three of them with a language model",
}


def test_every_block_is_typed_by_a_test_or_it_is_said_why_not() -> None:
    known = TYPED | NOT_TYPED
    found = {(document, block.lines[0]) for document in documents() for block in blocks(document)}
    unknown = [
        line for line in found if not [k for k in known if k[0] == line[0] and line[1].startswith(k[1])]
    ]
    gone = [k for k in known if not [line for line in found if k[0] == line[0] and line[1].startswith(k[1])]]
    assert unknown == [] and gone == []
    for (_, first), test in TYPED.items():
        assert f'"{first.strip()}' in (Path(__file__).parent / test).read_text(), f"{test} types no {first}"


@pytest.mark.parametrize("document", documents())
def test_every_fence_names_its_language(document: str) -> None:
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    fences = re.findall(r"^\s*```(.*)$", text, re.MULTILINE)
    assert all(fences[::2]) and not any(fences[1::2])


def spoken_commands() -> list[tuple[str, str]]:
    """All commands of the toolkit that the documents name, in blocks and amid prose."""
    found = []
    for document in documents():
        if document == "CHANGELOG.md":
            continue  # it speaks of former versions, too
        text = (REPOSITORY / document).read_text(encoding="utf-8")
        lines = [line for block in blocks(document) for line in block.lines]
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
        found += [(document, line) for line in (*lines, *spans) if line.startswith("mlipilot ")]
    return found


@pytest.mark.parametrize(("document", "line"), spoken_commands())
def test_every_command_and_option_is_known(document: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands") and words:
        names = words.pop(0).split("|")
        for name in names:
            assert name in command.commands, f"{document}: {line}"
        command = command.commands[names[0]]
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    told = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert told <= options, f"{document}: {line}"


@pytest.mark.parametrize("document", documents())
def test_every_file_that_is_named_is_there(document: str) -> None:
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    named = re.findall(
        r"(?<![\w/.-])((?:ci|sbatch|campaigns|scorecards|containers|docs|tests)/[\w/.-]+\.\w+)", text
    )
    made = re.compile(
        r"campaigns/(mine|water|x)\.|scorecards/water\.|containers/(mlipilot-|wheelhouse|images)"
    )
    assert [name for name in named if not made.match(name) and not (REPOSITORY / name).exists()] == []
