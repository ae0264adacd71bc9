import json
from typing import Any

import pytest

from mlipilot.evaluation.families.mace_config import parse_config
from mlipilot.evaluation.handover_files import HandoverError

from .conftest import config_json


def refusal(data: Any) -> str:
    with pytest.raises(HandoverError) as error:
        parse_config(data if isinstance(data, bytes) else json.dumps(data).encode())
    return str(error.value)


def test_what_a_recipe_writes_is_taken() -> None:
    config = parse_config(json.dumps(config_json()).encode())
    assert config.arguments.channels == 4
    assert config.arguments.edge_width == 4 * 2**2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hidden_irreps": "999x0e"}, "1 to 512 channels"),
        ({"hidden_irreps": "512x0e", "max_ell": 4, "r_max": 10.0}, "too large"),
        ({"hidden_irreps": "16x1o"}, "first term must be scalars"),
        ({"hidden_irreps": "16x0e + 8x1o"}, "same number of channels"),
        ({"hidden_irreps": "__import__('os')"}, "irreps are written like"),
        ({"MLP_irreps": "16x1o"}, "scalars"),
        ({"interaction_cls": "os.system"}, "interaction_cls"),
        ({"gate": "eval"}, "gate"),
        ({"r_max": 50.0}, "r_max"),
        ({"r_max": "4"}, "r_max"),
        ({"num_interactions": 10**9}, "num_interactions"),
        ({"correlation": 9}, "correlation"),
        ({"correlation": [2]}, "one order for each interaction"),
        ({"atomic_energies": [1.0, 2.0]}, "one energy for each"),
        ({"atomic_numbers": [29, 29], "atomic_energies": [1.0, 1.0]}, "twice"),
        ({"radial_MLP": [4096]}, "radial_MLP"),
        ({"atomic_inter_scale": None}, "needs atomic_inter_scale"),
        ({"hiden_irreps": "4x0e"}, "did you mean 'hidden_irreps'"),
    ],
)
def test_arguments_out_of_bounds_are_refused_with_the_key(change: dict[str, Any], reason: str) -> None:
    assert reason in refusal(config_json(**change))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"not json", "not plain JSON"),
        (b"\xff\xfe", "not plain JSON"),
        (b"[" * 60000, "not plain JSON"),
        (b'{"format": NaN}', "NaN is no JSON number"),
        (b'{"format": 1, "format": 2}', "given twice"),
        (b"[]", "config.json"),
        (b"1" * 5000, "not plain JSON"),
    ],
)
def test_what_is_no_plain_json_is_refused(data: bytes, reason: str) -> None:
    assert reason in refusal(data)


@pytest.mark.parametrize(
    ("key", "value"), [("model_class", "EvilMACE"), ("dtype", "float16"), ("format", "mlipilot-handover/2")]
)
def test_unknown_classes_types_and_formats_are_refused(key: str, value: str) -> None:
    assert key in refusal(config_json() | {key: value})


def test_plain_mace_takes_no_scale() -> None:
    assert "takes neither" in refusal(config_json() | {"model_class": "MACE"})
