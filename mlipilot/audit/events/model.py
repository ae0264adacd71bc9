"""What all events have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

Number = Annotated[int, Field(ge=0, lt=10**6)]
"""Of an iteration or a lineage."""
Ordinal = Annotated[int, Field(ge=1, lt=10**6)]
"""Of a revision, an attempt or a line: from 1."""
Count = Annotated[int, Field(ge=0)]
Cost = Annotated[float, Field(ge=0)]
"""In seconds or US dollars."""
Spread = Annotated[float, Field(ge=0)]
"""A standard deviation."""
Share = Annotated[float, Field(ge=0, le=1)]
"""A probability."""
LineageName = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
"""Its number, as JSON has it for a key."""
Variant = Annotated[str, Field(pattern=r"^(permuted-labels|without-[0-9]{4,6})?$")]
"""Of a candidate, as `JobKey` has it."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Model(BaseModel, extra="forbid", frozen=True, strict=True, allow_inf_nan=False):
    """What is on record is exactly this: nothing is converted, nothing is passed over."""
