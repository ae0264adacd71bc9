"""The hand-over: JSON and safetensors, published whole, never NaN."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mlipilot.handover import weights_digest, write_handover


def linear(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Linear(3, 2).float()


def test_round_trip(tmp_path: Path) -> None:
    model = linear()
    digest = write_handover(tmp_path, "ScaleShiftMACE", {"r_max": 4.0}, model)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["config.json", "weights.safetensors"]
    config = json.loads((tmp_path / "model/config.json").read_text())
    assert config == {
        "format": "mlipilot-handover/1",
        "model_class": "ScaleShiftMACE",
        "dtype": "float64",
        "arguments": {"r_max": 4.0},
    }
    state = load_file(tmp_path / "model/weights.safetensors")
    assert weights_digest(state) == digest
    for name, tensor in model.state_dict().items():
        assert state[name].dtype == torch.float64
        assert torch.equal(state[name], tensor.double())


def test_the_digest_sees_names_shapes_and_values_but_not_the_order() -> None:
    a, b = torch.arange(4.0), torch.ones(2)
    digest = weights_digest({"a": a, "b": b})
    assert weights_digest({"b": b, "a": a}) == digest
    assert weights_digest({"a": a.reshape(2, 2), "b": b}) != digest
    assert weights_digest({"a": b, "b": a}) != digest
    assert weights_digest({"a": a + 1e-6, "b": b}) != digest
    assert weights_digest({"a": a.double(), "b": b}) != digest


def test_scalars_and_integers_have_a_digest() -> None:
    assert weights_digest({"n": torch.tensor(3)}) != weights_digest({"n": torch.tensor(4)})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_not_handed_over(tmp_path: Path, value: float) -> None:
    model = linear()
    with torch.no_grad():
        next(model.parameters())[0, 0] = value
    with pytest.raises(ValueError, match="NaN or infinite: weight"):
        write_handover(tmp_path, "ScaleShiftMACE", {}, model)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("argument", [float("nan"), object()])
def test_arguments_must_be_json(tmp_path: Path, argument: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        write_handover(tmp_path, "ScaleShiftMACE", {"r_max": argument}, linear())
    assert list(tmp_path.iterdir()) == []


def test_a_second_hand_over_replaces_the_first(tmp_path: Path) -> None:
    write_handover(tmp_path, "ScaleShiftMACE", {}, linear(1))
    (tmp_path / "model/stray.txt").write_text("left by someone")
    digest = write_handover(tmp_path, "ScaleShiftMACE", {}, linear(2))
    assert weights_digest(load_file(tmp_path / "model/weights.safetensors")) == digest
    assert not (tmp_path / "model/stray.txt").exists()
