"""Calls in Python's syntax: Llama 3.2 and 4, and everything behind Llama's `<|python_tag|>` that is no JSON.

`[read_file(path="recipe.yaml"), list_files()]`. The text is parsed and its literals are read; nothing is run.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from mlipilot.endpoint.dialects.reading import MAX_TRIES, Found, marked, place_of

_CALL = r"[A-Za-z_][\w.]{0,63}\("
_START = re.compile(
    rf"<\|python_(?:tag|start)\|>\s*(?=\[?[A-Za-z_])|^[ \t]*(?=\[\s{{0,9}}{_CALL})|\A\s*(?={_CALL})",
    re.MULTILINE,
)
_STOP = re.compile(r"<\|python_end\|>|<\|e[a-z]{1,3}_id\|>|^[ \t]*```", re.MULTILINE)
_MAX_TEXT = 100_000
_MAX_STARTS = 4
_CONSTANTS = {"true": True, "false": False, "null": None}


def calls_in(text: str) -> list[Found]:
    """The calls of the first place that is a call, or a list of calls, and nothing else."""
    for start in marked(text, _START)[:_MAX_STARTS]:
        body = text[start.end() : place_of(_STOP, text, start.end())].strip()
        # prose may follow a list, if it makes no link of it; a call without brackets stands alone
        end = body.rfind("]") + 1
        in_brackets = body.startswith("[") and not body.startswith("(", end)
        tree = _parsed(body) or (_parsed(body[:end]) if in_brackets else None)
        if tree is not None and (calls := _calls(tree, start.start())):
            return calls
    return []


def _parsed(text: str) -> ast.expr | None:
    if not text or len(text) > _MAX_TEXT:
        return None
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _calls(tree: ast.expr, at: int) -> list[Found]:
    """The calls that an expression is, or none when any part of it is something else."""
    entries = tree.elts if isinstance(tree, ast.List | ast.Tuple) else [tree]
    calls = [_call(entry, at) for entry in entries[:MAX_TRIES]]
    return [call for call in calls if call is not None] if all(calls) else []


def _call(entry: ast.expr, at: int) -> Found | None:
    match entry:
        case (
            ast.Call(func=ast.Name(id=name))
            | ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="call"))
        ):
            pass  # Llama writes the calls of its built-in tools as name.call(…)
        case _:
            return None
    if entry.args or any(keyword.arg is None for keyword in entry.keywords):
        return Found(at, name, None, "every argument must be given by its name")
    try:
        return Found(at, name, {str(keyword.arg): _literal(keyword.value) for keyword in entry.keywords})
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return Found(at, name, None, "the arguments must be literals")


def _literal(value: ast.expr) -> Any:
    if isinstance(value, ast.Name) and value.id in _CONSTANTS:
        return _CONSTANTS[value.id]
    return ast.literal_eval(value)
