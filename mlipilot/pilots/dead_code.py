"""Python code without what has no effect: docstrings, constants computed, branches that are never taken.

What is left out cannot change what a program does, whatever the rest of it does: docs/pilots.md says what is
folded, and what is not. It is compared, never run.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

_MEAN_SOMETHING = (ast.Yield, ast.YieldFrom, ast.Await, ast.Global, ast.Nonlocal)
_LEAVES_BLOCK = (ast.Return, ast.Raise, ast.Break, ast.Continue)
_LOOKS_UP_NAMES = {"globals", "locals", "vars", "dir", "eval", "exec", "getattr", "__dict__", "inspect", "*"}
"""Who uses one of these can read a variable without naming it."""
_MOST = 2**64
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def folded(source: bytes | str, names_elsewhere: Collection[str] = ()) -> str:
    """The code of a module in one form; `names_elsewhere` are those that other files may look up in it.

    Raises SyntaxError or ValueError for what is no Python.
    """
    tree = parsed(source)
    while True:
        said = ast.dump(tree)
        tree = _Fold(_mentioned(tree), _idle_names(tree, names_elsewhere)).visit(tree)
        if ast.dump(tree) == said:
            return said


def names_in(source: bytes | str) -> set[str]:
    """Every name that the code uses or spells out. Raises SyntaxError or ValueError."""
    return set(_mentioned(parsed(source)))


def parsed(source: bytes | str) -> ast.Module:
    """The syntax tree. Raises SyntaxError or ValueError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd escapes in strings
        return ast.parse(source)


class _Fold(ast.NodeTransformer):
    """One pass over a tree in which names are `mentioned` so often, and `idle` ones are never read."""

    def __init__(self, mentioned: Counter[str], idle: Collection[str]) -> None:
        self._mentioned, self._idle = mentioned, idle
        self._functions = 0  # around what is visited

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for name in ("body", "orelse", "finalbody"):
            if isinstance(block := getattr(node, name, None), list):
                kept = self._block(block)
                # A block that has to be there says `pass`; a module and an `else` may say nothing.
                needs_one = name == "body" and not isinstance(node, ast.Module)
                setattr(node, name, kept or ([ast.Pass()] if needs_one else []))
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._functions += 1
        self.generic_visit(node)
        self._functions -= 1
        return node

    def _block(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        kept: list[ast.stmt] = []
        for at, statement in enumerate(statements, 1):
            if not self._is_idle(statement):
                kept.append(statement)
            if isinstance(statement, _LEAVES_BLOCK) and self._may_go(statements[at:]):
                break
        return kept

    def _may_go(self, never_run: Sequence[ast.stmt]) -> bool:
        """Whether code that is never run means nothing: a `yield` makes a generator, a binding a local."""
        whole = ast.Module(list(never_run), [])
        if any(isinstance(node, _MEAN_SOMETHING) for node in ast.walk(whole)):
            return False
        inside = _mentioned(whole)
        return not self._functions or all(inside[name] == self._mentioned[name] for name in _bound(whole))

    def _is_idle(self, statement: ast.stmt) -> bool:
        match statement:
            case ast.Pass() | ast.Expr(value=ast.Constant()):
                return True
            case ast.Assert(test=ast.Constant(value=value)):
                return bool(value)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                return name in self._idle
            case ast.FunctionDef(name=name):
                return name in self._idle
        return False

    def visit_If(self, node: ast.If) -> Any:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            run, never_run = (node.body, node.orelse) if node.test.value else (node.orelse, node.body)
            return run if self._may_go(never_run) else node
        return node

    def visit_While(self, node: ast.While) -> Any:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant) and not node.test.value and self._may_go(node.body):
            return node.orelse
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return node.body if node.test.value else node.orelse
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        decides = isinstance(node.op, ast.Or)
        for value in node.values[:-1]:
            if not isinstance(value, ast.Constant):
                break
            if bool(value.value) == decides:
                return value
            node.values.remove(value)
        return node.values[0] if len(node.values) == 1 else node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Not) and isinstance(node.operand, ast.Constant):
            return ast.Constant(not node.operand.value)
        return _computed(node, node.op, node.operand)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        return _computed(node, node.op, node.left, node.right)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if len(node.ops) != 1:
            return node
        return _computed(node, node.ops[0], node.left, node.comparators[0])


def _computed(node: ast.expr, operation: ast.AST, *operands: ast.expr) -> ast.expr:
    """What an operation on numbers gives; where it cannot be said or is large, the operation."""
    numbers = [each.value for each in operands if isinstance(each, ast.Constant) and _is_number(each.value)]
    compute = _OPERATORS.get(type(operation))
    if compute is None or len(numbers) != len(operands):
        return node
    try:
        return ast.Constant(compute(*numbers))
    except ArithmeticError:
        return node


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST


def _idle_names(tree: ast.Module, names_elsewhere: Collection[str]) -> set[str]:
    """Names that are bound to constants and plain functions alone, by statements alone, and never read."""
    mentioned = _mentioned(tree)
    if not _LOOKS_UP_NAMES.isdisjoint(mentioned) or not _LOOKS_UP_NAMES.isdisjoint(names_elsewhere):
        return set()
    harmless: Counter[str] = Counter()
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant()):
                harmless[name] += 1
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(), annotation=ast.Name()):
                harmless[name] += 1
            case ast.FunctionDef(name=name, decorator_list=[]) if _takes_names_alone(node):
                harmless[name] += 1
    in_classes = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for name in _mentioned(ast.Module(node.body, []))
    }
    return {
        name
        for name, count in harmless.items()
        if mentioned[name] == count
        and not name.startswith("__")
        and name not in names_elsewhere
        and name not in in_classes
    }


def _bound(tree: ast.AST) -> set[str]:
    """Names that the code binds or deletes, those of inner functions among them."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.alias(name=name, asname=other):
                found.add(other or name.partition(".")[0])
            case (
                ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
            ):
                found.add(name)
    return found


def _takes_names_alone(function: ast.FunctionDef) -> bool:
    """Whether to define it evaluates nothing but names and constants."""
    arguments, own = function.args, [function.returns] if function.returns else []
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every += [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
    evaluated = [*own, *arguments.defaults, *(d for d in arguments.kw_defaults if d is not None)]
    evaluated += [each.annotation for each in every if each.annotation is not None]
    return all(isinstance(each, ast.Name | ast.Constant) for each in evaluated)


def _mentioned(tree: ast.AST) -> Counter[str]:
    """How often each name stands in the code: as a variable, an attribute, an argument, an import, a word."""
    found: Counter[str] = Counter()
    for node in ast.walk(tree):
        for _, value in ast.iter_fields(node):
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, str):
                    found.update(each.replace(".", " ").split() if not each.isidentifier() else [each])
    return found
