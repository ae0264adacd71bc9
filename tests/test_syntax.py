"""What a file imports, against the ways in which that can be written."""

from __future__ import annotations

import pytest

from tests.syntax import dynamic_imports, names_of


def test_a_file_s_imports_are_named_in_full() -> None:
    code = "import a.b as c\nfrom d import e\nfrom . import f\nfrom ..g import h\ndef late():\n    import i"
    assert names_of(code) == {"a.b", "d.e", "..f", "..g.h", "i"}


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from importlib import import_module\nimport_module('a.b')", "importlib.import_module('a.b')"),
        ("from importlib import import_module as late\nx = late", "importlib.import_module"),
        ("import importlib\nimportlib.import_module('.b', package='a')",
         "importlib.import_module('.b', package='a')"),
        ("import importlib as i\ni.reload(a)", "importlib.reload(a)"),
        ("import importlib\nx = getattr(importlib, 'import' + '_module')", "importlib"),
        ("import importlib.util\nimportlib.util.find_spec('a')", "importlib.util.find_spec('a')"),
        ("import importlib.util as u\nu.find_spec('a')", "importlib.util.find_spec('a')"),
        ("from importlib import util\nutil.module_from_spec(x)", "importlib.util.module_from_spec(x)"),
        ("from importlib import *\nimport_module('a')", "importlib.*"),
        ("import importlib.metadata\nimportlib.import_module('a')", "importlib.import_module('a')"),
        ("__import__('a.b')", "__import__('a.b')"),
        ("import builtins\nbuiltins.__import__('a')", "builtins.__import__('a')"),
        ("__builtins__['__import__']('a')", "__builtins__"),
        ("__spec__.loader.load_module('a')", "__spec__.loader.load_module('a')"),
        ("import sys\nsys.modules['a.b']", "sys.modules"),
        ("import sys\nsys.modules.get('a.b')", "sys.modules.get('a.b')"),
        ("from sys import modules\nmodules['a']", "sys.modules"),
        ("import pkgutil\npkgutil.resolve_name('a:b')", "pkgutil.resolve_name('a:b')"),
        ("import runpy\nrunpy.run_module('a')", "runpy.run_module('a')"),
        ("def late():\n    import importlib as i\n    i.import_module(x)", "importlib.import_module(x)"),
    ],
)  # fmt: skip
def test_an_import_without_a_statement_is_found(code: str, found: str) -> None:
    assert dynamic_imports(code) == [found]


@pytest.mark.parametrize(
    "code",
    [
        "import importlib",
        "from importlib.metadata import version\nversion('a')",
        "import importlib.metadata\nimportlib.metadata.version('a')",
        "from importlib import resources\nresources.files('a')",
        "import sys\nsys.exit(sys.argv)",
        "self.modules['a']",
        "def late():\n    from a import b",
    ],
)
def test_what_imports_by_a_statement_or_not_at_all_is_left_alone(code: str) -> None:
    assert dynamic_imports(code) == []
