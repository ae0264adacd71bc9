"""A model that says nothing is better than no baseline of either benchmark, by the evaluator's path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlipilot.campaign.baseline_recipe import set_recipe_values
from mlipilot.campaign.spec import Campaign, load_campaign
from mlipilot.controller.accept import judge, order
from mlipilot.controller.publishing import copy_recipe
from mlipilot.evaluation.bench import Bench
from mlipilot.evaluation.catalog import SPREAD
from mlipilot.evaluation.families.mace_rebuilding import rebuild
from mlipilot.evaluation.metrics_file import MetricsFile
from mlipilot.evaluation.runner import evaluate
from mlipilot.evaluation.scorecard import Score, Scorecard, load_scorecard, score
from mlipilot.evaluation.tasks import make, tasks_of

from .predictors import COPPER, MOLECULES, Benchmark, by_chance, mean_energies_ev, sum_of_atoms

ROOT = Path(__file__).parents[2]
(SAYS,) = SPREAD
LUCKY = 11
"""The seed of random weights that explain nine tenths of copper's forces."""


@pytest.fixture(scope="module", params=[COPPER, MOLECULES], ids=lambda benchmark: str(benchmark.name))
def benchmark(request: pytest.FixtureRequest) -> Benchmark:
    found: Benchmark = request.param
    return found


@pytest.fixture(scope="module")
def small(benchmark: Benchmark, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return benchmark.data(tmp_path_factory.mktemp("small") / "data", **benchmark.small)


def card_of(benchmark: Benchmark) -> Scorecard:
    return load_scorecard(ROOT / "scorecards" / f"{benchmark.name}.yaml")


def errors(model_dir: Path, data: Path, card: Scorecard) -> tuple[dict[str, float | None], dict[str, Any]]:
    """What is measured on the test frames, and its curves."""
    model = rebuild(model_dir)
    bench = Bench.with_data(model.calculator(), card.settings, data, "test", model)
    entries, curves = make([task for task in tasks_of(bench) if task.label == "errors"], lambda _: None)
    return {name: entry.value for name, entry in entries.items()}, curves


def flattered(card: Scorecard, errors: dict[str, float | None]) -> MetricsFile:
    """A metrics file with these errors, in which all else passes its gate and is best."""
    best = {gate.metric: 1e-12 if gate.max is not None else 1.0 for gate in card.gates}
    best |= {term.metric: 1e-12 for term in card.objective.terms}
    values = best | errors
    entries = {name: {"value": value, "status": "ok"} for name, value in values.items()}
    return MetricsFile.model_validate({"metrics": entries})


def is_worst(card: Scorecard, measured: MetricsFile) -> None:
    """Nothing that can be measured, or not measured, of any baseline comes behind it."""
    found, nothing = score(card, measured), score(card, MetricsFile(refused="there is no model"))
    assert not found.feasible
    assert found.violation == nothing.violation == len(card.gates) * card.accept.failed_gate_violation
    assert judge(card.accept, [nothing] * 2, [found] * 2).verdict == "reverted"


def test_a_constant_a_mean_and_free_atoms_count_as_no_model(
    benchmark: Benchmark, small: Path, tmp_path: Path
) -> None:
    card = card_of(benchmark)
    for name, energies_ev in {
        "constant": dict.fromkeys(benchmark.free_atoms_ev, 0.0),
        "mean": mean_energies_ev(benchmark, small),
        "free atoms": benchmark.free_atoms_ev,
    }.items():
        found, _ = errors(sum_of_atoms(tmp_path / name, energies_ev), small, card)
        assert found[SAYS] == 0.0, name
        is_worst(card, flattered(card, found))


def test_chance_counts_as_no_model(benchmark: Benchmark, small: Path, tmp_path: Path) -> None:
    """Of molecules even at the scale that explains most of the forces.

    In a crystal of one element that alone can explain nine tenths of them: there such a model is judged gate
    by gate, as the slow test does with one that has the scale by chance.
    """
    card = card_of(benchmark)
    for seed in range(3):
        model = by_chance(tmp_path / str(seed), benchmark.free_atoms_ev, 1.0, seed)
        found, curves = errors(model, small, card)
        said, truth = (curves[f"force_{which}_ev_per_a"] for which in ("model", "reference"))
        if benchmark is MOLECULES:
            best = (said * truth).sum() ** 2 / ((said**2).sum() * (truth**2).sum())
            assert best < 0.1
            found[SAYS] = float(best)
        assert (found[SAYS] or 0.0) < 0.5
        is_worst(card, flattered(card, found))


def trained(campaign: Campaign, data: Path, folder: Path) -> Path:
    """The hand-over of the campaign's baseline."""
    copy_recipe(campaign.recipe_path, folder / "recipe")
    set_recipe_values(folder / "recipe", campaign.spec.recipe_values)
    train = [sys.executable, "train.py", "--recipe", "recipe.yaml", "--data", data / "train"]
    train += ["--output", folder / "trained", "--seed", "1"]
    train += ["--max-steps", campaign.spec.budget.optimizer_steps]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([str(word) for word in train], cwd=folder / "recipe", env=environment, check=True)
    return folder / "trained" / "model"


@pytest.mark.sweep
def test_the_shipped_baseline_is_not_beaten_by_any_of_them(benchmark: Benchmark, tmp_path: Path) -> None:
    """Everything is measured, as a campaign does it."""
    campaign = load_campaign(ROOT / "campaigns" / f"{benchmark.name}.yaml")
    data = benchmark.data(tmp_path / "data")
    baseline = trained(campaign, data, tmp_path)
    atoms = benchmark.free_atoms_ev
    silent = {
        "constant": sum_of_atoms(tmp_path / "constant", dict.fromkeys(atoms, 0.0)),
        "mean": sum_of_atoms(tmp_path / "mean", mean_energies_ev(benchmark, data)),
        "free atoms": sum_of_atoms(tmp_path / "free", atoms),
        "chance": by_chance(tmp_path / "chance", atoms, 1.0, 0),
    }
    lucky = by_chance(tmp_path / "lucky", atoms, 1.0, LUCKY)
    card = campaign.scorecard

    def measured(name: str, model: Path) -> MetricsFile:
        return evaluate(model, data, campaign.scorecard_path, "smoke", "test", tmp_path / f"out {name}")

    old = score(card, measured("baseline", baseline))
    for name, model in silent.items():
        found = measured(name, model)
        is_worst(card, found)
        if "relaxation_rmsd_a" in card.metrics and name != "chance":
            displaced_a = card.settings.relaxation.displacement_a
            assert found.values["relaxation_rmsd_a"] == pytest.approx(displaced_a)
        is_not_better(card, old, score(card, found))
    is_not_better(card, old, score(card, measured("lucky", lucky)))


def is_not_better(card: Scorecard, old: Score, new: Score) -> None:
    assert judge(card.accept, [old], [new]).verdict == "reverted"
    assert order([old]) <= order([new])
