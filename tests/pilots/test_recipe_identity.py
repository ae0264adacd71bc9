"""When two recipes are the same: by what they say, not by how it is written."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mlipilot.campaign.spec import dump_yaml
from mlipilot.pilots.outcomes import Proposal, TurnInput
from mlipilot.pilots.recipe_identity import recipe_identity
from mlipilot.pilots.tools import Toolbox
from tests.pilots.conftest import RECIPE_YAML
from tests.pilots.test_tools import CLAIM

IN_A_FIXTURE = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    max_examples=25,
)
YAML = "loss: {forces: 0.01, stress: 100.0}\nkind: huber   # robust\nweights: {29: 1e3}\n"
PYTHON = '''"""Train."""

RATE = 0.01


def loss(error: float) -> float:
    """Squared."""
    # the textbook's
    return error**2


print(loss(RATE))
'''


@pytest.fixture
def identity(tmp_path: Path) -> Callable[[str, str], str]:
    def of(name: str, text: str) -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        found = recipe_identity(tmp_path)
        (tmp_path / name).unlink()
        return found

    return of


@pytest.mark.parametrize(
    ("name", "text", "same"),
    [
        ("r.yaml", YAML, "kind: 'huber'\n\nweights:\n  29: 1000\nloss:\n  stress: 1.0e+2\n  forces: 1e-2\n"),
        ("r.yaml", YAML, "# new!\n" + YAML.replace("100.0", "100")),
        (
            "t.py",
            PYTHON,
            "RATE = 1e-2\ndef loss(error: float) -> float:\n  return (error ** 2)\nprint(loss(RATE))\n",
        ),
        ("t.py", PYTHON, PYTHON.replace("Squared", "Absolute") + "# end\n"),
        ("t.py", PYTHON, PYTHON + "x = 1\nif False:\n    0\n"),
    ],
)
def test_comments_layout_order_and_the_spelling_of_numbers_do_not_matter(
    identity: Callable[[str, str], str], name: str, text: str, same: str
) -> None:
    assert identity(name, text) == identity(name, same)


@pytest.mark.parametrize(
    ("name", "text", "other"),
    [
        ("r.yaml", YAML, YAML.replace("0.01", "0.0100001")),
        ("r.yaml", YAML, YAML.replace("29: 1e3", "'29': 1e3")),
        ("r.yaml", YAML, YAML.replace("huber", "true")),
        ("r.yaml", "a: [1, 2]\n", "a: [2, 1]\n"),
        ("r.yaml", "a: 1\n", "a: true\n"),
        ("r.yaml", "a: .nan\n", "a: .inf\n"),
        ("r.yaml", "a: 9007199254740993\n", "a: 9007199254740992\n"),
        ("r.yaml", "a: 2020-01-01\n", "a: 2020-01-02\n"),
        ("t.py", PYTHON, PYTHON.replace("**2", "**3")),
        ("t.py", PYTHON, PYTHON.replace("RATE", "STEP")),
        ("t.py", "def f(:", "def f(::"),
        ("notes.txt", "a", "a "),
    ],
)
def test_whatever_a_training_could_see_matters(
    identity: Callable[[str, str], str], name: str, text: str, other: str
) -> None:
    assert identity(name, text) != identity(name, other)
    assert identity(name, text) == identity(name, text)


_LEAVES = st.one_of(
    st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False), st.text("abc: #", max_size=5)
)
_TREES = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.recursive(_LEAVES, lambda inner: st.lists(inner, max_size=3), max_leaves=4),
    min_size=1,
    max_size=5,
)


@IN_A_FIXTURE
@given(tree=_TREES, dice=st.randoms(use_true_random=False))
def test_any_mapping_may_be_written_in_any_order_and_style(
    identity: Callable[[str, str], str], tree: dict[str, Any], dice: random.Random
) -> None:
    keys = list(tree)
    dice.shuffle(keys)
    flow = json.dumps({key: tree[key] for key in keys}).replace("Infinity", ".inf")
    assert identity("r.yaml", dump_yaml(tree)) == identity("r.yaml", flow + "  # in one line\n")


@IN_A_FIXTURE
@given(tree=_TREES, value=_LEAVES, dice=st.randoms(use_true_random=False))
def test_any_changed_value_makes_another_recipe(
    identity: Callable[[str, str], str], tree: dict[str, Any], value: Any, dice: random.Random
) -> None:
    changed = copy.deepcopy(tree)
    key = dice.choice(list(tree))
    assume(tree[key] != value)
    changed[key] = value
    assert identity("r.yaml", dump_yaml(tree)) != identity("r.yaml", dump_yaml(changed))


def test_what_python_leaves_behind_is_no_part_of_a_recipe(incumbent: Path) -> None:
    before = recipe_identity(incumbent)
    (incumbent / "__pycache__").mkdir()
    (incumbent / "__pycache__" / "train.cpython-311.pyc").write_bytes(b"\x00")
    assert recipe_identity(incumbent) == before
    (incumbent / "train.py").rename(incumbent / "other.py")
    assert recipe_identity(incumbent) != before


def test_a_tried_recipe_is_refused_with_its_old_verdict_and_another_is_not(
    make_turn: Callable[..., TurnInput], draft: Path
) -> None:
    recipe = draft / "recipe.yaml"
    recipe.write_text(RECIPE_YAML.replace("decay: 0.0", "decay: 0.99"))
    tried = {recipe_identity(draft): "iteration 3 of lineage 1, reverted: no gain\nbeyond the noise"}
    recipe.write_text(RECIPE_YAML.replace("decay: 0.0", "decay: 99.0e-2  # a new idea"))
    toolbox = Toolbox(make_turn(tried=tried))
    refused = toolbox.call("submit_experiment", CLAIM)
    assert refused.outcome is None
    assert "error: this recipe was tried: iteration 3 of lineage 1, reverted: no gain beyond" in refused.text
    recipe.write_text(RECIPE_YAML.replace("decay: 0.0", "decay: 0.999"))
    assert isinstance(toolbox.call("submit_experiment", CLAIM).outcome, Proposal)


def test_another_way_to_write_the_incumbent_is_no_experiment(
    make_turn: Callable[..., TurnInput], draft: Path
) -> None:
    (draft / "recipe.yaml").write_text(RECIPE_YAML.replace("100.0", "1.0e2") + "# better\n")
    assert "unchanged" in Toolbox(make_turn()).call("submit_experiment", CLAIM).text


def test_dead_code_is_no_new_recipe(make_turn: Callable[..., TurnInput], draft: Path) -> None:
    toolbox, text = Toolbox(make_turn()), (draft / "train.py").read_text()
    for dead in ("if False: 0\n", "x = 1\n", "def unused():\n    return 2\n"):
        (draft / "train.py").write_text(text + dead)
        assert "unchanged: edit it" in toolbox.call("submit_experiment", CLAIM).text
    (draft / "train.py").write_text(text + "x = 1\n")
    (draft / "other.py").write_text("from train import x\n\nprint(x)\n")
    assert isinstance(toolbox.call("submit_experiment", CLAIM).outcome, Proposal)
