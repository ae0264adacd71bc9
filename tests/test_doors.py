"""No file that is shipped has a door by which data become code, but those that a person has looked at."""

from __future__ import annotations

import pytest

from tests.doors import ROOT, doors, in_script, in_scripts, names_used, python_files
from tests.harmless import ALLOWED
from tests.looked_at import LOOKED_AT


@pytest.mark.parametrize(
    "code",
    [
        "import typing\ntyping.get_type_hints(f)",
        "import typing\ntyping.ForwardRef(x)._evaluate(a, b, c)",
        "from pydantic import create_model\ncreate_model('X', a=(text, ...))",
        "environment.compile_expression(text)()",
        "import ctypes\nctypes.CDLL(path)",
        "import sys\nsys.path.insert(0, x)",
        "run(['-c', 'exec(open(0).read())'])",
        "run(f'import pickle; pickle.load({x})')",
        "import dataclasses\ndataclasses._create_fn('f', (), text)",
        "import warnings\nwarnings._getcategory(x)",
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
        "import operator\noperator.attrgetter('load')(torch)",
        "import operator\noperator.methodcaller('load', 'x')(torch)",
        "from operator import attrgetter as look\nlook('load')(torch)",
        "from multiprocessing.connection import Client\nClient('x').recv()",
        "import multiprocessing.connection as c\nc.Listener('x').accept().recv()",
        "import multiprocessing\nmultiprocessing.Pipe()",
        "context.Pipe()",
        "end.recv()",
        "import multiprocessing\nmultiprocessing.get_context('spawn').Queue()",
        "context.Queue()",
        "context.Pool(2)",
        "from jinja2 import Environment\nEnvironment(extensions=[name])",
        "from jinja2 import Environment\nEnvironment(*begin_and_end, None, None, False, [name])",
        "from jinja2 import Environment\nEnvironment(**options)",
        "import jinja2\nmake = jinja2.Environment\nmake(extensions=[name])",
        "environment.overlay(extensions=[name])",
        "environment.add_extension(name)",
        "from jinja2 import PackageLoader\nPackageLoader(name)",
        "from jinja2 import PackageLoader\nPackageLoader(package_name=name)",
        "from jinja2 import PackageLoader\nload = PackageLoader",
        "import os\nos.execv(path, argv)",
        "from os import execvpe\nexecvpe(path, argv, {})",
        "from os import posix_spawn as start\nstart(path, argv, {})",
        "import os\nos.spawnlp(os.P_WAIT, 'x')",
        "import os\nos.system(text)",
        "import os\nos.popen(text)",
        "import subprocess\nsubprocess.getoutput(text)",
        "import subprocess\nsubprocess.run(text, shell=True)",
        "start(text, shell=is_text)",
        "from http.server import CGIHTTPRequestHandler",
        "import torch\nvars(torch)['load']('x')",
        "vars(anything)['load']('x')",
        "import torch\ntorch.__dict__['load']('x')",
        "anything.__dict__['load']('x')",
        "import torch\ngetattr(torch, 'lo' + 'ad')('x')",
        "getattr(anything, name)('x')",
        "list(map(getattr, things, names))",
        "look = getattr",
        "object.__getattribute__(anything, 'load')",
        "globals()['torch'].load('x')",
        "print.__self__.eval('1')",
        "().__class__.__base__.__subclasses__()",
        "model.forward.__globals__['torch'].load('x')",
        "import os\nos.sys.modules['torch'].load('x')",
        "import dataclasses\ndataclasses.builtins.eval('1')",
        "from dataclasses import builtins\nbuiltins.eval('1')",
        "import sys\nsys.modules['torch'].load('x')",
        "import sys\nsys.modules[name]",
        "import torch\ntorch.serialization._load(archive)",
        "import torch\ntorch.serialization._legacy_load(stream)",
        "import torch\ntorch.serialization.load(stream)",
        "import torch.serialization as s\ns._legacy_load(stream)",
        "from torch import serialization",
        "import torch\ntorch.hub.load('x', 'y')",
        "import torch\ntorch.jit.anything('x')",
        "import torch\ntorch.export.anything('x')",
        "import torch\nmatch torch:\n    case object(load=read):\n        read('x')",
        "match anything:\n    case object(load=read):\n        read('x')",
        "import torch\nmodules = [torch]",
        "import torch\nread(torch)",
        "import torch as t\ndef late():\n    import json as t",
        "import yaml\nyaml.load_all(text)",
        "import yaml\nyaml.full_load(text)",
        "import yaml\nyaml.unsafe_load(text)",
        "import yaml\nyaml.unsafe_load_all(text)",
        "import yaml\nyaml.load(text, Loader=yaml.FullLoader)",
        "parser.unsafe_load_all(text)",
        "from ruamel.yaml import YAML\nYAML(**options)",
        "from ruamel.yaml import YAML\nmake = YAML",
        "from mace.calculators import MACECalculator\nMACECalculator('x')",
        "import mace.calculators\nmace.calculators.mace_mp()",
        "from mace.calculators.mace import MACECalculator",
        "from mace.tools import scripts_utils",
        "import pandas\npandas.read_hdf('x')",
        "frames.read_hdf('x')",
        "import joblib\njoblib.load('x')",
        "import dill\ndill.load(stream)",
        "import cloudpickle\ncloudpickle.loads(b'')",
        "import shelve\nshelve.open('x')",
        "import marshal\nmarshal.loads(b'')",
        "import numpy as np\nnp.lib.format.read_array(stream)",
        "import numpy as np\nnp.lib.npyio.NpzFile(stream)",
        "from numpy.lib import npyio",
        "import numpy as np\nnp.core.multiarray._reconstruct()",
        "import numpy as np\nnp.a_door_that_nobody_knows_yet('x')",
        "from ase.io.pickletrajectory import PickleTrajectory\nPickleTrajectory('x')",
        "from ase.io import trajectory\ntrajectory.convert('x')",
        "import ase.io.ulm as u\nu.open('x')",
        "from jinja2 import Environment\nEnvironment().from_string(text)",
        "from jinja2 import FileSystemBytecodeCache",
        "from pydantic import ImportString",
        "Model.parse_raw(data)",
        "from concurrent.futures import process",
        "import optuna\noptuna.load_study(storage='x')",
        "import ctypes\nctypes.pythonapi.PyRun_SimpleString(text)",
        "import ctypes\nctypes.CDLL(None).PyRun_SimpleString(text)",
        "import gc\ngc.get_objects()",
        "frame.f_globals['torch']",
        "from PIL import ImageMath\nImageMath.unsafe_eval(text)",
        "import types\ntypes.FunctionType(code, {})",
        "import runpy\nrunpy.run_path('x')",
        "import code\ncode.interact()",
        "import logging.config\nlogging.config.listen()",
        "import importlib.util\nimportlib.util.spec_from_file_location('x', 'y')",
        "from importlib import import_module\nimport_module('numpy')",
        "loader.exec_module(module)",
        "from mlipilot.evaluation import lazily\nlazily.np.load('x', allow_pickle=True)",
        "from mlipilot.evaluation.families import mace\nmace.torch.load('x')",
        "from mlipilot.evaluation.families.mace_rebuilding import torch as t\nt.jit.load('x')",
        "from mlipilot.yaml_text import yaml\nyaml.load(text)",
        "from .yaml_text import yaml",
        "argv = [python, '-c', 'import torch; torch.load(0)']",
    ],
)
def test_what_can_run_code_in_data_is_found(code: str) -> None:
    assert doors(code)


@pytest.mark.parametrize(
    "code",
    [
        "import numpy as np\nnp.load('x', allow_pickle=False)",
        "from numpy import load\nload('x', allow_pickle=False)",
        "import json\njson.load(stream)",
        "import re\nre.compile('x')",
        "import torch\nmodel.eval()\nmodel.load_state_dict(weights)",
        "from ruamel.yaml import YAML\nYAML(typ='safe').parse(text)",
        "getattr(record, 'kind')",
        "import torch\ntorch.Tensor.backward",
        "import mace.modules\nmace.modules.MACE(**arguments)",
        "from ase.io import read\nread('x', ':', format='extxyz')",
        "import os.path\nos.path.join('a', 'b')",
        "import queue\nqueue.Queue()",
        "import subprocess\nsubprocess.run(argv, shell=False)",
        "from jinja2 import Environment\ndef f() -> Environment:\n    return Environment(trim_blocks=True)",
        "from jinja2 import PackageLoader\nPackageLoader('mlipilot.report')",
        "import collections.abc\ncollections.abc.Sequence",
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import json'])",
        "from mlipilot.evaluation.lazily import np\nnp.zeros(3)",
        "from mlipilot.yaml_io import load_yaml\nload_yaml('x')",
        "getattr(error, 'problem_mark', None)",
        "text = 'what is imported, unpickles'",
    ],
)
def test_what_cannot_is_left_alone(code: str) -> None:
    assert doors(code) == []


def test_a_door_is_named_as_it_is_written() -> None:
    assert doors("yaml.load(text)\nyaml.load(other)") == ["yaml.load"]
    assert doors("from ruamel.yaml import YAML\nYAML(typ=kind).dump(x)") == ["YAML(typ=kind)"]
    assert doors("import pandas as p\nx = p.read_csv('y')") == ["pandas", "p.read_csv"]


def test_no_file_has_a_door_that_nobody_has_looked_at() -> None:
    """Data may come from a candidate; only code that a person can point at may run what lies in them."""
    files = {str(path.relative_to(ROOT)): path.read_text() for path in python_files()}
    assert {"ci", "containers", "mlipilot", "mlipilot_labels"} <= {name.split("/")[0] for name in files}
    found = {name: sorted(held) for name, code in files.items() if (held := doors(code))}
    assert found == {name: sorted(whats) for name, whats in LOOKED_AT.items()}


def test_nor_has_the_python_in_a_script() -> None:
    found = in_scripts()
    assert {"ci/local_llm.sh", "containers/mlipilot.def", "containers/wheelhouse.sh"} <= found.keys()
    assert {
        name: held for name, codes in found.items() if (held := [x for c in codes for x in doors(c)])
    } == {}


def test_python_is_found_in_a_script_however_it_is_handed_over() -> None:
    assert in_script("\"$python\" -I -c 'import a\nb' 2>x && cat") == ["import a\nb"]
    for begin in ('"$python" -Ic ', "python3 -X utf8 -c ", "$interpreter -uc ", "python -c \\\n  ", "p -c $"):
        assert in_script(f"it's x; {begin}'import a'\n") == ["import a"], begin
    assert in_script("cat <<EOF | python3\nimport a\nEOF") == ["import a"]
    assert in_script("python <<<'exec(open(0).read())'") == ["exec(open(0).read())"]
    assert in_script("x\npython3 - \"$y\" <<'PY' >z\nimport a\nPY\nz\n") == ["import a"]
    assert in_script("#!/usr/bin/env python3\nimport a\n") == ["#!/usr/bin/env python3\nimport a\n"]


def test_what_may_be_used_is_used() -> None:
    """Else the list would grow into one of all that there is."""
    codes = [path.read_text() for path in python_files()]
    codes += [code for codes_of_file in in_scripts().values() for code in codes_of_file]
    used = {name for code in codes for name in names_used(code)}
    assert {name for name in ALLOWED if not any(f"{each}.".startswith(f"{name}.") for each in used)} == set()
