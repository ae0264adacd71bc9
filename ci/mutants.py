"""The mutants of a Python file: copies of it with one small fault each. Standard library only.

What is not run by the file's own logic is left alone: docstrings, annotations and types (but those by which
a model checks its fields: looser.py), decorators, assertions (they speak to the type checker), imports, and
the `description` of a field.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from looser import checked_types, looser

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_FUNCTIONS = {"min": "max", "max": "min", "all": "any", "any": "all"} | {
    "log": "log2",
    "log1p": "log",
    "exp": "exp2",
}
_OTHER_ERROR = ast.Name("ZeroDivisionError", ast.Load())
_NONE = ast.Constant(None)
_CONTEXT = 50  # characters of a statement that are shown on either side of its fault
_PARTS = ("body", "orelse", "finalbody", "handlers", "cases")
_SKIPPED = {
    ast.FunctionDef: ("decorator_list", "returns"),
    ast.AsyncFunctionDef: ("decorator_list", "returns"),
    ast.ClassDef: ("decorator_list", "bases"),
    ast.AnnAssign: ("annotation",),
    ast.arguments: ("posonlyargs", "args", "vararg", "kwonlyargs", "kwarg"),
}


@dataclass(frozen=True)
class Mutant:
    """One of them. Its statement is written as `ast.unparse` does, so that formatting does not matter."""

    line: int
    where: str
    """The function or class, with those around it; empty for the module."""
    before: str
    after: str
    source: str = field(repr=False, compare=False)
    """The whole file."""


def mutants(source: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    tree = ast.parse(source)
    return sorted(_Maker(tree).of(tree, tree, ()), key=lambda mutant: mutant.line)


class _Maker:
    """Puts each alternative into the tree, writes it down and takes it out again."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree, self.at = tree, 0
        self.parts = [ast.unparse(statement) for statement in tree.body]
        self.checked = checked_types(tree)

    def of(self, parent: ast.AST, statement: ast.AST, where: tuple[str, ...]) -> Iterator[Mutant]:
        """The mutants below `parent`, a part of `statement`."""
        for name, value in ast.iter_fields(parent):
            is_skipped = name in _SKIPPED.get(type(parent), ())
            for index, node in enumerate(value if isinstance(value, list) else [value]):
                if parent is self.tree:
                    self.at = index
                is_checked = node in self.checked
                if not isinstance(node, ast.AST) or (not is_checked and (is_skipped or _is_silent(node))):
                    continue
                put = _putting(parent, name, index if isinstance(value, list) else None)
                here = node if isinstance(node, ast.stmt | ast.excepthandler | ast.match_case) else statement
                others = looser(node) if is_checked else _alternatives(node, in_function=bool(where))
                for other in others:
                    yield self._one(node, other, put, here, where)
                inner = (*where, node.name) if isinstance(node, ast.FunctionDef | ast.ClassDef) else where
                if not _is_silent(node):
                    yield from self.of(node, here, inner)

    def _one(
        self,
        node: ast.AST,
        other: ast.AST,
        put: Callable[[ast.AST], None],
        statement: ast.AST,
        where: tuple[str, ...],
    ) -> Mutant:
        before, line = _text(statement), getattr(node, "lineno", getattr(statement, "lineno", 0))
        put(other)
        after = _text(other if node is statement else statement)
        part = ast.unparse(self.tree.body[self.at])
        source = "\n".join([*self.parts[: self.at], part, *self.parts[self.at + 1 :]])
        put(node)
        return Mutant(line, ".".join(where), *_about_the_change(before, after), source + "\n")


def _putting(parent: ast.AST, name: str, index: int | None) -> Callable[[ast.AST], None]:
    def put(node: ast.AST) -> None:
        if index is None:
            setattr(parent, name, node)
        else:
            getattr(parent, name)[index] = node

    return put


def _text(statement: ast.AST) -> str:
    """A simple statement, or the head of a compound one."""
    shown = copy.copy(statement)
    for part in _PARTS:
        if isinstance(getattr(shown, part, None), list):
            setattr(shown, part, [ast.Expr(ast.Constant(...))] if part == "body" else [])
    if hasattr(shown, "decorator_list"):
        shown.decorator_list = []
    return ast.unparse(shown).strip()


def _about_the_change(before: str, after: str) -> tuple[str, str]:
    """Both without most of what they begin and end with alike, on one line each."""
    before, after = (" ".join(text.split()) for text in (before, after))
    start = _alike(before, after)
    end = min(_alike(before[::-1], after[::-1]), len(before) - start, len(after) - start)
    head, tail = max(0, start - _CONTEXT), max(0, end - _CONTEXT)
    shown = ["…" * (head > 0) + text[head : len(text) - tail] + "…" * (tail > 0) for text in (before, after)]
    return shown[0], shown[1]


def _alike(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


def _is_silent(node: ast.AST) -> bool:
    match node:
        case ast.Expr(ast.Constant()) | ast.Import() | ast.ImportFrom() | ast.Assert():
            return True
        case ast.Subscript(ast.Name("Literal" | "Callable")) | ast.keyword("description"):
            return True
    return False


def _alternatives(node: ast.AST, *, in_function: bool) -> Iterator[ast.AST]:
    """What may stand in the place of `node`: each a fault that somebody could make."""
    match node:
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                yield _with(node, ops=_replaced(node.ops, index, _COMPARISONS[type(operator)]()))
        case ast.BoolOp():
            yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
            yield from (_with(node, values=_without(node.values, i)) for i in range(len(node.values)))
        case ast.UnaryOp(ast.Not() | ast.USub()):
            yield node.operand
        case ast.BinOp() if type(node.op) in _ARITHMETIC:
            yield _with(node, op=_ARITHMETIC[type(node.op)]())
        case ast.AugAssign() if type(node.op) in _ARITHMETIC:
            yield _with(node, op=_ARITHMETIC[type(node.op)]())
        case ast.Constant():
            yield from _other_constant(node.value)
        case ast.List(ctx=ast.Load()) | ast.Tuple(ctx=ast.Load()) | ast.Set():
            yield from (_with(node, elts=_without(node.elts, i)) for i in range(len(node.elts)))
        case ast.Dict():
            for i in range(len(node.keys)):
                yield _with(node, keys=_without(node.keys, i), values=_without(node.values, i))
        case ast.Call():
            yield from _other_calls(node)
        case ast.ClassDef():
            yield from (_with(node, keywords=_without(node.keywords, i)) for i in range(len(node.keywords)))
        case ast.If() | ast.IfExp():
            yield from (_with(node, test=ast.Constant(value)) for value in (True, False))
        case ast.While():
            yield _with(node, test=ast.Constant(False))
        case ast.comprehension():
            for index in range(len(node.ifs)):
                yield from (
                    _with(node, ifs=_replaced(node.ifs, index, ast.Constant(v))) for v in (True, False)
                )
        case ast.Return(ast.AST()) | ast.Yield(ast.AST()) if not isinstance(node.value, ast.Constant):
            yield _with(node, value=_NONE)
        case ast.ExceptHandler(ast.Tuple() as kinds):
            for index in range(len(kinds.elts)):
                yield _with(node, type=_with(kinds, elts=_replaced(kinds.elts, index, _OTHER_ERROR)))
        case ast.ExceptHandler(ast.AST()):
            yield _with(node, type=_OTHER_ERROR)
        case ast.Raise(ast.Call(ast.Name(name)) as call) if name != "Exception":
            yield _with(node, exc=_with(call, func=ast.Name("Exception", ast.Load())))
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
    deletable = ast.Raise | ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Delete
    if _is_validator(node) or (in_function and (isinstance(node, deletable) or _is_plain_call(node))):
        yield ast.Pass()


def _is_plain_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


def _is_validator(node: ast.AST) -> bool:
    match node:
        case ast.FunctionDef(decorator_list=[ast.Call(ast.Name(name)), *_]):
            return name.endswith("_validator")
    return False


def _other_constant(value: object) -> Iterator[ast.AST]:
    match value:
        case bool():
            yield ast.Constant(not value)
        case int() | float():
            yield ast.Constant(value + 1)
        case str():
            yield ast.Constant("XX" + value)
        case bytes():
            yield ast.Constant(b"XX" + value)


def _other_calls(call: ast.Call) -> Iterator[ast.AST]:
    match call.func:
        case ast.Name(name) if name in _FUNCTIONS:
            yield _with(call, func=ast.Name(_FUNCTIONS[name], ast.Load()))
        case ast.Attribute(_, name) if name in _FUNCTIONS:
            yield _with(call, func=_with(call.func, attr=_FUNCTIONS[name]))
        case ast.Name("suppress") | ast.Attribute(_, "suppress"):
            yield _with(call, args=[_OTHER_ERROR])
        case ast.Name("sorted"):
            yield _with(call, func=ast.Name("list", ast.Load()), keywords=[])
    for index, keyword in enumerate(call.keywords):
        if keyword.arg is not None and keyword.arg != "description":
            yield _with(call, keywords=_without(call.keywords, index))


def _without(values: list[Any], index: int) -> list[Any]:
    return values[:index] + values[index + 1 :]


def _replaced(values: list[Any], index: int, value: object) -> list[Any]:
    return [*values[:index], value, *values[index + 1 :]]


def _with(node: ast.AST, **fields: object) -> Any:
    """A copy of `node` with other fields."""
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other
