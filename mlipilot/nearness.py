"""What was probably meant by a word that there is not: one measure for every "did you mean"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LEAST_LIKENESS = 0.5  # of 1, by difflib's ratio
_LONGEST = 199  # characters that are compared: of more, difflib passes over the frequent ones


def near(word: str, known: Iterable[str], most: int = 1) -> list[str]:
    """At most so many of the `known` words that are like `word`, the likest first."""
    return difflib.get_close_matches(word[:_LONGEST], list(known), n=most, cutoff=_LEAST_LIKENESS)


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """The question whether the likest word was meant.

    Where none is like it: `otherwise` with all of them, such as "the keys are: a, b", or else nothing.
    """
    known = list(known)
    found = near(word, known)
    if found:
        return f"did you mean {found[0]!r}?"
    return f"{otherwise}: {', '.join(known)}" if otherwise else ""
