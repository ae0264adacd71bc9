"""The layout shows the architecture: imports run one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "mlipilot"
COMMON = {"errors", "yaml_io", "yaml_text", "untrusted", "handover", "checkpoint", "programs", "versions"}
# Which rooms a room may import besides itself and the common modules; leaf modules are named in full.
MAY_IMPORT: dict[str, set[str]] = {
    "audit": {"campaign.paths"},
    "campaign": {
        *("audit", "datasets", "evaluation.scorecard", "jobs.settings", "pilots.settings", "pilots.space"),
        "pilots.yaml_places",
    },
    "datasets": {"audit"},
    "evaluation": {"audit"},
    "pilots": {"audit", "evaluation.catalog"},
    "jobs": {"audit", "campaign.paths", "evaluation.scorecard"},
    "controller": {"audit", "campaign", "datasets", "evaluation", "jobs", "pilots"},
    "report": {"audit", "campaign", "controller", "datasets", "evaluation", "jobs", "pilots"},
    "doctor": {"audit", "campaign", "jobs", "pilots"},
    "merge": {"audit", "campaign.paths", "controller.findings", "controller.state", "jobs.slurm_job"},
    "reproduce": {"audit", "campaign", "controller", "datasets", "evaluation", "jobs"},
    "cli": {
        *("audit", "campaign", "controller", "datasets", "doctor", "evaluation", "jobs", "pilots", "report"),
        *("merge", "reproduce"),
    },
}


def _imports(path: Path) -> set[str]:
    """The dotted names below `mlipilot` that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mlipilot"):
            module = node.module.removeprefix("mlipilot").lstrip(".")
            found |= {f"{module}.{a.name}".lstrip(".") for a in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("mlipilot.") for a in node.names if a.name.startswith("mlipilot")}
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_downwards_only(room: str) -> None:
    allowed = MAY_IMPORT[room] | COMMON | {room}
    for path in sorted((PACKAGE / room).rglob("*.py")):
        for name in _imports(path):
            fits = any(name == a or name.startswith(a + ".") for a in allowed) or "." not in name
            assert fits, f"{path.relative_to(PACKAGE)} imports mlipilot.{name}"


def test_every_room_is_in_the_table() -> None:
    rooms = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert rooms == set(MAY_IMPORT)


def test_recipes_know_hand_over_and_checkpoint_only_and_nobody_imports_them() -> None:
    for path in (PACKAGE / "recipes").rglob("*.py"):
        assert all(name.startswith(("handover.", "checkpoint.")) for name in _imports(path)), path
    for path in PACKAGE.rglob("*.py"):
        assert not any(name.startswith("recipes") for name in _imports(path)), path


def test_no_room_unpickles() -> None:
    """Only code that a person can point at may load: no pickle, no torch.load, no eval outside the recipe."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in {"torch.load", "pickle.load", "pickle.loads", "eval", "exec"}, path


def test_reading_a_campaign_does_not_load_torch() -> None:
    code = "import sys, mlipilot.cli.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_files_are_short() -> None:
    long = {
        str(path.relative_to(PACKAGE)): count
        for path in PACKAGE.rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 330
    }
    assert not long
