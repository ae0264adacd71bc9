"""Imports run one way: the contracts of pyproject.toml are kept, and what they forbid stands here again."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from itertools import permutations, product
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINT = Path(sys.executable).with_name("lint-imports")
PACKAGES = ("mlipilot", "mlipilot_labels")
LEAVES = (
    *("checkpoint", "confidential", "handover", "nearness", "paths", "programs"),
    *("untrusted", "versions", "yaml_io", "yaml_places", "yaml_text"),
)
FLOORS = (
    ("__main__",),
    ("cli",),
    ("doctor", "merge", "report", "reproduce"),
    ("controller",),
    ("campaign",),
    ("jobs", "pilots"),
    ("datasets", "endpoint", "evaluation"),
    ("audit",),
    LEAVES,
    ("errors",),
)
"""The rooms of the package from the top. None knows those above it or beside it, but for the leaves."""
ROOMS = tuple(room for floor in FLOORS for room in floor)
OUT_OF_REACH = {
    "campaign": ("evaluation", "jobs", "pilots"),
    "pilots": ("evaluation", "datasets"),
    "jobs": ("evaluation", "datasets", "endpoint"),
    "doctor": ("controller", "evaluation", "datasets"),
    "merge": ("controller", "jobs", "campaign", "pilots", "evaluation", "datasets"),
}
"""What a room does not know though it stands below."""
DIGESTS = ("audit.verify_digests", "controller.recheck")
NO_DIGESTS = (
    *("cli", "merge", "report", "reproduce"),
    *(
        f"controller.{path.stem}"
        for path in sorted((ROOT / "mlipilot" / "controller").glob("*.py"))
        if path.stem not in ("__init__", "recheck", "verification")
    ),
)
LABELLER = "datasets.qm7_b3lyp"
"""The one that may import mlipilot_labels."""
EXCEPTIONS = {
    "campaign.* -> evaluation.scorecard",
    "campaign.* -> jobs.job_settings",
    "campaign.* -> pilots.pilot_settings",
    "campaign.* -> pilots.space",
    "controller.verification -> audit.verify_digests",
    "controller.verification -> controller.recheck",
    "datasets.qm7_b3lyp.* -> mlipilot_labels.*",
    "jobs.* -> evaluation.scorecard",
    "merge.* -> controller.findings",
    "merge.* -> controller.state",
    "merge.* -> controller.verification",
    "merge.* -> jobs.slurm_job",
    "mlipilot_labels.* -> errors",
    "mlipilot_labels.* -> versions",
    "pilots.* -> evaluation.catalog",
}


def _kept(folder: Path) -> tuple[bool, str]:
    """Whether the packages of a folder keep the contracts of its pyproject.toml, and what was said."""
    done = subprocess.run([LINT, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode == 0, " ".join(done.stdout.split())


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the packages and their contracts, to be forged."""
    for source in [
        ROOT / "pyproject.toml",
        *(file for name in PACKAGES for file in (ROOT / name).rglob("*.py")),
    ]:
        target = tmp_path / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    return tmp_path


def _module(room: str) -> str:
    return room if room in PACKAGES else f"mlipilot.{room}"


def _write(house: Path, module: str, line: str) -> None:
    """At the end of a module, or of a package's own file."""
    path = house / module.replace(".", "/")
    with (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).open("a") as stream:
        stream.write(line + "\n")


def test_imports_run_one_way() -> None:
    kept, said = _kept(ROOT)
    assert kept, said


RUNNING_UP = {
    "accounts": ("import mlipilot.controller", "controller"),
    "anchors": ("import mlipilot.controller.loop as loop", "controller.loop"),
    "claims": ("from mlipilot import report", "report"),
    "evidence": ("from ..report import rows", "report.rows"),
    "files": ("from ..campaign.spec import CampaignSpec", "campaign.spec"),
    "places": ("def late() -> None:\n    from mlipilot.jobs import worker", "jobs.worker"),
}
"""What is written into a module of `audit/`, and what it imports by that."""


def test_an_import_that_runs_up_is_found_however_it_is_written(house: Path) -> None:
    for module, (line, _) in RUNNING_UP.items():
        _write(house, f"mlipilot.audit.{module}", line)
    kept, said = _kept(house)
    assert not kept
    missed = [
        module
        for module, (_, imported) in RUNNING_UP.items()
        if f"mlipilot.audit.{module} -> mlipilot.{imported} (l." not in said
    ]
    assert missed == [], said


def _forbidden() -> set[tuple[str, str]]:
    """Who may not import whom."""
    pairs = {
        (room, other) for at, floor in enumerate(FLOORS) for room in floor for other in sum(FLOORS[:at], ())
    }
    pairs |= {(room, other) for floor in FLOORS if floor != LEAVES for room, other in permutations(floor, 2)}
    pairs |= {(room, other) for room, others in OUT_OF_REACH.items() for other in others}
    pairs |= set(product(NO_DIGESTS, DIGESTS))
    return pairs | {("mlipilot_labels", "mlipilot"), ("mlipilot", "mlipilot_labels")}


def test_of_a_house_where_all_know_all_exactly_what_is_forbidden_is_told(house: Path) -> None:
    """So no contract, no floor and no room of one is dropped or moved without a word here."""
    everybody = (*ROOMS, "mlipilot_labels")
    for room, other in {*permutations(everybody, 2), *product(NO_DIGESTS, DIGESTS)}:
        _write(house, _module(room), f"import {_module(other)}")
    kept, said = _kept(house)
    told = re.findall(r"(\S+) is not allowed to import (\S+):", said)
    forbidden = {(_module(room), _module(other)) for room, other in _forbidden()}
    assert not kept and set(told) ^ forbidden == set()


def test_whatever_has_molecules_labelled_but_their_data_sets_builder_is_told(house: Path) -> None:
    files = [path.relative_to(house).with_suffix("") for path in (house / "mlipilot").rglob("*.py")]
    modules = {
        ".".join(path.parts).removesuffix(".__init__") for path in files if "recipes" not in path.parts
    }
    for module in modules:
        _write(house, module, "import mlipilot_labels.label")
    kept, said = _kept(house)
    told = {module for module in modules if f" {module} -> mlipilot_labels.label (l." in said}
    builder = {module for module in modules if f"{module}.".startswith(f"mlipilot.{LABELLER}.")}
    assert not kept and builder and modules - told - builder == set()
    assert told & builder <= {f"mlipilot.{LABELLER}"}


def test_a_room_that_stands_on_no_floor_is_told(house: Path) -> None:
    (house / "mlipilot" / "stranger.py").touch()
    kept, said = _kept(house)
    assert not kept and "mlipilot.stranger" in said


SAID = {"name", "type", "containers", "layers", "exhaustive", "exhaustive_ignores"}
SAID |= {"source_modules", "forbidden_modules", "allow_indirect_imports", "ignore_imports"}
"""What contracts say. Other words of the linter's, as `as_packages`, would take from what they hold."""


def test_what_the_contracts_pass_over_is_exactly_this() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    contracts = linter.pop("contracts")
    assert linter == {"root_packages": list(PACKAGES)}
    assert {word for contract in contracts for word in contract} == SAID
    ignored = [
        line.replace("mlipilot.", "") for contract in contracts for line in contract.get("ignore_imports", [])
    ]
    assert sorted(ignored) == sorted(EXCEPTIONS)
