"""A campaign's declared space is checked against its recipe, its search pilots against what is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlipilot.campaign.spec import dump_spec, load_campaign, load_locked
from mlipilot.errors import InputError
from tests.campaign.test_spec import CU_EMT, MINIMAL

SPACE = """\
space:
  loss.energy: {low: 0.1, high: 1000, log: true}
  ema.decay:
    choices: [0.0, 0.99]
"""


def _load(tmp_path: Path, text: str) -> None:
    path = tmp_path / "campaign.yaml"
    path.write_text(text)
    load_campaign(path)


def test_the_shipped_campaign_can_be_searched_and_holds_what_passes_its_gates() -> None:
    """The scripted moves pass them."""
    spec = load_campaign(CU_EMT, None, ["pilot={kind: tpe}"]).spec
    assert spec.pilot.kind == "tpe"
    wanted = {
        "loss.energy": 100.0, "loss.stress": 1000.0, "loss.config_type_weights.compressed": 0.01,
        "schedule.kind": "one_cycle", "optimiser.learning_rate": 0.02, "ema.decay": 0.99,
        "optimiser.clip_gradient_norm": 10.0, "model.hidden_irreps": "16x0e", "model.max_ell": 2,
        "normalisation.atomic_energy": "isolated_atom",
    }  # fmt: skip
    assert {path for path, value in wanted.items() if not spec.space[path].fits(value)} == set()


def test_a_locked_space_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "campaign.yaml"
    path.write_text(MINIMAL + SPACE)
    spec = load_campaign(path).spec
    (tmp_path / "lock.yaml").write_text(dump_spec(spec))
    assert load_locked(tmp_path / "lock.yaml") == spec
    assert "energy:\n    low: 0.1\n    high: 1000.0\n    log: true\n" in dump_spec(spec)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (("loss.energy", "loss.enrgy"), [":13:", "no key 'loss.enrgy'", "did you mean 'loss.energy'?"]),
        (("low: 0.1", "low: 10"), [":13:", "recipe.yaml is 1.0, which is not a number from 10 to 1000"]),
        (("0.0, 0.99", "0.9, 0.99"), [":14:", "'space.ema.decay': the value in recipe.yaml is 0.0"]),
        (("low: 0.1", "low: 0"), [":13:", "begins above 0"]),
        (("low: 0.1", "lwo: 0.1"), [":13:", "unknown key", "did you mean 'low'?"]),
        (("[0.0, 0.99]", "[0.0]"), [":15:", "at least two choices"]),
        (("space:\n", "spaces:\n"), [":12:", "unknown key 'spaces'", "did you mean 'space'?"]),
    ],
)
def test_faults_of_a_space_name_line_value_and_mend(
    tmp_path: Path, change: tuple[str, str], parts: list[str]
) -> None:
    assert change[0] in SPACE
    with pytest.raises(InputError) as caught:
        _load(tmp_path, MINIMAL + SPACE.replace(*change))
    for part in parts:
        assert part in str(caught.value), str(caught.value)


def test_a_recipe_without_recipe_yaml_has_no_space(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "train.py").write_text("")
    with pytest.raises(InputError, match=r":12: 'space' is about .*own/recipe\.yaml, which cannot be read"):
        _load(tmp_path, MINIMAL.replace("recipe: mace", "recipe: own") + SPACE)


def test_a_search_without_a_space_is_told_what_to_add(tmp_path: Path) -> None:
    text = MINIMAL.replace("pilot:\n  kind: scripted\n", "pilots:\n- local\n- {kind: tpe, name: tpe-2}\n")
    with pytest.raises(InputError, match=r":8: the tpe-2 pilot searches a space[\s\S]*add `space:`"):
        _load(tmp_path, text)


@pytest.mark.parametrize(("kind", "package"), [("tpe", "optuna"), ("hybrid", "optuna"), ("cma-es", "cmaes")])
def test_a_missing_package_is_told_when_the_campaign_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf":6: the {kind} pilot needs .*{package}[\s\S]*mlipilot\[hpo\]"):
        _load(tmp_path, MINIMAL.replace("pilot:\n  kind: scripted\n", f"pilot: {kind}\n") + SPACE)
    _load(tmp_path, MINIMAL + SPACE)  # which the scripted pilot does without
