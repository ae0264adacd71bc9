"""The rules on what a file may import or unpickle, against the ways in which that can be written."""

from __future__ import annotations

import pytest

from tests.syntax import dynamic_imports, names_of, unpickling


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "import pickle as p\np.loads(b'')",
        "from pickle import Unpickler",
        "from pickle import load as read",
        "import _pickle",
        "import joblib",
        "from dill import loads",
        "import torch\ntorch.load('x')",
        "import torch\ntorch.load('x', weights_only=True)",
        "import torch as t\nt.load('x')",
        "from torch import load\nload('x')",
        "from torch import load as read\nread('x')",
        "import torch\nread = torch.load",
        "import torch\ntorch.jit.load('x')",
        "from torch.serialization import load\nload('x')",
        "def late():\n    import torch\n    return torch.load('x')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import numpy as np\nnp.load('x')",
        "import numpy as np\nnp.load('x', allow_pickle=bool(1))",
        "import numpy as np\nnp.load('x', None, True)",
        "import numpy as np\nread = np.load",
        "from numpy import load\nload('x', allow_pickle=True)",
        "import numpy.lib.npyio as io\nio.load('x')",
        "import pandas\npandas.read_pickle('x')",
        "eval('1')",
        "from builtins import exec as run\nrun('1')",
        "import builtins\nbuiltins.eval('1')",
        "compile('1', 'x', 'eval')",
        "__import__('pickle')",
        "import runpy",
        "from mlipilot.evaluation.lazily import np\nnp.load('x', allow_pickle=True)",
        "from mlipilot.evaluation.lazily import np\nnp.load('x')",
        "import torch\ngetattr(torch, 'load')('x')",
        "import torch\nt = torch\nt.load('x')",
        "from torch import *",
        "import numpy as np\nnp.lib.format.read_array(stream, allow_pickle=True)",
        "from numpy.lib.npyio import NpzFile\nNpzFile(stream)",
        "import torch\ntorch.storage._load_from_bytes(b'')",
        "from multiprocessing.reduction import ForkingPickler\nForkingPickler.loads(b'')",
        "import torch\ntorch.hub.load_state_dict_from_url('x')",
        "import torch\ntorch.package.PackageImporter('x').load_pickle('a', 'b')",
        "from importlib import import_module\nimport_module('pickle')",
        "import importlib\nimportlib.import_module(name)",
        "from ruamel.yaml import YAML\nYAML(typ='unsafe')",
        "from ruamel.yaml import YAML\nYAML(typ=kind)",
        "yaml.load(text)",
    ],
)
def test_what_can_run_code_in_data_is_found(code: str) -> None:
    assert unpickling(code)


@pytest.mark.parametrize(
    "code",
    [
        "import numpy as np\nnp.load('x', allow_pickle=False)",
        "from numpy import load\nload('x', allow_pickle=False)",
        "import json\njson.load(stream)",
        "import re\nre.compile('x')",
        "import torch\nmodel.eval()\nmodel.load_state_dict(weights)",
        "from ruamel.yaml import YAML\nYAML(typ='safe').parse(text)",
        "from importlib import import_module\nimport_module('numpy')",
        "getattr(record, 'kind')",
    ],
)
def test_what_cannot_is_left_alone(code: str) -> None:
    assert not unpickling(code)


def test_what_a_person_has_looked_at_is_left_alone_and_no_more() -> None:
    assert unpickling("yaml.load(text)", {"yaml.load"}) == []
    assert unpickling("other.load(text)", {"yaml.load"}) == ["1: other.load"]


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
