"""What `model/config.json` may say of a MACE, strict and bounded, so that no hand-over is a memory bomb.

The file is written by code that an agent edits: every value is hostile until it has passed here.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from mlipilot.evaluation.handover_files import HandoverError
from mlipilot.nearness import did_you_mean

_IRREP = re.compile(r"(\d{1,3})x(\d)([eo])")
_MAX_WORK = 1.0e6
"""Channels × (max_ell + 1)² × r_max³: about 0.3 GiB for one edge tensor of 108 atoms of a dense metal."""


def irreps_terms(text: str) -> list[tuple[int, int, str]]:
    """Multiplicity, degree, parity of each term of irreps text like "16x0e + 16x1o". Raises ValueError."""
    terms = []
    for part in text.split("+"):
        match = _IRREP.fullmatch(part.strip())
        if match is None:
            raise ValueError("irreps are written like '16x0e + 16x1o'")
        terms.append((int(match[1]), int(match[2]), match[3]))
    return terms


def _hidden_irreps(text: str) -> str:
    terms = irreps_terms(text)
    if terms[0][1:] != (0, "e"):
        raise ValueError("the first term must be scalars (0e)")
    if any(not 1 <= count <= 512 or degree > 3 for count, degree, _ in terms) or len(terms) > 8:
        raise ValueError("at most 8 terms of 1 to 512 channels with l ≤ 3 are allowed")
    if len({count for count, _, _ in terms}) > 1:
        raise ValueError("every term must have the same number of channels")
    return text


def _scalar_irreps(text: str) -> str:
    terms = irreps_terms(text)
    if len(terms) != 1 or terms[0][1:] != (0, "e") or not 1 <= terms[0][0] <= 512:
        raise ValueError("one term of 1 to 512 scalars is expected, like '16x0e'")
    return text


InteractionClass = Literal[
    "RealAgnosticResidualInteractionBlock",
    "RealAgnosticInteractionBlock",
    "RealAgnosticDensityInteractionBlock",
    "RealAgnosticDensityResidualInteractionBlock",
]
Correlation = Annotated[int, Field(ge=1, le=3)]
AtomicNumber = Annotated[int, Field(ge=1, le=118)]
Width = Annotated[int, Field(ge=1, le=512)]
Energy = Annotated[float, Field(ge=-1e6, le=1e6)]


class ModelArguments(BaseModel, extra="forbid", strict=True, frozen=True, allow_inf_nan=False):
    """Constructor arguments of `mace.modules.MACE` and `ScaleShiftMACE` as JSON."""

    r_max: float = Field(ge=1.0, le=10.0)
    num_bessel: int = Field(ge=1, le=64)
    num_polynomial_cutoff: int = Field(ge=2, le=20)
    max_ell: int = Field(ge=0, le=4)
    interaction_cls: InteractionClass
    interaction_cls_first: InteractionClass
    num_interactions: int = Field(ge=1, le=4)
    hidden_irreps: Annotated[str, Field(max_length=100), AfterValidator(_hidden_irreps)]
    MLP_irreps: Annotated[str, Field(max_length=20), AfterValidator(_scalar_irreps)]
    gate: Literal["silu", "tanh", "abs", "None"] = "silu"
    atomic_energies: list[Energy] = Field(min_length=1, max_length=118)
    avg_num_neighbors: float = Field(ge=1e-3, le=1e4)
    atomic_numbers: list[AtomicNumber] = Field(min_length=1, max_length=118)
    correlation: Correlation | list[Correlation]
    radial_type: Literal["bessel", "gaussian", "chebyshev"] = "bessel"
    atomic_inter_scale: float | None = Field(default=None, ge=-1e4, le=1e4)
    atomic_inter_shift: float | None = Field(default=None, ge=-1e6, le=1e6)
    pair_repulsion: bool = False
    distance_transform: Literal["None", "Agnesi", "Soft"] = "None"
    radial_MLP: list[Width] | None = Field(default=None, min_length=1, max_length=5)  # noqa: N815 - MACE's

    @property
    def channels(self) -> int:
        """Channels of each hidden irrep."""
        return irreps_terms(self.hidden_irreps)[0][0]

    @property
    def edge_width(self) -> int:
        """Numbers that the widest tensor holds for each edge."""
        return self.channels * (self.max_ell + 1) ** 2

    @property
    def receptive_field_a(self) -> float:
        """How far from an atom lies what its energy depends on; its force, twice as far."""
        return self.r_max * self.num_interactions

    @model_validator(mode="after")
    def _consistent(self) -> ModelArguments:
        if len(set(self.atomic_numbers)) != len(self.atomic_numbers):
            raise ValueError("atomic_numbers names an element twice")
        if len(self.atomic_energies) != len(self.atomic_numbers):
            raise ValueError("atomic_energies must have one energy for each of atomic_numbers")
        if isinstance(self.correlation, list) and len(self.correlation) != self.num_interactions:
            raise ValueError("correlation as a list must have one order for each interaction")
        if self.edge_width * self.r_max**3 > _MAX_WORK:
            raise ValueError(
                f"the model is too large: channels × (max_ell + 1)² × r_max³ = "
                f"{self.edge_width * self.r_max**3:.3g} exceeds {_MAX_WORK:.3g}"
            )
        return self


class HandoverConfig(BaseModel, extra="forbid", strict=True, frozen=True, allow_inf_nan=False):
    """The whole of `model/config.json`."""

    format: Literal["mlipilot-handover/1"]
    model_class: Literal["MACE", "ScaleShiftMACE"]
    dtype: Literal["float64", "float32"]
    arguments: ModelArguments

    @model_validator(mode="after")
    def _scale_and_shift(self) -> HandoverConfig:
        given = [self.arguments.atomic_inter_scale, self.arguments.atomic_inter_shift]
        if self.model_class == "ScaleShiftMACE" and None in given:
            raise ValueError("ScaleShiftMACE needs atomic_inter_scale and atomic_inter_shift")
        if self.model_class == "MACE" and given != [None, None]:
            raise ValueError("MACE takes neither atomic_inter_scale nor atomic_inter_shift")
        return self


def parse_config(data: bytes) -> HandoverConfig:
    """The checked content of a `config.json`. Raises HandoverError naming the key, the value and the mend."""
    try:
        content = json.loads(data, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    # a deeply nested text exhausts the parser's stack; undecodable bytes are a ValueError, too
    except (ValueError, RecursionError) as error:
        raise HandoverError(f"config.json is not plain JSON: {error}") from None
    try:
        return HandoverConfig.model_validate(content)
    except ValidationError as error:
        raise HandoverError(f"config.json: {_explain(error)}") from None


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key is given twice")
    return content


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _explain(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in fault["loc"]) or "the file"
    value = repr(fault["input"])
    shown = value if len(value) <= 80 else value[:77] + "..."
    if fault["type"] == "extra_forbidden":
        keys = [*ModelArguments.model_fields, *HandoverConfig.model_fields]
        return "; ".join(filter(None, [f"unknown key {place!r}", did_you_mean(str(fault["loc"][-1]), keys)]))
    if fault["type"] == "missing":
        return f"{place!r} is missing"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if value.startswith("{") else f"{place}: {message} (value: {shown})"
