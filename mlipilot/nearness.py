"""What was probably meant by a word that there is not: one measure for every "did you mean"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LEAST_LIKENESS = 0.5  # of 1, by difflib's ratio
_LONGEST = 199  # characters that are compared: of more, difflib passes over the frequent ones


def near(word: str, known: Iterable[str], most: int = 1) -> list[str]:
    """At most so many of the `known` words that are like `word`, the likest first."""
    return difflib.get_close_matches(word[:_LONGEST], list(known), n=most, cutoff=_LEAST_LIKENESS)


def question(meant: Iterable[str]) -> str:
    """The question whether one of these was meant; nothing where there are none."""
    listed = " or ".join(map(repr, meant))
    return f"did you mean {listed}?" if listed else ""


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "", most: int = 1) -> str:
    """The question whether the likest word was meant, or one of the likest.

    Where none is like it: `otherwise` with all of them, such as "the keys are: a, b", or else nothing.
    """
    known = list(known)
    return question(near(word, known, most)) or (f"{otherwise}: {', '.join(known)}" if otherwise else "")
