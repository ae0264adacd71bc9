"""What a user may set, and the messages for what fits no source."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from mlipilot.datasets.qm7_b3lyp import embedded
from mlipilot.datasets.qm7_b3lyp.chosen_molecules import _choose
from mlipilot.datasets.qm7_b3lyp.qm7_options import Qm7B3lypOptions
from mlipilot.errors import InputError
from mlipilot_labels.cost import label_seconds


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": 3}, "shipped labels are what they are: seed"),
        ({"source": "qm7"}, "give both or neither"),
        ({"source": "embedded", "qm7": "qm7.mat"}, "give both or neither"),
        ({"source": "embedded", "temperatures_k": [0]}, "above 0 K"),
        ({"source": "embedded", "temperature": 3}, "Extra inputs"),
    ],
)
def test_options_that_fit_no_source_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Qm7B3lypOptions.model_validate(values)


def test_processes_and_shards_are_no_part_of_the_data() -> None:
    few, many = (Qm7B3lypOptions(source="embedded", shards=n, processes=n) for n in (1, 9))
    assert few.model_dump() == many.model_dump()


def test_molecules_are_drawn_by_the_seed_or_named() -> None:
    names = embedded.names()
    drawn = [_choose(names, Qm7B3lypOptions(source="embedded", molecules=5, seed=s)) for s in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 5
    named = Qm7B3lypOptions(source="embedded", molecules=("water", "ethanl"))
    with pytest.raises(InputError, match="did you mean 'ethanol'"):
        _choose(names, named)
    with pytest.raises(InputError, match="there are 3"):
        _choose(names[:3], Qm7B3lypOptions(source="embedded", molecules=4))


def test_a_larger_molecule_costs_more() -> None:
    assert label_seconds([6] * 7) > label_seconds([6] * 6 + [1]) > label_seconds([8, 1, 1])
