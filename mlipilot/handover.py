"""The hand-over: the one module of MLIPilot that a recipe imports.

A recipe gives its trained MACE model as constructor arguments in JSON and weights in safetensors; trusted
code rebuilds the model from those two files. No pickle and no code crosses this line.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a recipe has torch loaded; who only wants the files' names can do without
    import torch

FORMAT = "mlipilot-handover/1"
CONFIG, WEIGHTS = "config.json", "weights.safetensors"


def weights_digest(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over name, dtype, shape and bytes of each tensor, sorted by name; no file layout enters."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write_handover(out_dir: Path, model_class: str, arguments: dict[str, Any], model: torch.nn.Module) -> str:
    """Publish `out_dir`/model, replacing an earlier one, and return the digest of the weights.

    `arguments` are the constructor arguments of `mace.modules.<model_class>` as plain JSON; the floating
    point weights are handed over in float64. Raises ValueError for weights or arguments with NaN or infinity,
    TypeError for arguments that are no JSON, OSError (a full disk) with nothing half-written left.
    """
    import torch
    from safetensors.torch import save

    state = _float64_state(model)
    bad = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise ValueError(f"weights are NaN or infinite: {', '.join(bad[:3])}")
    config = {"format": FORMAT, "model_class": model_class, "dtype": "float64", "arguments": arguments}
    text = json.dumps(config, indent=2, sort_keys=True, allow_nan=False) + "\n"
    _publish(out_dir / "model", {CONFIG: text.encode(), WEIGHTS: save(state)})
    return weights_digest(state)


def _float64_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    # clones, because safetensors refuses tensors that share memory
    return {
        name: (tensor.double() if tensor.is_floating_point() else tensor).detach().cpu().clone().contiguous()
        for name, tensor in model.state_dict().items()
    }


def _publish(target: Path, files: Mapping[str, bytes]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    temporary.mkdir()  # with the rights that this user and this folder give: others may read it, too
    try:
        for name, data in files.items():
            with (temporary / name).open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
