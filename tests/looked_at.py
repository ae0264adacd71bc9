"""The doors of shipped files, each with why a person let it stand: a table for tests/test_doors.py."""

from __future__ import annotations

LOOKED_AT = {
    "ci/benchmark_hyperqueue.py": {"sys.path.insert": "the checkout that it lies in"},
    "ci/benchmark_labels.py": {"os.execve": "itself once more, with one thread"},
    "ci/metrics_page.py": {
        "importlib.import_module(module)": "the modules of the metrics, for their docstrings",
    },
    "ci/mutants.py": {
        "getattr(parent, name)": "a field of a syntax tree's node, as that tree names it",
        "getattr(shown, part, None)": "the same",
    },
    "ci/mutate.py": {
        "ctypes": "the kernel's calls, by the C library that Python has",
        "ctypes.CDLL": "the same",
        "os.execve": "itself once more, with the same hashes each time",
        "importlib.import_module(name)": "what the unchanged tests had imported, from outside of the copy",
        "sys.modules.items()": "what that was",
        "sys.path": "the copy comes first",
    },
    "mlipilot/audit/belonging.py": {"getattr(started, key)": "three names of digests, in the line above"},
    "mlipilot/campaign/space_check.py": {
        "importlib.util.find_spec(SEARCHES[pilot.kind])":
            "whether the package of a search is installed; it is imported where it searches",
    },
    "mlipilot/campaign/spec.py": {"getattr(options, name)": "fields of the options' model"},
    "mlipilot/checkpoint.py": {"self._load": "JSON and safetensors"},
    "mlipilot/controller/briefing.py": {"getattr(verdict, name, None)": "two names beside it"},
    "mlipilot/controller/recheck.py": {"getattr(record.event, name)": "fields of events"},
    "mlipilot/controller/recording.py": {"getattr(self, name)": "fields of its own"},
    "mlipilot/datasets/cu_emt.py": {"getattr(options, split)": "the names of splits"},
    "mlipilot/endpoint/exchange.py": {"getattr(self.reply, name)": "the names of two counts"},
    "mlipilot/endpoint/local_model.py": {
        "importlib.util.find_spec('xllamacpp')":
            "whether the server of local models is installed; it is imported where it serves",
    },
    "mlipilot/evaluation/__main__.py": {"vars(options)": "of a command line that was parsed"},
    "mlipilot/evaluation/bench.py": {"getattr(self.reference, name)": "a name that a metric's file declares"},
    "mlipilot/evaluation/catalog.py": {
        "importlib.import_module(file)": "the files of evaluation/metrics/, and nothing else",
        "pkgutil.iter_modules(metrics.__path__)": "the names of these files",
        "vars(import_module(file))": "the declarations in such a file",
    },
    "mlipilot/evaluation/families/mace_rebuilding.py": {
        "getattr(torch, config.dtype)": "float32 or float64: a Literal of the hand-over's model",
        "modules": "handed to those who build a model, each by a name",
    },
    "mlipilot/evaluation/lazily.py": {
        "getattr(import_module('numpy'), name)":
            "what a metric's file says after `np.`, which is read as NumPy's in that file",
        "importlib.import_module('numpy')": "NumPy costs what only a measurement must pay",
    },
    "mlipilot/evaluation/loaded.py": {
        "sys.modules.items()": "the files of the modules that have measured, whose digests are kept",
    },
    "mlipilot/evaluation/metric_settings.py": {
        "create_model": "fields and models that metrics' files declare; no text among their types",
        "pydantic.create_model": "the same",
    },
    "mlipilot/evaluation/metrics/size.py": {"bench.load": "structures that are a load"},
    "mlipilot/evaluation/metrics/throughput.py": {"bench.load": "structures that are a load"},
    "mlipilot/jobs/commands.py": {
        "runpy": "it begins a module of the toolkit, which imports from folders that it is told",
        "runpy.run_module": "the same",
        "sys.path": "the folders that this process imports from, of which the other is told",
        "sys.flags.safe_path": "whether the first of these folders is the script's own",
    },
    "mlipilot/jobs/processes.py": {
        "ctypes": "the kernel's calls, by the C library that Python has",
        "ctypes.CDLL": "the same",
    },
    "mlipilot/jobs/sandbox.py": {
        "sys.base_prefix": "a folder that the sandbox shows",
        "sys.prefix": "another one",
    },
    "mlipilot/pilots/dead_code.py": {
        "getattr(node, name, None)": "a field of a syntax tree's node, as that tree names it",
    },
    "mlipilot/pilots/recipe_bounds.py": {
        "vars(content)": "numbers that this file counts",
        "vars(known)": "the same of the starting recipe",
    },
    "mlipilot/pilots/pilot_settings.py": {"getattr(self, key)": "fields of its own"},
    "mlipilot/pilots/tools.py": {
        "getattr(self, f'_{name}')": "a tool that `check_arguments` knows: one of PARAMETERS, each a method",
    },
    "mlipilot/recipes/mace/train.py": {
        "YAML(typ='safe').load": "the recipe's settings",
        "getattr(torch, recipe['device']['train_dtype'])": "float32 or float64: the settings were checked",
    },
    "mlipilot/report/page.py": {
        "getattr(row, self.remark)": "a field that a column of the page names",
        "getattr(started, key, None)": "names of digests, in the lines above",
    },
    "mlipilot/yaml_text.py": {"yaml.load": "ruamel's round-trip kind"},
    "mlipilot_labels/gpu_labels.py": {"importlib.util.find_spec('gpu4pyscf')": "whether it is installed"},
    "mlipilot_labels/method.py": {
        "importlib.import_module('pyscf.lib')": "of the extra `qm`, which most machines lack",
        "importlib.import_module(module)": "modules of that extra, each named where `chemistry` is called",
    },
    "mlipilot_labels/scf.py": {"known.load": "PySCF's table of basis sets"},
}  # fmt: skip
"""What could run code, imports without a statement or looks up by a computed name, and why it is harmless."""
