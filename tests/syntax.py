"""What a Python file names, with aliases resolved, and which of it can run code that lies in data."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator

MODULES = frozenset(
    {"_pickle", "cloudpickle", "dill", "joblib", "marshal", "pickle", "pickletools", "runpy", "shelve"}
)
"""A file has no business with these: what they read can run code."""
BUILTINS = frozenset({"__import__", "builtins.eval", "builtins.exec", "compile", "eval", "exec"})
NAMES = frozenset(
    {
        *("ForkingPickler", "NpzFile", "Unpickler", "_load_from_bytes", "load_state_dict_from_url", "loads"),
        *("load_module", "load_pickle", "read_array", "read_pickle", "unsafe_load", "weights_only"),
    }
)
"""Wherever they come from."""
HARMLESS = frozenset({"json.load", "json.loads", "safetensors.torch.load", "tomllib.load", "tomllib.loads"})
IMPORTERS = frozenset({"importlib.import_module"})


def names_of(code: str) -> set[str]:
    """The dotted names that a file imports, wherever in it; relative ones begin with their dots."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def unpickling(code: str, looked_at: Collection[str] = ()) -> list[str]:
    """What in a file can run code that lies in data, each as `line: what`.

    Whatever is called `load` counts, and a module that is named by a variable, unless a person has
    `looked_at` the expression and found that it cannot.
    """
    tree = ast.parse(code)
    aliases = _aliases(tree)
    found = [f"{line}: {name}" for line, name in _imported(tree) if _is_of_pickles(name)]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    told = {id(call.func) for call in calls if _says_no_pickle(call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node) not in looked_at:
            name = _full(node, aliases)
            last = name.split(".")[-1]
            loads = last == "load" and not (last == name and isinstance(node, ast.Name) and node.id == "load")
            if name in HARMLESS or (loads and id(node) in told):
                continue
            if loads or name in BUILTINS or last in NAMES:
                found.append(f"{node.lineno}: {name}")
    for call in calls:
        found += [f"{call.lineno}: {said}" for said in _odd(call, aliases) if said not in looked_at]
    return found


def _is_of_pickles(name: str) -> bool:
    return name.split(".")[0] in MODULES or name.endswith(".*")


def _odd(call: ast.Call, aliases: dict[str, str]) -> Iterator[str]:
    """What a call itself says that is suspicious whatever it calls."""
    name, text = _full(call.func, aliases), ast.unparse(call)
    first = call.args[0] if call.args else None
    if name in IMPORTERS and (not isinstance(first, ast.Constant) or _is_of_pickles(str(first.value))):
        yield text
    if name == "getattr" and len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
        asked = str(call.args[1].value)
        yield from [text] if "load" in asked or asked in NAMES | BUILTINS else []
    if any(key.arg == "allow_pickle" for key in call.keywords) and not _says_no_pickle(call):
        yield text
    if name.split(".")[-1] == "YAML" and any(
        key.arg == "typ" and ast.unparse(key.value) not in ("'rt'", "'safe'") for key in call.keywords
    ):
        yield text


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


_IMPORTERS = frozenset({"imp", "importlib", "pkgutil", "pydoc", "runpy", "zipimport"})
"""Modules that import others, but for what of them only reads."""
_READERS = ("importlib.metadata.", "importlib.resources.")
_IMPORTING = frozenset(
    {"__builtins__", "__import__", "__loader__", "__spec__", "builtins.__import__", "sys.modules"}
)


def dynamic_imports(code: str) -> list[str]:
    """What imports without a statement, and so no contract sees: as it is written, with names in full."""
    tree = ast.parse(code)
    aliases = _aliases(tree)
    found = [name for _, name in _imported(tree) if name.endswith(".*") and name.split(".")[0] in _IMPORTERS]
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in inner:
            name = _full(node, aliases)
            imports = name.split(".")[0] in _IMPORTERS and not name.startswith(_READERS)
            if imports or any(f"{name}.".startswith(f"{importing}.") for importing in _IMPORTING):
                call = calls.get(id(node))
                words = [ast.unparse(word) for word in (*call.args, *call.keywords)] if call else []
                found.append(f"{name}({', '.join(words)})" if call else name)
    return found
