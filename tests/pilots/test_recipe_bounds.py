"""A recipe is code, not data: weights that come with it are refused by whatever door, honest changes pass."""

from __future__ import annotations

import base64
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.campaign.spec import RECIPES
from mlipilot.pilots import recipe_bounds
from mlipilot.pilots.outcomes import Proposal, TurnInput
from mlipilot.pilots.recipe_bounds import recipe_excess
from mlipilot.pilots.tools import Toolbox
from tests.pilots.test_tools import CLAIM

WEIGHTS = random.Random(1).randbytes(2336)  # the shipped baseline has as many, at eight bits each
BASE64 = base64.b64encode(WEIGHTS).decode()
HEX = WEIGHTS.hex()
START = RECIPES / "mace"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return Path(shutil.copytree(START, tmp_path / "recipe", ignore=shutil.ignore_patterns("__pycache__")))


def _pieces(text: str, length: int) -> list[str]:
    return [text[at : at + length] for at in range(0, len(text), length)]


def _append(name: str, text: str) -> Callable[[Path], None]:
    def change(recipe: Path) -> None:
        with (recipe / name).open("a", encoding="utf-8") as stream:
            stream.write(text)

    return change


def _names(recipe: Path) -> None:
    for piece in _pieces(base64.b32encode(WEIGHTS).decode().rstrip("="), 200)[:16]:
        (recipe / piece).touch()


def _many_short_names(recipe: Path) -> None:
    for piece in _pieces(base64.b32encode(WEIGHTS).decode().rstrip("="), 50):
        (recipe / piece).touch()


def _binary(recipe: Path) -> None:
    (recipe / "weights.bin").write_bytes(WEIGHTS)


def _lines(form: str, pieces: list[str]) -> str:
    return "".join(form.format(n, piece) for n, piece in enumerate(pieces))


INTEGERS = [f"{byte}" for byte in WEIGHTS]
DOORS: dict[str, tuple[Callable[[Path], None], str]] = {
    "base64 in one line": (_append("train.py", f"W = '{BASE64}'\n"), "in a line; at most 300"),
    "base64 in a string of many lines": (
        _append("train.py", "W = '''\n" + "\n".join(_pieces(BASE64, 58)) + "\n'''\n"),
        "in a string or comment; at most 2,000",
    ),
    "a shorter one": (
        _append("train.py", "W = '''\n" + "\n".join(_pieces(BASE64[:1500], 58)) + "\n'''\n"),
        "bits a character in a text; at most 5.3",
    ),
    "hexadecimal": (
        _append("train.py", "W = '''\n" + "\n".join(_pieces(HEX[:1500], 58)) + "\n'''\n"),
        "digits in a text; at most 40%",
    ),
    "bytes": (
        _append("train.py", "W = (\n" + _lines("    {1!r}\n", _pieces(WEIGHTS[:900], 12)) + ")\n"),  # type: ignore[arg-type]
        "120 characters without a blank; at most 100",
    ),
    "many short strings in a list": (
        _append("train.py", "W = [\n" + _lines("    '{1}',\n", _pieces(BASE64, 8)) + "]\n"),
        "train.py: all strings and comments together: 5.99 bits a character",
    ),
    "a variable for each": (
        _append("train.py", _lines("w{0} = '{1}'\n", _pieces(BASE64, 8))),
        "bits a character in a text; at most 5.3",
    ),
    "a call for each": (
        _append("train.py", _lines("add('{1}')\n", _pieces(HEX, 8))),
        "digits in a text; at most 40%",
    ),
    "a list of integers": (
        _append("train.py", "W = [\n" + _lines("    {1},\n", INTEGERS) + "]\n"),
        "values in one statement or below one key; at most 64",
    ),
    "integers in the head of a loop": (
        _append("train.py", "for w in (\n" + _lines("    {1},\n", INTEGERS) + "):\n    pass\n"),
        "values in one statement or below one key; at most 64",
    ),
    "a statement for each integer": (
        _append("train.py", _lines("add({1})\n", INTEGERS)),
        "numbers added; at most 300",
    ),
    "fewer floats of all their digits": (
        _append("train.py", _lines("add(0.{1})\n", _pieces(str(int.from_bytes(WEIGHTS[:1200])), 15))),
        "characters of numbers added; at most 2,000",
    ),
    "one long integer": (
        _append("train.py", f"W = int('1') + \\\n{int.from_bytes(WEIGHTS[:20])}\n"),
        "characters in a number; at most 25",
    ),
    "a long integer in hexadecimal digits": (
        _append("train.py", f"W = 0x{HEX}\n"),
        "in a line; at most 300",
    ),
    "values of recipe.yaml": (
        _append("recipe.yaml", "w:\n" + _lines("  - {1}\n", INTEGERS)),
        "values in one statement or below one key; at most 64",
    ),
    "many keys of recipe.yaml": (
        _append("recipe.yaml", _lines("w{0}: {1}\n", INTEGERS)),
        "digits in a text; at most 40%",
    ),
    "a text of recipe.yaml": (
        _append("recipe.yaml", "w: >-\n" + _lines("  {1}\n", _pieces(BASE64[:1500], 60))),
        "bits a character in a text; at most 5.3",
    ),
    "keys themselves": (
        _append("recipe.yaml", "w:\n" + _lines("  {1}: 1\n", _pieces(BASE64, 20))),
        "recipe.yaml: all strings and comments together: 5.99 bits",
    ),
    "comments": (
        _append("train.py", _lines("# {1}\n", _pieces(BASE64, 50))),
        "bits a character in a text; at most 5.3",
    ),
    "comments of recipe.yaml": (
        _append("recipe.yaml", _lines("# {1}\n", _pieces(HEX, 50))),
        "recipe.yaml: ",
    ),
    "a docstring": (
        _append(
            "train.py", 'def f():\n    """\n' + _lines("    {1}\n", _pieces(BASE64[:1500], 50)) + '    """\n'
        ),
        "bits a character in a text; at most 5.3",
    ),
    "a note": (
        lambda recipe: _append("notes.md", _lines("{1}\n", _pieces(BASE64, 50)))(recipe),
        "notes.md: all strings and comments together: 5.99 bits",
    ),
    "names of variables": (
        _append(
            "train.py", _lines("x{1} = x\n", _pieces(base64.b32encode(WEIGHTS).decode().rstrip("="), 50))
        ),
        "characters of names added; at most 1,500",
    ),
    "letters of another script": (
        _append("train.py", _lines("# {1}\n", _pieces("".join(chr(0x4E00 + b) for b in WEIGHTS), 60))),
        "characters outside of ASCII added; at most 400",
    ),
    "blanks at the ends of lines": (
        _append("train.py", "".join("x = x" + " " * (b % 64) + "\n" for b in WEIGHTS[:900])),
        "blanks at the ends of lines added; at most 200",
    ),
    "long names of files": (_names, "characters in the file name"),
    "names of many files": (_many_short_names, "files beyond those of the starting recipe; at most 16"),
    "a binary file": (_binary, "weights.bin cannot be read as what it is"),
    "the order of names": (
        _append(
            "train.py",
            "".join(
                f"{'abcdefgh'[n & 7]}<{'abcdefgh'[n >> 3 & 7]}\n" for n in random.Random(2).randbytes(7000)
            ),
        ),
        "bytes added to the starting recipe, compressed; at most 4,096",
    ),
    "sheer length": (
        _append("train.py", "".join(f"x = x + y{n % 7}\n" for n in range(5000))),
        "bytes more than the starting recipe; at most 49,152",
    ),
    "plain words in comments": (
        _append("train.py", "".join(f"# {'a word or ' * 4}{n % 9}\n" for n in range(200))),
        "characters of strings and comments added; at most 8,000",
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_weights_in_a_recipe_are_refused(recipe: Path, door: str) -> None:
    change, words = DOORS[door]
    change(recipe)
    said = recipe_excess(recipe, START)
    assert said is not None and words in said, said
    assert said.endswith(
        "A recipe is code, not data: compute what it needs, or learn it from the training data"
    )


def test_the_starting_recipes_stand_far_below_every_bound(tmp_path: Path) -> None:
    """If nothing of them had been there, only their names together would be too many."""
    (nothing := tmp_path / "nothing").mkdir()
    for recipe in (path.parent for path in RECIPES.glob("*/train.py")):
        assert recipe_excess(recipe, recipe) is None
        said = recipe_excess(recipe, nothing)
        assert said is not None and "characters of names added; at most" in said, said


def test_what_the_starting_recipe_has_itself_is_not_held_against_it(recipe: Path, tmp_path: Path) -> None:
    _append("recipe.yaml", "table:\n" + "".join(f"  - {n / 7}\n" for n in range(400)))(recipe)
    (recipe / "data.bin").write_bytes(WEIGHTS)
    changed = Path(shutil.copytree(recipe, tmp_path / "changed"))
    _append("train.py", "\n# one line more\n")(changed)
    assert recipe_excess(changed, recipe) is None
    (changed / "other.bin").write_bytes(WEIGHTS)
    assert "other.bin" in str(recipe_excess(changed, recipe))


def test_an_honest_change_is_well_within_the_bounds(recipe: Path) -> None:
    """A schedule, a loss and a helper of a hundred lines, with docstrings, in files of their own."""
    (recipe / "losses.py").write_text(Path(recipe_bounds.__file__).read_text()[:6000].rpartition("\n\n\n")[0])
    text = (recipe / "recipe.yaml").read_text().replace("4x0e", "16x0e + 8x1o").replace("0.01", "0.004")
    (recipe / "recipe.yaml").write_text(text + "rms:\n" + "".join(f"  e{n}: {n / 10}\n" for n in range(30)))
    _append("train.py", "# ------------------------------" + "-" * 80 + "\n")(recipe)
    assert recipe_excess(recipe, START) is None


def test_a_recipe_that_moves_its_code_into_another_file_adds_nothing(recipe: Path) -> None:
    (recipe / "train.py").rename(recipe / "trainer.py")
    (recipe / "train.py").write_text("from trainer import main\n\nmain()\n")
    assert recipe_excess(recipe, START) is None


def test_the_pilot_is_told_and_can_mend_it(make_turn: Callable[..., TurnInput], draft: Path) -> None:
    toolbox = Toolbox(make_turn())
    text = (draft / "train.py").read_text()
    edit = {
        "path": "train.py",
        "content": f"{text}W = [\n{', '.join(INTEGERS[:35])},\n{', '.join(INTEGERS[35:70])}]\n",
    }
    assert not toolbox.call("write_file", edit).text.startswith("error")
    refused = toolbox.call("submit_experiment", CLAIM)
    assert refused.outcome is None
    assert "error: the recipe is too much: train.py, line " in refused.text
    assert "70 values in one statement or below one key; at most 64. A recipe is code" in refused.text
    toolbox.call("write_file", edit | {"content": f"{text}W = 2\nmain(W)\n"})
    assert isinstance(toolbox.call("submit_experiment", CLAIM).outcome, Proposal)
