"""Each exit status that the package gives stands at the one place where a reader looks for it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from mlipilot import errors

PACKAGE = Path(errors.__file__).parent


def _given(tree: ast.Module) -> Iterator[int]:
    """Statuses of errors, of the evaluator and of programs that end themselves."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name("exit_status" | "REFUSED")], value=ast.Constant(int(status))):
                yield status
            case ast.Call(ast.Attribute(ast.Name("sys"), "exit"), [ast.Constant(int(status))]):
                yield status
            case ast.Call(ast.Attribute(ast.Name("sys"), "exit"), [ast.BinOp(ast.Constant(128))]):
                yield 143


def test_every_exit_status_is_explained_beside_the_errors() -> None:
    given = {status for path in PACKAGE.rglob("*.py") for status in _given(ast.parse(path.read_text()))}
    told = {int(number) for number in re.findall(r"\b\d+(?= (?!\+)|,)", errors.__doc__ or "")}
    assert given | {0} == told - {128} and {3, 79, 130, 143} < given


def test_the_files_that_it_names_are_there() -> None:
    named = re.findall(r"`([\w/]+\.py)`", errors.__doc__ or "")
    assert len(named) == 4 and all((PACKAGE / name).is_file() for name in named)
