"""The layout shows the architecture: what imports without a statement, what loads, what is named where."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

from mlipilot.evaluation.catalog import CATALOG, GROUPS
from mlipilot.evaluation.panels import Lines, Parity
from tests.syntax import names_of

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mlipilot"
SOURCES = sorted(path for folder in (PACKAGE, ROOT / "mlipilot_labels") for path in folder.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def test_recipes_know_hand_over_and_checkpoint_only_and_nobody_imports_them() -> None:
    for path in (PACKAGE / "recipes").rglob("*.py"):
        own = {name for name in names_of(path.read_text()) if name.startswith(("mlipilot", "."))}
        assert all(name.startswith(("mlipilot.handover.", "mlipilot.checkpoint.")) for name in own), path
    for path in (path for path in SOURCES if "recipes" not in path.parts):
        assert not any("recipes" in name.split(".") for name in names_of(path.read_text())), path


NAMED_ELSEWHERE = {("mlipilot/datasets/cu_emt.py", "lattice_constant_a")}
"""A setting of a data set, in its provenance, that a number of the evaluator happens to be called like."""


def _names_of_metrics() -> re.Pattern[str]:
    """Those of the metrics and of the curves that are drawn."""
    panels = [panel for group in GROUPS for panel in group.panels]
    curves = {name for panel in panels for name in panel.arrays if name}
    curves |= {panel.apart for panel in panels if isinstance(panel, Parity) and panel.apart}
    curves |= {panel.bound for panel in panels if isinstance(panel, Lines) and panel.bound}
    anything = "|".join(re.escape(name).replace(r"\*", ".*") for name in {*CATALOG, *curves})
    return re.compile(rf"(?<!\w)(?:{anything})(?!\w)")


def _named(source: str, names: re.Pattern[str]) -> set[str]:
    """Which of the names stand in a string of a source, those of documentation included."""
    texts = (n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant))
    return {found for text in texts if isinstance(text, str) for found in names.findall(text)}


def test_a_metric_is_named_in_its_own_file_and_in_data_only() -> None:
    names = _names_of_metrics()
    assert _named('f"{x} nvt_rdf_mae"', names) == {"nvt_rdf_mae"}
    assert _named('["nve_{kelvin}k_time_ps", "unseen_", b"x"]', names) == {"nve_{kelvin}k_time_ps", "unseen_"}
    assert _named("nvt_rdf_mae = 1  # nvt_rdf_mae", names) == _named('"my_nvt_rdf_mae"', names) == set()
    found = {
        (str(path.relative_to(ROOT)), name)
        for path in [*SOURCES, *(ROOT / "ci").glob("*.py")]
        if path.parent != PACKAGE / "evaluation" / "metrics"
        for name in _named(path.read_text(), names)
    }
    assert found == NAMED_ELSEWHERE


def test_reading_a_campaign_does_not_load_torch() -> None:
    code = "import sys, mlipilot.cli.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_package_of_the_distribution_goes_into_an_image() -> None:
    packages = {path.parent.name for path in ROOT.glob("mlipilot*/__init__.py")}
    listed = re.search(r"^sources=\((.*)\)$", (ROOT / "containers/build.sh").read_text(), re.MULTILINE)
    assert listed and {"mlipilot"} < packages <= set(listed[1].split())


WHOLE = PACKAGE / "recipes" / "mace" / "train.py"
"""What a pilot reads and edits is one file."""


def test_files_are_short() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for paths, most in ((set(SOURCES) - {WHOLE}, 300), ([WHOLE], 330), (TESTS, 350))
        for path in paths
        if (count := len(path.read_text().splitlines())) > most
    }
    assert not long


def test_a_module_s_name_is_said_once() -> None:
    seen: dict[str, list[Path]] = {}
    for path in SOURCES:
        if path.stem not in ("__init__", "__main__") and "recipes" not in path.parts:
            seen.setdefault(path.stem, []).append(path)
    assert {name: paths for name, paths in seen.items() if len(paths) > 1} == {}


def _said_of_raising(path: Path) -> dict[str, bool]:
    """Whether the docstring of each public function that raises says so."""
    found: dict[str, bool] = {}
    body = ast.parse(path.read_text()).body
    for node in [n for n in body if isinstance(n, ast.ClassDef) and not n.name.startswith("_")]:
        body += node.body
    for function in [n for n in body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")]:
        outer = [part for part in function.body if not isinstance(part, ast.FunctionDef)]
        raised = [n.exc for part in outer for n in ast.walk(part) if isinstance(n, ast.Raise) and n.exc]
        if any(not ast.unparse(exception).startswith("AssertionError") for exception in raised):
            told = re.search(r"\b[Rr]aises?\b|Error\b", ast.get_docstring(function) or "")
            found[f"{path.relative_to(ROOT)}:{function.name}"] = told is not None
    return found


def test_a_public_function_that_raises_says_so() -> None:
    """But for a verb of the command line, whose docstring is its help."""
    said: dict[str, bool] = {}
    for path in (path for path in SOURCES if path.parent.name != "cli"):
        said |= _said_of_raising(path)
    assert len(said) > 100
    assert [name for name, is_said in said.items() if not is_said] == []
