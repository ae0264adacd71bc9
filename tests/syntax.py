"""What a Python file names, with aliases resolved, and which of it can run code that lies in data."""

from __future__ import annotations

import ast

MODULES = frozenset(
    {"_pickle", "cloudpickle", "dill", "joblib", "marshal", "pickle", "pickletools", "runpy", "shelve"}
)
"""A file has no business with these: what they read can run code."""
BUILTINS = frozenset({"__import__", "builtins.eval", "builtins.exec", "compile", "eval", "exec"})
NAMES = frozenset({"Unpickler", "read_pickle", "unsafe_load", "weights_only"})
"""Wherever they come from."""


def names_of(code: str) -> set[str]:
    """The dotted names that a file imports, wherever in it; relative ones begin with their dots."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def unpickling(code: str) -> list[str]:
    """What in a file can run code that lies in data, each as `line: what`."""
    tree = ast.parse(code)
    aliases = _aliases(tree)
    found = [f"{line}: {name}" for line, name in _imported(tree) if name.split(".")[0] in MODULES]
    told = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call) and _says_no_pickle(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            name = _full(node, aliases)
            package, last = name.split(".")[0], name.split(".")[-1]
            loads = last == "load" and (package == "torch" or (package == "numpy" and id(node) not in told))
            if loads or name in BUILTINS or last in NAMES:
                found.append(f"{node.lineno}: {name}")
    return found


def _imported(tree: ast.Module) -> list[tuple[int, str]]:
    """Each import's line and the name that it makes known."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return [(node.lineno, name) for node in imports for name in _bound(node).values()]


def _aliases(tree: ast.Module) -> dict[str, str]:
    """What a name of the file stands for."""
    return {own: name for node in ast.walk(tree) for own, name in _bound(node).items()}


def _bound(node: ast.AST) -> dict[str, str]:
    if isinstance(node, ast.Import):
        return {
            alias.asname or alias.name.split(".")[0]: alias.name if alias.asname else alias.name.split(".")[0]
            for alias in node.names
        }
    if isinstance(node, ast.ImportFrom):
        return {alias.asname or alias.name: f"{node.module or ''}.{alias.name}" for alias in node.names}
    return {}


def _full(node: ast.expr, aliases: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_full(node.value, aliases)}.{node.attr}"
    return aliases.get(node.id, node.id) if isinstance(node, ast.Name) else "?"


def _says_no_pickle(call: ast.Call) -> bool:
    """Whether NumPy is told to refuse what it would have to unpickle; nothing else does."""
    said = [key.value for key in call.keywords if key.arg == "allow_pickle"]
    return len(said) == 1 and isinstance(said[0], ast.Constant) and said[0].value is False
