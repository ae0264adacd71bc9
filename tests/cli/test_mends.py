"""Whoever types a command is told what to do about it where it cannot be done."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import mlipilot
from mlipilot.endpoint.local_model import LocalModel, ModelSettings
from mlipilot.errors import InputError

PACKAGE = Path(mlipilot.__file__).parent


@pytest.mark.parametrize("room", ["cli", "endpoint"])
def test_every_error_of_a_user_s_input_says_what_mends_it(room: str) -> None:
    raised = [
        (path.name, call.lineno, {keyword.arg for keyword in call.keywords})
        for path in (PACKAGE / room).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "InputError"
    ]
    assert len(raised) > 5
    assert [(name, line) for name, line, given in raised if "mend" not in given] == []


def test_a_model_that_is_not_there_is_named_with_the_mend(tmp_path: Path) -> None:
    said = r"none\.gguf: cannot be read: No such file or directory\n  mend: give the file of a model"
    with pytest.raises(InputError, match=said):
        LocalModel(ModelSettings(tmp_path / "none.gguf"), None)
