"""What a metric's file declares of its curves: how the report draws them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Figure(NamedTuple):
    """A figure of the report; its panels lie side by side in the order of their titles."""

    name: str
    """Of its file."""
    title: str
    remark: str = ""
    """The caption's end, after what each panel has to say."""


DYNAMICS = Figure("dynamics", "Molecular dynamics")
PROPERTIES = Figure(
    "molecules",
    "Properties of molecules",
    "The axes are the reference's; profiles beyond leave them, frequencies beyond lie on their edge.",
)
CRYSTALS = Figure("crystal", "Volume and vibrations of the crystal")
BEYOND = Figure("beyond", "Beyond the training data")


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What every kind of panel has."""

    figure: Figure
    title: str
    caption: str = ""
    arrays: tuple[str, ...]
    """Their names in `curves.npz`, where they are of one shape; an empty name: evenly from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Lines(Panel):
    """x, the model's values, the reference's if any: a line for each of what `*` stands for in the names."""

    labels: tuple[str, str]
    """Of both axes."""
    divisor: float = 1.0
    """What the values are divided by, for their label's unit."""
    shown: Literal["all", "positive", "reference"] = "all"
    """Every value; those above zero, from where the reference begins; the reference's range and more."""
    bound: str = ""
    """Name of an array of one value, which is drawn as a line."""
    tag: Callable[[str], str] = lambda _: ""
    """What is written at a line, by what `*` stands for."""


@dataclass(frozen=True, kw_only=True)
class Parity(Panel):
    """Reference and model, a mark a value. A figure of nothing else has a row for each model."""

    unit: str
    milli: bool = False
    """Whether errors are told in thousandths of the unit."""
    apart: str = ""
    """What the names of the same arrays of other data begin with, drawn as open circles."""
