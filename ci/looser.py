"""The looser forms of the types by which pydantic models check their fields. Standard library only.

A model is known by its form: a class with a base and without a decorator. So one is found whose base stands
in another file, and of a dataclass, which checks nothing, no type is taken.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

_NO_MODELS = {"NamedTuple", "Protocol", "TypedDict"}


def checked_types(tree: ast.Module) -> set[ast.AST]:
    """The nodes of the types of all fields and roots, and of the aliases in a module that has models."""
    models = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and _is_model(node)]
    types = [field.annotation for model in models for field in model.body if isinstance(field, ast.AnnAssign)]
    types += [root for model in models for root in model.bases if isinstance(root, ast.Subscript)]
    if models:
        types += [said.value for said in tree.body if isinstance(said, ast.Assign) and _is_alias(said.value)]
    return {part for checked in types for part in _parts(checked)}


def looser(part: ast.AST) -> Iterator[ast.expr]:
    """What may stand in the place of a part of a type."""
    match part:
        case ast.BinOp(left, ast.BitOr(), right):
            yield from (left, right)
        case ast.Subscript(ast.Name("Annotated"), ast.Tuple([bare, *demands])):
            for index in range(len(demands)):
                fewer = demands[:index] + demands[index + 1 :]
                yield _subscript("Annotated", [bare, *fewer]) if fewer else bare
        case ast.Subscript(ast.Name("Literal"), values):
            words = values.elts if isinstance(values, ast.Tuple) else [values]
            if len(words) > 1:
                yield from (_subscript("Literal", words[:i] + words[i + 1 :]) for i in range(len(words)))
            yield ast.Name(type(ast.literal_eval(words[0])).__name__, ast.Load())
        case ast.Subscript(ast.Name(name)) if name != "RootModel":
            yield ast.Name("object", ast.Load())
        case ast.Name(name) if name not in ("Any", "object"):
            yield ast.Name("object", ast.Load())
            if name[0].isupper():  # of an alias: what it is without its demands
                yield ast.Attribute(part, "__origin__", ast.Load())


def _is_model(node: ast.ClassDef) -> bool:
    names = {base.id for base in node.bases if isinstance(base, ast.Name)}
    return bool(node.bases) and not node.decorator_list and not names & _NO_MODELS


def _is_alias(value: ast.expr) -> bool:
    match value:
        case ast.Subscript(ast.Name("Annotated" | "Literal")):
            return True
    return False


def _parts(checked: ast.AST) -> list[ast.AST]:
    """A type and those of which it is made: no value of a `Literal`, and nothing that is added to a type."""
    match checked:
        case ast.Subscript(ast.Name("ClassVar")):
            return []
        case ast.Subscript(ast.Name("Annotated"), ast.Tuple([bare, *_]) as inner):
            return [checked, inner, *_parts(bare)]
        case ast.Subscript(ast.Name(name), inner) if name != "Literal":
            return [checked, *_parts(inner)]
        case ast.Tuple(elements):
            return [checked, *(part for element in elements for part in _parts(element))]
        case ast.BinOp(left, ast.BitOr(), right):
            return [checked, *_parts(left), *_parts(right)]
    return [checked]


def _subscript(name: str, elements: list[ast.expr]) -> ast.Subscript:
    inner = elements[0] if len(elements) == 1 else ast.Tuple(elements, ast.Load())
    return ast.Subscript(ast.Name(name, ast.Load()), inner, ast.Load())
