"""No document tells a user to type what no test has typed, or what the toolkit does not know."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from mlipilot.campaign.spec import load_campaign
from mlipilot.cli.app import app
from tests.documents.blocks import COMMANDS, REPOSITORY, Block, blocks, documents

# Each block by the beginning of its first command: how many commands it has, and the test that types them.
TYPED = {
    ("README.md", "bash ci/quickstart.sh"): (2, "test_readme.py"),
    ("README.md", "source .venv/bin/activate"): (21, "test_readme.py"),
    ("README.md", "export OPENAI_BASE_URL=http://localhost:8000/v1"): (2, "test_readme.py"),
    ("README.md", "git clone"): (6, "test_cluster.py"),
    ("README.md", "* * * * *"): (1, "test_cluster.py"),
    ("README.md", "sbatch --array=0-3"): (6, "test_merge.py"),
    ("containers/README.md", "containers/build.sh image cpu"): (2, "test_containers.py"),
    ("containers/README.md", "containers/build.sh wheelhouse cpu"): (4, "test_containers.py"),
    ("containers/README.md", "openssl genpkey"): (3, "test_containers.py"),
    ("docs/audit.md", "mlipilot verify runs/cu_emt "): (4, "test_audit.py"),
    ("docs/audit.md", "cd runs/cu_emt && work="): (8, "test_audit.py"),
    ("docs/audit.md", "field rfc3161"): (2, "test_audit.py"),
    ("docs/benchmarks.md", "bash ci/quickstart.sh qm7_b3lyp"): (1, "test_readme.py"),
    ("docs/data-import.md", "mlipilot data import"): (3, "test_data.py"),
    ("docs/data-qm7.md", "mlipilot data build qm7_b3lyp  "): (4, "test_data.py"),
    ("docs/data-qm7.md", "mlipilot data build qm7_b3lyp --qm7"): (4, "test_data.py"),
    ("docs/pilots-search.md", "pip install"): (2, "test_pilots.py"),
    ("docs/pilots.md", "export OPENAI_BASE_URL=http://node7:8000/v1"): (3, "test_pilots.py"),
    ("docs/pilots.md", "campaign+=(--set pilot=local)"): (7, "../sbatch/test_site_block.py"),
    ("docs/pilots.md", "pip install"): (3, "test_pilots.py"),
    ("docs/pilots.md", "mlipilot run campaigns/cu_emt.yaml --profile smoke"): (1, "test_pilots.py"),
}
NOT_TYPED = {
    ("docs/benchmarks.md", "python ci/benchmark_submitter.py"): "minutes; its lines are made by test_load.py",
    ("docs/benchmarks.md", "python ci/benchmark_hyperqueue.py"): "minutes; test_hq_cluster.py runs such jobs",
    ("docs/benchmarks.md", "python ci/benchmark_labels.py"): "a quarter of an hour of PySCF",
    ("docs/testing.md", "bash ci/test.sh"): "it is what runs the tests",
    ("docs/testing.md", ".venv/bin/pytest -n 3"): "parts of ci/test.sh",
    ("docs/testing.md", "python ci/mutate.py"): "minutes; tests/ci/test_mutate.py runs it on a toy",
    ("docs/pilots-search.md", "sbatch --array=0-11"): "twelve lineages, three of them with a language model",
}
# What stands in fences without commands, or in none, is no command.
PROGRAMS = (
    r"(\$ *)?(mlipilot|sbatch|scancel|bash|pip|python|apptainer|git|openssl|tar|export|containers/|ci/) *\S"
)


def test_every_command_is_typed_by_a_test_or_it_is_said_why_not() -> None:
    found = {(document, block.lines[0]): block for document in documents() for block in blocks(document)}
    known = {key: matches(key, found) for key in (*TYPED, *NOT_TYPED)}
    assert {key: len(lines) for key, lines in known.items() if len(lines) != 1} == {}
    assert found.keys() - {line for lines in known.values() for line in lines} == set()
    for key, (number, test) in TYPED.items():
        assert len(found[known[key][0]].lines) == number, f"{key}: {test} is to type what is new there"
        typed = (Path(__file__).parent / test).read_text(encoding="utf-8")
        assert f'"{key[1].strip()}' in typed, f"{test} types no {key[1]}"


def matches(key: tuple[str, str], found: dict[tuple[str, str], Block]) -> list[tuple[str, str]]:
    """The blocks whose first command begins as `key` says."""
    return [line for line in found if line[0] == key[0] and line[1].startswith(key[1])]


@pytest.mark.parametrize("document", documents())
def test_commands_stand_in_fences_that_say_so(document: str) -> None:
    language, others = None, []
    for line in (REPOSITORY / document).read_text(encoding="utf-8").splitlines():
        assert not re.match(r"\s*~~~", line), "fences here are of backticks"
        if line.lstrip().startswith("```"):
            language = line.strip().strip("`") if language is None else None
            assert language in {None, "text", "yaml", "mermaid"} | COMMANDS, line
        elif language not in COMMANDS and (language or line.startswith(("    ", "\t"))):
            others.append(line)
    assert [line for line in others if re.match(rf"\s*{PROGRAMS}", line)] == []


@pytest.mark.parametrize("document", documents())
def test_the_options_of_our_scripts_are_theirs(document: str) -> None:
    for line in (line for block in blocks(document) for line in block.lines):
        words = line.split(" #")[0].split()
        for script in (word for word in words if word.endswith(".sh")):
            text = (REPOSITORY / script).read_text(encoding="utf-8")
            told = words[words.index(script) + 1 :]
            assert [word for word in told if word.startswith("--") and word not in text] == [], line


@pytest.mark.parametrize("document", documents())
def test_every_setting_that_is_named_is_read(document: str) -> None:
    setting = re.compile(r"MLIPILOT_[A-Z0-9_]*[A-Z0-9]\b")
    folders = [REPOSITORY / name for name in ("sbatch", "ci", "containers", "campaigns")]
    scripts = [file for folder in folders for file in folder.rglob("*") if file.suffix in (".sh", ".sbatch")]
    read = {name for file in scripts for name in setting.findall(file.read_text(encoding="utf-8"))}
    assert set(setting.findall((REPOSITORY / document).read_text(encoding="utf-8"))) <= read


def told_to_campaigns() -> list[tuple[str, str]]:
    """The commands of the documents with the file of a shipped campaign in them."""
    lines = [(document, line) for document in documents() for b in blocks(document) for line in b.lines]
    return [
        (document, line) for document, line in lines if re.search(r"campaigns/(cu_emt|qm7_b3lyp)\.yaml", line)
    ]


@pytest.mark.parametrize(("document", "line"), told_to_campaigns())
def test_campaigns_take_the_profile_and_the_settings_that_they_are_told(document: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    told = [(option, value) for option, value in itertools.pairwise(words) if option.startswith("--")]
    profiles: list[Any] = [value for option, value in told if option == "--profile"]
    settings = [value for option, value in told if option == "--set" and "replay" not in value]
    (campaign,) = [word for word in words if word.startswith("campaigns/")]
    load_campaign(REPOSITORY / campaign, profiles[0] if profiles else None, settings)


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
        r"campaigns/(mine|water|x)\.|scorecards/water\.|containers/(mlipilot-|wheelhouse|images)|sbatch/site\."
    )
    assert [name for name in named if not made.match(name) and not (REPOSITORY / name).exists()] == []
