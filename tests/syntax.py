"""What a Python file names, with aliases resolved, and what of it imports without a statement."""

from __future__ import annotations

import ast


def names_of(code: str) -> set[str]:
    """The dotted names that a file imports, wherever in it; relative ones begin with their dots."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def bindings(tree: ast.Module) -> list[tuple[str, str]]:
    """Each name that an import makes known, and what it stands for in full."""
    return [each for node in ast.walk(tree) for each in _bound(node).items()]


def aliases_of(tree: ast.Module) -> dict[str, str]:
    """What a name of the file stands for."""
    return dict(bindings(tree))


def _bound(node: ast.AST) -> dict[str, str]:
    if isinstance(node, ast.Import):
        return {
            alias.asname or alias.name.split(".")[0]: alias.name if alias.asname else alias.name.split(".")[0]
            for alias in node.names
        }
    if isinstance(node, ast.ImportFrom):
        return {alias.asname or alias.name: f"{node.module or ''}.{alias.name}" for alias in node.names}
    return {}


def full_name(node: ast.expr, aliases: dict[str, str]) -> str:
    """A dotted name with what its first part stands for; what is no name is "?" in it."""
    if isinstance(node, ast.Attribute):
        return f"{full_name(node.value, aliases)}.{node.attr}"
    return aliases.get(node.id, node.id) if isinstance(node, ast.Name) else "?"


_IMPORTERS = frozenset({"imp", "importlib", "pkgutil", "pydoc", "runpy", "zipimport"})
"""Modules that import others, but for what of them only reads."""
_READERS = ("importlib.metadata.", "importlib.resources.")
_IMPORTING = frozenset(
    {"__builtins__", "__import__", "__loader__", "__spec__", "builtins.__import__", "sys.modules"}
)


def dynamic_imports(code: str) -> list[str]:
    """What imports without a statement, and so no contract sees: as it is written, with names in full."""
    tree = ast.parse(code)
    aliases = aliases_of(tree)
    found = [name for _, name in bindings(tree) if name.endswith(".*") and name.split(".")[0] in _IMPORTERS]
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in inner:
            name = full_name(node, aliases)
            imports = name.split(".")[0] in _IMPORTERS and not name.startswith(_READERS)
            if imports or any(f"{name}.".startswith(f"{importing}.") for importing in _IMPORTING):
                call = calls.get(id(node))
                words = [ast.unparse(word) for word in (*call.args, *call.keywords)] if call else []
                found.append(f"{name}({', '.join(words)})" if call else name)
    return found
