"""What the documents say lies where: each file that they name exists, and holds what is said to be in it."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.documents.blocks import REPOSITORY, documents

PAGE = "docs/where-is-what.md"
CODE = re.compile(r"(?<![\w/.*-])(?:[\w.-]+/)*[\w.-]+\.(?:py|sh|sbatch|jinja|j2|css|def)\b(?![\w/*-])")
# Files of a user, of a site or of a run.
OF_OTHERS = {"site.sh", "campaigns/water.sbatch", "sbatch/site.sh", "RUN/spool/job.sh"}


def answers() -> list[tuple[str, str, str]]:
    """Question, file and name of each row of the page."""
    text = (REPOSITORY / PAGE).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if "? |" in line]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [(question, file.strip("`"), name.strip("`")) for question, file, name in rows]


def names_in(source: str) -> Iterator[str]:
    """Every function, class and constant at the top of a Python file, and `Class.method`."""
    for node in ast.parse(source).body:
        match node:
            case ast.FunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name, body=body):
                yield name
                yield from (f"{name}.{part.name}" for part in body if isinstance(part, ast.FunctionDef))
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def test_the_page_answers_thirty_questions_once_each() -> None:
    questions = [question for question, _, _ in answers()]
    assert len(questions) == len(set(questions)) >= 30


@pytest.mark.parametrize(("question", "file", "name"), answers())
def test_what_the_page_names_is_there(question: str, file: str, name: str) -> None:
    source = (REPOSITORY / file).read_text(encoding="utf-8")
    if file.endswith(".py"):
        assert name in set(names_in(source)), question
    elif name:
        assert re.search(rf"^{name}\(\)", source, re.MULTILINE), question
    else:
        assert source, question


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    """Each file of the repository by every end of its path: a/b.py and b.py."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, check=True).stdout.decode()
    paths = [path.split("/") for path in listed.splitlines() if (REPOSITORY / path).exists()]
    return {"/".join(parts[start:]) for parts in paths for start in range(len(parts))}


@pytest.mark.parametrize("document", [name for name in documents() if name != "CHANGELOG.md"])
def test_every_file_of_code_that_is_named_is_there(document: str, tracked: set[str]) -> None:
    """By its path from the root, from the package or, where that is enough, by its name."""
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    named = {name.removeprefix("../").removeprefix("./") for name in CODE.findall(text)}
    assert sorted(named - tracked - OF_OTHERS) == []
