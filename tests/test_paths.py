"""What the files of a run say by being there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from mlipilot import paths
from mlipilot.paths import RunPaths


def test_a_run_with_an_image_goes_on_by_sbatch_and_any_other_by_resume(tmp_path: Path) -> None:
    run = RunPaths(tmp_path)
    assert run.resuming() == f"`mlipilot resume {tmp_path}`"
    assert run.resuming(2) == f"`mlipilot resume {tmp_path} --lineage 2`"
    run.image_digest.touch()
    assert run.resuming() == run.resuming(2) == "`sbatch` of its campaign's sbatch file"


def _file_names(path: Path) -> set[str]:
    """Each name of a file that stands in a module's code."""
    spelt = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
    return {name for name in spelt if isinstance(name, str) and re.fullmatch(r"[\w.-]+\.[a-z0-9]{3,6}", name)}


def test_a_run_s_file_is_spelt_in_one_place() -> None:
    of_runs = _file_names(Path(paths.__file__))
    assert {"job.json", "metrics.json", "ledger.jsonl", "campaign.lock.yaml"} < of_runs
    package = Path(paths.__file__).parent
    again = {
        str(path.relative_to(package)): names
        for path in package.rglob("*.py")
        if path != Path(paths.__file__) and (names := _file_names(path) & of_runs)
    }
    assert again == {}
