"""MACE: a model rebuilt from its hand-over, or a refusal with a reason; what it is timed against; its export.

Only two files are read, `config.json` and `weights.safetensors`; nothing is unpickled and no handed-over
code is run. What the constructor computes (Clebsch-Gordan tensors, cutoffs, scales) must be in the weights
as the configuration makes it, so that nothing but trained parameters can differ from a true MACE.
"""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from mlipilot.evaluation.families import Model
from mlipilot.evaluation.families.mace_config import HandoverConfig, ModelArguments, parse_config
from mlipilot.evaluation.families.mace_predictor import RebuiltModel
from mlipilot.evaluation.handover_files import HandoverError, read_files
from mlipilot.handover import CONFIG, WEIGHTS, weights_digest


def rebuild(model_dir: Path, device: str = "cpu") -> RebuiltModel:
    """The model handed over in `model_dir`, in float64 and ready to evaluate.

    Raises HandoverError when anything but a whole, finite, fitting hand-over is found.
    """
    files = read_files(model_dir)
    config = parse_config(files[CONFIG])
    weights = _read_weights(files[WEIGHTS], config)
    module = build(config)
    _check_fit(module, weights)
    module.load_state_dict(weights)  # copied into the float64 that the module was built in
    return RebuiltModel(module, config, weights_digest(weights), device)


def build(config: HandoverConfig, seed: int = 0) -> torch.nn.Module:
    """A MACE module as `config` describes it, in float64, with random weights from `seed`.

    Raises HandoverError when MACE itself cannot build it.
    """
    modules = _mace_modules()
    from e3nn import o3  # after mace, which lets e3nn read its own tables under torch >= 2.6

    arguments = config.arguments.model_dump(exclude_none=True)
    arguments |= {
        "num_elements": len(arguments["atomic_numbers"]),
        "hidden_irreps": o3.Irreps(arguments["hidden_irreps"]),
        "MLP_irreps": o3.Irreps(arguments["MLP_irreps"]),
        "gate": modules.gate_dict[arguments["gate"]],
        "interaction_cls": modules.interaction_classes[arguments["interaction_cls"]],
        "interaction_cls_first": modules.interaction_classes[arguments["interaction_cls_first"]],
    }
    factory = {"MACE": modules.MACE, "ScaleShiftMACE": modules.ScaleShiftMACE}[config.model_class]
    with _float64_default(), _without_torchscript(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            module: torch.nn.Module = factory(**arguments)
        # MACE and e3nn raise whatever comes for combinations that they do not support
        except Exception as error:  # noqa: BLE001
            raise HandoverError(f"MACE cannot be built from config.json: {error}") from None
    return module


def pinned_reference(*atomic_numbers: int, device: str = "cpu") -> RebuiltModel:
    """The reference: two interactions of 16 scalar channels, l ≤ 2, correlation 2, cutoff 4 Å."""
    block: Final = "RealAgnosticResidualInteractionBlock"
    config = HandoverConfig(
        format="mlipilot-handover/1",
        model_class="ScaleShiftMACE",
        dtype="float64",
        arguments=ModelArguments(
            r_max=4.0,
            num_bessel=8,
            num_polynomial_cutoff=5,
            max_ell=2,
            interaction_cls=block,
            interaction_cls_first=block,
            num_interactions=2,
            hidden_irreps="16x0e",
            MLP_irreps="16x0e",
            atomic_energies=[0.0] * len(atomic_numbers),
            avg_num_neighbors=12.0,
            atomic_numbers=list(atomic_numbers),
            correlation=2,
            atomic_inter_scale=1.0,
            atomic_inter_shift=0.0,
        ),
    )
    return RebuiltModel(build(config), config, digest="", device=device)


def serialised(model: Model) -> bytes:
    """The module as `torch.save` writes it, float64 on the CPU.

    Into memory first: torch's archives depend on the name of the file that they are written to.
    """
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit's word on what it thinks of e3nn's scripts
        torch.save(model.module.cpu(), stream)
    return stream.getvalue()


def _mace_modules() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # e3nn and torch warn about each other's versions
        from mace import modules
    # mace turns unsafe loading on for the whole process, child processes included; nothing here needs it
    os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
    return modules


@contextmanager
def _float64_default() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _without_torchscript() -> Iterator[None]:
    """Let e3nn leave its generated code to Python: a second less to build, and only 6 % slower to run."""
    import e3nn

    before = e3nn.get_optimization_defaults()
    e3nn.set_optimization_defaults(jit_script_fx=False)
    try:
        yield
    finally:
        e3nn.set_optimization_defaults(**before)


def _read_weights(data: bytes, config: HandoverConfig) -> dict[str, torch.Tensor]:
    try:
        weights: dict[str, torch.Tensor] = load_safetensors(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise HandoverError(f"{WEIGHTS} is not safetensors: {error}") from None
    allowed = {getattr(torch, config.dtype), torch.int64, torch.int32, torch.bool}
    for name, tensor in weights.items():
        if tensor.dtype not in allowed:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise HandoverError(f"{WEIGHTS}: {name} is {kind}, but config.json says {config.dtype}")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise HandoverError(f"{WEIGHTS}: {name} has {bad} NaN or infinite values: the training diverged")
    return weights


def _check_fit(module: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Names, shapes and kinds as the module has them, and every constant as the constructor made it."""
    expected = module.state_dict()
    trained = {name for name, _ in module.named_parameters()}
    absent, strange = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    if absent or strange:
        what = f"lacks {absent[0]}" if absent else f"has {strange[0]}, which the model does not have"
        raise HandoverError(f"{WEIGHTS} {what}: config.json and the weights are of different models")
    for name, tensor in expected.items():
        given = weights[name]
        if given.shape != tensor.shape:
            raise HandoverError(
                f"{WEIGHTS}: {name} has shape {list(given.shape)}, config.json makes it {list(tensor.shape)}"
            )
        if given.is_floating_point() != tensor.is_floating_point():
            raise HandoverError(f"{WEIGHTS}: {name} has another kind of numbers than config.json makes it")
        if name not in trained and not _same(given, tensor):
            raise HandoverError(
                f"{WEIGHTS}: the constant {name} differs from what config.json makes it; "
                "give its value in the arguments instead of changing the built model"
            )


def _same(given: torch.Tensor, built: torch.Tensor) -> bool:
    """Equal but for rounding to single precision."""
    scale = float(built.abs().max()) if built.numel() and built.is_floating_point() else 1.0
    tolerance = 1e-6 * scale if math.isfinite(scale) else 0.0
    return torch.allclose(given.to(torch.float64), built.to(torch.float64), rtol=1e-6, atol=tolerance)
