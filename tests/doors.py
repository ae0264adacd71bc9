"""Doors by which data become code: what can unpickle, evaluate, import, or look up by a computed name.

A list of the known doors is short of the next one. So it is turned round: of a module that has a door a file
may use what tests/harmless.py lists and nothing else; a module that is not there is a door, and so is looking
something up by a computed name. What a person has looked at stands in tests/looked_at.py.
"""

from __future__ import annotations

import ast
import re
import subprocess
import textwrap
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from tests.harmless import ALLOWED, BUILTINS, PLAIN, PLAIN_DUNDERS
from tests.syntax import aliases_of, bindings, dynamic_imports, full_name

ROOT = Path(__file__).resolve().parents[1]
OWN = frozenset({"looser", "mlipilot", "mlipilot_labels", "mutants", "tests"})
_OF_ANYTHING = re.compile(
    r"(?i:(?:.*_)?(?:un|de)?(?:load|loads|pickle|pickler)(?:_.*)?)|recv|read_(?:array|hdf)|parse_(?:file|raw)"
    r"|(?:exec|import|run)_(?:code|module|path)|from_string|weights_only|attrgetter|methodcaller|ImportString"
    r"|compile_expression|get_type_hints|_evaluate|NpzFile|Client|Listener|Manager|Pipe|Pool|(?:Joinable|Simple)?Queue|add_extension|f_(?:builtins|globals|locals)|Py[A-Z_]\w+"
)
"""Attributes that are a door whatever they belong to, which a name need not tell."""
_RUNS = re.compile(
    r"os\.(?:exec[lv]p?e?|spawn[lv]p?e?|posix_spawnp?|system|popen)|subprocess\.get(?:status)?output"
    r"|http\.server\.CGIHTTPRequestHandler"
)
"""What has another program run, or a shell read a text, in modules that have no door else."""
_EVALUATES = re.compile(r"\b(?:__import__|compile|eval|exec)\(")
_HARMLESS = frozenset({"load_state_dict"})


def _says_no_pickle(call: ast.Call) -> bool:
    """Whether NumPy is told to refuse what it would have to unpickle; nothing else does."""
    said = [key.value for key in call.keywords if key.arg == "allow_pickle"]
    return len(said) == 1 and isinstance(said[0], ast.Constant) and said[0].value is False


def _is_safe_yaml(call: ast.Call) -> bool:
    said = [ast.unparse(key.value) for key in call.keywords if key.arg in ("typ", None)]
    return not call.args and all(kind in ("'rt'", "'safe'") for kind in said)


def _has_no_extensions(call: ast.Call) -> bool:
    """Whether Jinja imports nothing by a name: an extension is given as one, or as a class."""
    return not call.args and all(key.arg not in ("extensions", None) for key in call.keywords)


def _names_its_package(call: ast.Call) -> bool:
    """Whether the package that Jinja imports for its templates stands there."""
    return len(call.args) == 1 and isinstance(call.args[0], ast.Constant) and not call.keywords


_IF_TOLD = {"numpy.load": _says_no_pickle, "ruamel.yaml.YAML": _is_safe_yaml}
_IF_TOLD |= {"jinja2.Environment": _has_no_extensions, "jinja2.PackageLoader": _names_its_package}
"""What is no door if it is called like this; a person looks at the whole call."""
_TYPES = frozenset({"jinja2.Environment"})
"""Those of them that stand for a type where they are not called."""


def doors(code: str) -> list[str]:
    """The doors of a file, each once and as it is written."""
    return list(dict.fromkeys([*_File(ast.parse(code)).doors(), *dynamic_imports(code)]))


def names_used(code: str) -> set[str]:
    """What a file uses of what it imports, in full."""
    return set(_File(ast.parse(code)).names())


class _File:
    def __init__(self, tree: ast.Module) -> None:
        self.tree, self.aliases = tree, aliases_of(tree)
        self.nodes = list(ast.walk(tree))
        calls = [node for node in self.nodes if isinstance(node, ast.Call)]
        self.calls = {id(call.func): call for call in calls}
        # Of these the whole is looked at.
        self.parts = {id(node.value) for node in self.nodes if isinstance(node, ast.Attribute)}
        self.parts |= {id(call.args[0]) for call in calls if _looks_up_what_is_computed(call)}

    def doors(self) -> Iterator[str]:
        names = bindings(self.tree)
        yield from (name for _, name in names if not _may_be_imported(name))
        yield from (f"{own}: {name}" for own, name in names if self.aliases[own] != name)  # which is meant?
        for node in self.nodes:
            match node:
                case ast.Name() | ast.Attribute():
                    yield from self._of_name(node)
                case ast.Call() if any(is_door(node) for is_door in _CALLS):
                    yield ast.unparse(node)
                case ast.MatchClass(kwd_attrs=looked_up) if any(map(_is_of_anything, looked_up)):
                    yield ast.unparse(node)
                case ast.Constant(value=str()) | ast.JoinedStr():
                    yield from (what for each in _in_text(_text_of(node)) for what in each.doors())

    def _of_name(self, node: ast.Name | ast.Attribute) -> Iterator[str]:
        whole, call, name = None, self.calls.get(id(node)), self._imported_name(node)
        if id(node) in self.parts or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)):
            return
        if name in _IF_TOLD:
            is_door = name not in _TYPES if call is None else not _IF_TOLD[name](call)
            whole = call
        elif name:
            is_door = _is_door(name)
        else:
            first, *rest = full_name(node, {}).split(".")
            is_door = (
                first in BUILTINS or (first == "getattr" and not call) or any(map(_is_of_anything, rest))
            )
            whole = call if isinstance(node, ast.Name) else None
        if is_door:
            yield ast.unparse(whole or node)

    def names(self) -> Iterator[str]:
        for node in self.nodes:
            if isinstance(node, ast.Name | ast.Attribute) and (name := self._imported_name(node)):
                yield name
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from (name for each in _in_text(node.value) for name in each.names())

    def _imported_name(self, node: ast.Name | ast.Attribute) -> str:
        """In full what it says of an import; empty where it begins with none."""
        base: ast.expr = node
        while isinstance(base, ast.Attribute):
            base = base.value
        is_import = isinstance(base, ast.Name) and base.id in self.aliases
        return _resolved(full_name(node, self.aliases)) if is_import else ""


def _is_door(name: str) -> bool:
    """Whether what is imported by this name in full, or an attribute of it, is one."""
    parts = name.split(".")
    root = parts[0]
    if root in PLAIN:
        return _leads_elsewhere(name) or _RUNS.fullmatch(name) is not None
    if root in OWN:  # what a module of ours defines is looked at where it stands
        modules = [n for n in range(1, len(parts)) if ".".join(parts[:n]) in _exported()]
        return any(map(_is_of_anything, parts[max(modules, default=0) + 1 :]))
    used = [n for n in range(1, len(parts) + 1) if ".".join(parts[:n]) in ALLOWED]
    return not used or any(map(_is_of_anything, parts[used[0] :]))


@cache
def _leads_elsewhere(name: str) -> bool:
    """Whether a module without a door has another one's there: `os.sys`."""
    root, *rest = name.split(".")
    held: object = import_module(root)
    for length, part in enumerate(rest, 1):
        try:
            held = getattr(held, part)
        except AttributeError:
            try:
                held = import_module(".".join([root, *rest[:length]]))
            except ImportError:
                return False
        if isinstance(held, ModuleType) and held.__name__.split(".")[0] not in PLAIN:
            return True
    return False


def _is_of_anything(attribute: str) -> bool:
    if attribute.startswith("__") and attribute.endswith("__"):
        return attribute not in PLAIN_DUNDERS
    return attribute not in _HARMLESS and _OF_ANYTHING.fullmatch(attribute) is not None


def _may_be_imported(name: str) -> bool:
    """Whether what an import makes known is no door, or there is below it what is none."""
    name = _resolved(name)
    return not name.endswith(".*") and (
        not _is_door(name) or any(f"{used}.".startswith(f"{name}.") for used in ALLOWED)
    )


def _looked_up(call: ast.Call) -> ast.expr | None:
    """The name by which an attribute is looked up."""
    is_lookup = isinstance(call.func, ast.Name) and call.func.id == "getattr"
    return call.args[1] if is_lookup and len(call.args) > 1 else None


def _looks_up_what_is_computed(call: ast.Call) -> bool:
    return not isinstance(_looked_up(call), ast.Constant | None)


def _looks_up_a_door(call: ast.Call) -> bool:
    name = _looked_up(call)
    return isinstance(name, ast.Constant) and (_is_of_anything(str(name.value)) or name.value in BUILTINS)


def _unpickles(call: ast.Call) -> bool:
    return any(key.arg == "allow_pickle" for key in call.keywords) and not _says_no_pickle(call)


def _asks_a_shell(call: ast.Call) -> bool:
    told = [key.value for key in call.keywords if key.arg == "shell"]
    return any(not isinstance(value, ast.Constant) or bool(value.value) for value in told)


def _extends(call: ast.Call) -> bool:
    """Whether Jinja is given extensions, by whatever name it is called: `overlay` takes some, too."""
    return any(key.arg == "extensions" for key in call.keywords)


_CALLS = (_looks_up_what_is_computed, _looks_up_a_door, _unpickles, _asks_a_shell, _extends)


def _text_of(node: ast.Constant | ast.JoinedStr) -> str:
    """Of a string whose parts are computed: with a name for each of these."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    return "".join(_text_of(part) if isinstance(part, ast.Constant) else "computed" for part in node.values)


def _in_text(text: str) -> list[_File]:
    """A text that is Python and imports something, or evaluates: another interpreter is to run it."""
    evaluates = _EVALUATES.search(text) is not None
    try:
        tree = ast.parse(textwrap.dedent(text)) if "import" in text or evaluates else ast.Module([], [])
    except (SyntaxError, ValueError):
        return []
    return [_File(tree)] if bindings(tree) or evaluates else []


def _resolved(name: str) -> str:
    """What a name that one of our own modules hands on stands for."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        if stands_for := _exported().get(".".join(parts[:length])):
            return _resolved(".".join([stands_for, *parts[length:]]))
    return name


@cache
def _exported() -> dict[str, str]:
    """What each module of ours imports, by the name that it has there; "" for the module itself."""
    found: dict[str, str] = {}
    for path in python_files():
        *folders, stem = path.relative_to(ROOT).with_suffix("").parts
        if folders[0] in OWN:
            module = ".".join(folders if stem == "__init__" else [*folders, stem])
            own = aliases_of(ast.parse(path.read_text()))
            found |= {f"{module}.{name}": full for name, full in own.items() if f"{module}.{name}" != full}
            found[module] = ""
    return found


@cache
def shipped_files() -> list[Path]:
    """Every file but tests, documents and lock files."""
    argv = ["git", "ls-files", "-co", "--exclude-standard", "--", ".", ":!tests", ":!*.md", ":!*.lock"]
    listed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.splitlines() if (ROOT / name).is_file()]


def python_files() -> list[Path]:
    """Every Python file but tests."""
    return [path for path in shipped_files() if path.suffix == ".py"]


def in_scripts() -> dict[str, list[str]]:
    """The Python that stands in other files, by their paths from the root."""
    others = [path for path in shipped_files() if path.suffix != ".py"]
    texts = {path: path.read_text(encoding="utf-8", errors="replace") for path in others}
    return {str(path.relative_to(ROOT)): found for path, text in texts.items() if (found := in_script(text))}


def in_script(text: str) -> list[str]:
    """The Python in a shell script: the whole of it, or what is quoted or a document, whoever runs it."""
    if re.match(r"#!.*python", text):
        return [text]
    after_c = re.findall(r"""-\w*c\s+\$?(['"])(.*?)\1""", text.replace("\\\n", " "), re.DOTALL)
    quoted = re.findall(r"""(['"])((?:(?!\1).)*)\1""", text, re.DOTALL)
    documents = re.findall(r"<<-?\s*(['\"]?)(\w+)\1[^\n]*\n(.*?)\n\s*\2(?:\n|$)", text, re.DOTALL)
    texts = dict.fromkeys([*(code for _, code in after_c + quoted), *(code for *_, code in documents)])
    return [code for code in texts if _in_text(code)]
