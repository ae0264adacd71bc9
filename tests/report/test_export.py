"""The exported file is the model that was judged: MACE's own calculator gives the evaluator's numbers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ruamel.yaml import YAML

from mlipilot.audit.files import sha256_file, write_json
from mlipilot.controller.state import replay
from mlipilot.paths import JobKey
from mlipilot.report.export import Export, export_incumbent
from tests.controller.test_confirmation_recorded import searched
from tests.evaluation.conftest import config_json
from tests.report.conftest import view_of
from tests.report.synthetic import SyntheticRun, make_spec

# As a stranger would: no MLIPilot in the process.
LOAD = """
import sys, json, warnings
sys.modules["mlipilot"] = None
warnings.simplefilter("ignore")
import numpy as np
from ase.io import read
from mace.calculators import MACECalculator
calculator = MACECalculator(model_paths=sys.argv[1], device="cpu", default_dtype="float64")
found = []
for atoms in read(sys.argv[2], ":"):
    atoms.calc = calculator
    found.append([atoms.get_potential_energy(), atoms.get_forces().tolist(), atoms.get_stress().tolist()])
json.dump(found, open(sys.argv[3], "w"))
"""

LOAD_ALL = """
import sys, json, warnings
sys.modules["mlipilot"] = None
warnings.simplefilter("ignore")
from ase.build import bulk
from mace.calculators import MACECalculator
atoms = bulk("Cu", cubic=True)
atoms.rattle(0.1, seed=1)
found = []
for paths in (sys.argv[1:], *([path] for path in sys.argv[1:])):
    calculator = MACECalculator(model_paths=paths, device="cpu", default_dtype="float64")
    atoms.calc = calculator
    found.append(atoms.get_potential_energy())
    if len(paths) > 1:
        more = [float(calculator.results["energy_var"]), calculator.results["forces_comm"].shape]
print(json.dumps(found + more))
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    """A run whose baseline handed a small random MACE over."""
    from mlipilot.evaluation.families.mace_config import HandoverConfig
    from mlipilot.evaluation.families.mace_rebuilding import build
    from mlipilot.handover import write_handover

    run = SyntheticRun(tmp_path_factory.mktemp("export") / "run", make_spec(seeds=[7]))
    run.propose(0, None, {})
    run.train(0, 7, 0.0)
    config = config_json()
    key = JobKey(0, 7, "train")
    module = build(HandoverConfig.model_validate(config), seed=5)
    digest = write_handover(
        run.lineage.attempt(key, 1) / "output", config["model_class"], config["arguments"], module
    )
    run.evaluate(0, 7, 0.0, weights_digest=digest)
    run.judge(0)
    return run


@pytest.fixture(scope="module")
def export(exported: SyntheticRun) -> Export:
    return export_incumbent(view_of(exported.run), exported.run.export)


@pytest.mark.slow
def test_mace_loads_it_and_gives_the_evaluators_numbers(
    exported: SyntheticRun, export: Export, tmp_path: Path
) -> None:
    from ase.io import read, write

    from mlipilot.evaluation.families.mace_rebuilding import rebuild

    assert export.model is not None and export.model.name == "cu_emt-seed7.model"
    cells = []
    for seed, repeats in ((0, (1, 1, 1)), (1, (2, 1, 1)), (2, (2, 2, 2))):
        atoms = bulk("Cu", cubic=True).repeat(repeats)
        atoms.rattle(0.1, seed=seed)
        cells.append(atoms)
    write(tmp_path / "cells.xyz", cells, format="extxyz")
    arguments = [str(export.model), str(tmp_path / "cells.xyz"), str(tmp_path / "found.json")]
    subprocess.run([sys.executable, "-c", LOAD, *arguments], check=True, capture_output=True)
    found = json.loads((tmp_path / "found.json").read_text())
    model = rebuild(exported.lineage.handover(JobKey(0, 7, "train"), 1))
    for prediction, (energy, forces, stress) in zip(
        model.predict(read(tmp_path / "cells.xyz", ":")), found, strict=True
    ):
        assert prediction.energy_ev == pytest.approx(energy, abs=1e-8)
        np.testing.assert_allclose(prediction.forces_ev_per_a, forces, atol=1e-8)
        np.testing.assert_allclose(prediction.stress_ev_per_a3, stress, atol=1e-8)


def test_the_model_card(export: Export) -> None:
    assert export.card is not None and export.model is not None
    card = YAML(typ="safe").load(export.card.read_text(encoding="utf-8"))
    assert card["file"]["sha256"] == sha256_file(export.model) == export.sha256
    assert (card["elements"], card["cutoff_a"], card["training"]["seed"]) == (["Cu"], 4.0, 7)
    assert card["units"]["forces"] == "eV/Å"
    assert card["metrics"]["force_mae_mev_per_a"]["unit"] == "meV/Å"
    assert card["scorecard"]["gates_passed"] < card["scorecard"]["gates_total"]
    assert card["provenance"]["pilot"] == "scripted"


def test_other_weights_than_the_judged_ones_are_not_exported(exported: SyntheticRun, tmp_path: Path) -> None:
    view = view_of(exported.run)
    assert view.incumbent is not None
    handover = view.incumbent.seeds[0].handover
    assert handover is not None
    kept = shutil.copytree(handover, tmp_path / "kept")
    try:
        config = json.loads((handover / "config.json").read_text())
        config["arguments"]["atomic_inter_scale"] = 2.0
        write_json(handover / "config.json", config)
        assert "cannot be rebuilt" in export_incumbent(view, tmp_path).missing
    finally:
        shutil.rmtree(handover)
        shutil.copytree(kept, handover)
    metrics = exported.lineage.metrics(JobKey(0, 7, "evaluate"), 1)
    content = json.loads(metrics.read_text())
    write_json(metrics, content | {"model": content["model"] | {"weights_digest": "0" * 64}})
    try:
        assert "not those that were evaluated" in export_incumbent(view_of(exported.run), tmp_path).missing
    finally:
        write_json(metrics, content)


@pytest.fixture
def confirmed(tmp_path: Path) -> SyntheticRun:
    """A run whose fresh seeds handed small random MACEs over."""
    from mlipilot.evaluation.families.mace_config import HandoverConfig
    from mlipilot.evaluation.families.mace_rebuilding import build
    from mlipilot.handover import write_handover

    run = searched(tmp_path, 0.9)
    run.confirm({0: 0.1, 1: 0.9})
    config = config_json()
    state = replay(run.ledger.records)
    assert state.confirmed is not None and state.confirmed.incumbent == 1
    for seed in state.confirmed.seeds:
        key = JobKey(1, seed, "train", fresh=True)
        module = build(HandoverConfig.model_validate(config), seed=seed)
        output = run.lineage.attempt(key, 1) / "output"
        digest = write_handover(output, config["model_class"], config["arguments"], module)
        metrics = run.lineage.metrics(key.beside("evaluate"), 1)
        content = json.loads(metrics.read_text())
        write_json(metrics, content | {"model": content["model"] | {"weights_digest": digest}})
    return run


@pytest.mark.slow
def test_a_confirmed_model_goes_with_its_committee_which_mace_loads(
    confirmed: SyntheticRun, tmp_path: Path
) -> None:
    found = export_incumbent(view_of(confirmed.run), tmp_path / "export")
    assert found.model is not None and found.card is not None and len(found.members) == 2
    card = YAML(typ="safe").load(found.card.read_text(encoding="utf-8"))
    files = [found.model, *found.members]
    assert card["committee"]["files"] == [{"name": f.name, "sha256": sha256_file(f)} for f in files]
    said = subprocess.run(
        [sys.executable, "-c", LOAD_ALL, *map(str, files)], check=True, capture_output=True, text=True
    )
    together, *alone, variance, shape = json.loads(said.stdout.splitlines()[-1])
    assert together == pytest.approx(np.mean(alone)) and np.std(alone) > 0
    assert variance == pytest.approx(np.var(alone, ddof=1)) or variance == pytest.approx(np.var(alone))
    assert shape == [3, 4, 3]


def test_a_member_that_is_not_the_one_that_was_judged_is_left_out(
    confirmed: SyntheticRun, tmp_path: Path
) -> None:
    view = view_of(confirmed.run)
    assert view.incumbent is not None
    _first, other, last = view.incumbent.seeds
    assert other.handover is not None and last.handover is not None
    shutil.copytree(last.handover, other.handover, dirs_exist_ok=True)
    found = export_incumbent(view, tmp_path / "export")
    assert [member.name for member in found.members] == [f"cu_emt-seed{last.seed}.model"]
