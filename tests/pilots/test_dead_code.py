"""What has no effect in Python code is left out, and nothing else is."""

from __future__ import annotations

import pytest

from mlipilot.pilots.dead_code import folded, names_in

CODE = """
RATE = 0.01


def loss(error, weight=2):
    if error > 1:
        return weight * error
    return error * error


print(loss(RATE))
"""
NOTHING = [
    "if False: 0\n",
    "if False:\n    RATE = 3\n    print(RATE)\n",
    "if 1 > 2:\n    import os\n",
    "if not 1:\n    pass\nelse:\n    pass\n",
    "while 0:\n    print('never')\n",
    "x = 1\n",
    "x = 1\nx = 'two'\n",
    "x: int = 1\n",
    "x = 1 + 2 * 3\n",
    "'''Another docstring.'''\n",
    "0\n...\n",
    "pass\n",
    "assert True\n",
    "assert 1 < 2, 'arithmetic'\n",
    "def helper(a, b: int = 3) -> int:\n    print(a)\n    return b\n",
    "def helper():\n    return other()\n\n\ndef other():\n    return 1\n",
    "if True:\n    pass\n",
    "if False or 0 or not 1:\n    print('never')\n",
]
INSIDE = [
    ("        return weight * error\n", "        return weight * error\n        print('never')\n"),
    ("        return weight * error\n", "        unused = 3\n        return weight * error\n"),
    ("    if error > 1:\n", "    if True and error > 1:\n"),
    ("    if error > 1:\n", "    if error > 3 - 2:\n"),
    ("weight * error\n", "(weight if 1 else 5) * error\n"),
    ("    if error > 1:\n", "    if False:\n        never = 1\n    if error > 1:\n"),
    ("RATE = 0.01\n", "RATE = 0.02 / 2\n"),
    ("weight=2", "weight=+2"),
    ("    return error * error\n", "    if 1:\n        return error * error\n    return 7\n"),
]
SOMETHING = [
    "y = loss(1)\n",
    "RATE = 0.02\n",
    "import os\n",
    "if True:\n    print('always')\n",
    "while True:\n    break\n",
    "def print(x):\n    return x\n",
    "x = 1\nprint(x)\n",
    "x = 1\nprint(globals())\n",
    "@loss\ndef helper():\n    pass\n",
    "def helper(a=loss(2)):\n    pass\n",
    "class A:\n    x = 1\n",
    "class A:\n    def forward(self):\n        return 1\n",
    "def __getattr__(name):\n    return 1\n",
    "x = 1\n__all__ = ['x']\n",
    "def f():\n    global x\n    x = 1\nf()\n",
    "x = 1\ndel x\n",
    "assert False\n",
    "assert print(1)\n",
    "1 / 0\n",
]
DIFFERENT = [
    ("def f():\n    return 1\nf()\n", "def f():\n    return 1\n    yield\nf()\n"),
    ("def f():\n    if False:\n        yield\nf()\n", "def f():\n    pass\nf()\n"),
    (
        "x = [1]\ndef f():\n    print(x)\nf()\n",
        "x = [1]\ndef f():\n    print(x)\n    if 0:\n        x = 2\nf()\n",
    ),
    ("f(2)\n", "f(2.0)\n"),
    ("f(1)\n", "f(True)\n"),
    ("f(0.0)\n", "f(-0.0)\n"),
    ("f(a and False)\n", "f(False)\n"),
    ("f(0 or a)\n", "f(0)\n"),
    ("f(2 ** 3)\n", "f(9)\n"),
]


@pytest.mark.parametrize("nothing", NOTHING)
def test_what_has_no_effect_is_left_out_wherever_it_stands(nothing: str) -> None:
    assert folded(CODE + nothing) == folded(CODE) == folded(nothing + CODE)
    inside = "".join(f"    {line}\n" for line in nothing.splitlines())
    assert "RATE" in nothing or folded(CODE.replace("2):\n", f"2):\n{inside}")) == folded(CODE)


@pytest.mark.parametrize(("old", "new"), INSIDE)
def test_what_has_no_effect_is_left_out_inside_of_other_code(old: str, new: str) -> None:
    assert CODE.count(old) == 1
    assert folded(CODE.replace(old, new)) == folded(CODE)


@pytest.mark.parametrize("something", SOMETHING)
def test_what_may_have_an_effect_stays(something: str) -> None:
    assert folded(CODE + something) != folded(CODE)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_python_tells_apart_stays_apart(one: str, other: str) -> None:
    assert folded(one) != folded(other)


def test_what_another_file_may_look_up_stays() -> None:
    assert folded("x = 1\n", names_in("from train import x\n")) != folded("", ())
    assert folded("x = 1\n", names_in("from train import *\n")) != folded("", ())
    assert folded("x = 1\n", names_in("import train\nprint(train)\n")) == folded("", ())
