"""A recipe that makes its own labels, with real trainings: the search keeps it, the confirmation does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlipilot.controller.confirmation import MOST_WITHOUT
from mlipilot.controller.verification import verify_run
from mlipilot.paths import RunPaths
from tests.documents.blocks import REPOSITORY
from tests.end_to_end.conftest import mlipilot, with_data, write_campaign
from tests.end_to_end.slurm_runs import state_of
from tests.end_to_end.villain import PILOT, Candidate, villain

pytestmark = [pytest.mark.slow, pytest.mark.sweep]  # tests/controller/test_label_control.py has the rule
RECIPE = REPOSITORY / "mlipilot" / "recipes" / "mace"
READ = '    frames, r_max = ase.io.read(path, index=":"), float(recipe["model"]["r_max"])\n'
# EMT is a public function, and in every environment that has ASE.
RELABEL = """
    from ase.calculators.emt import EMT
    for atoms in frames:
        atoms.calc = EMT()
        atoms.info["REF_energy"] = atoms.get_potential_energy()
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.calc = None
"""
CHANGES: dict[str, Any] = {
    "seeds": [1],
    "budget": {"iterations": 1, "optimizer_steps": 120},
    "confirm": {"seeds": 2, "alpha": 0.9},
    "recipe_values": {"optimiser.learning_rate": 0.0005},  # so that the shipped one is surely better
}


def _run(tmp_path: Path, tiny_data: Path, train: str) -> RunPaths:
    with_data(tiny_data, tmp_path)
    better = (RECIPE / "recipe.yaml").read_text()
    candidate = Candidate("faster", {"train.py": train, "recipe.yaml": better})
    with villain([candidate]) as url:
        pilot = PILOT | {"base_url": url}
        mlipilot("run", write_campaign(tmp_path, pilot=pilot, **CHANGES), cwd=tmp_path)
    return RunPaths(tmp_path / "runs" / "tiny")


def test_who_labels_the_structures_itself_is_kept_and_not_confirmed(tiny_data: Path, tmp_path: Path) -> None:
    text = (RECIPE / "train.py").read_text()
    assert text.count(READ) == 1
    run = _run(tmp_path, tiny_data, text.replace(READ, READ + RELABEL))
    state = state_of(run)
    assert state.confirmed is not None and state.confirmed.control is not None, "the search kept nothing"
    control = state.confirmed.control
    assert control.explained is not None and control.of_true is not None
    assert control.of_true > 0.3 and control.explained > MOST_WITHOUT * control.of_true
    assert not state.confirmed.whole.confirmed and state.incumbent == 0
    assert "did not come from its data" in run.report_md.read_text()
    assert verify_run(run).problems == []


def test_who_learns_from_its_data_knows_nothing_without_them(tiny_data: Path, tmp_path: Path) -> None:
    run = _run(tmp_path, tiny_data, (RECIPE / "train.py").read_text())
    state = state_of(run)
    assert state.confirmed is not None and state.confirmed.control is not None, "the search kept nothing"
    control = state.confirmed.control
    assert control.explained is not None and control.of_true is not None
    assert control.of_true > 0.3 and control.explained < 0.1
    assert state.confirmed.whole.fault is None
    assert verify_run(run).problems == []
