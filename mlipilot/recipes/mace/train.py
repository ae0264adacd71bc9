"""Train a MACE potential as recipe.yaml says, tell progress as JSON lines, hand the model over.

python train.py --recipe recipe.yaml --data DIR --output DIR --seed N --max-steps N
DIR of the data holds train.xyz and valid.xyz. Exit status: 0 done, 2 bad recipe, 3 training failed.
"""

import argparse
import difflib
import json
import math
import sys
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from torch_ema import ExponentialMovingAverage

with redirect_stdout(sys.stderr):  # MACE prints while it is imported; stdout is for our JSON lines alone
    from mace import data, modules, tools
    from mace.tools.torch_geometric.dataloader import DataLoader

# isort: split
from e3nn import o3  # after mace: importing it first crashes on torch >= 2.6

from mlipilot.checkpoint import Batches, Checkpoint
from mlipilot.handover import write_handover

KEYS = data.KeySpecification(
    info_keys={"energy": "REF_energy", "stress": "REF_stress"}, arrays_keys={"forces": "REF_forces"}
)
# What validation calls each error, and its unit in that of the labels (eV, eV/Å, eV/Å³).
NAMES = {
    "energy": ("valid_energy_mae_mev_per_atom", 1000.0),
    "forces": ("valid_force_mae_mev_per_a", 1000.0),
    "stress": ("valid_stress_mae_gpa", 160.21766208),
}
# Every key of the recipe: its type, or the values to choose from.
WEIGHTS = {"energy": float, "forces": float, "stress": float}
SCHEMA = {
    "model": dict,  # MACE's own argument names; MACE checks them
    "normalisation": {
        "atomic_energy": ("isolated_atom", "least_squares", "zero"), "isolated_atom_ev": dict,
        "scale": ("one", "rms_forces"), "avg_num_neighbors": ("one", "measured"),
    },
    "loss": WEIGHTS | {
        "kind": ("mse", "huber"), "huber_delta": float, "energy_per_atom": bool,
        "config_type_weights": dict, "stage_two_from": float, "stage_two": WEIGHTS,
    },
    "optimiser": {
        "amsgrad": bool, "learning_rate": float, "weight_decay": float, "clip_gradient_norm": float,
    },
    "schedule": {"kind": ("constant", "one_cycle", "cosine"), "warmup_fraction": float},
    "ema": {"decay": float},
    "budget": {"steps": int, "batch_size": int},
    "device": {"name": ("cpu", "cuda"), "threads": int, "train_dtype": ("float32", "float64")},
    "reporting": {"validations": int, "log_every_steps": int},
}  # fmt: skip


class RecipeError(Exception):
    """The recipe asks for something that does not exist."""


class TrainingError(Exception):
    """Training cannot go on."""


def say(event: str, **values: Any) -> None:
    """One JSON line on stdout, the only channel to whoever started this."""
    print(json.dumps({"event": event, **values}), flush=True)


def read_recipe(path: Path) -> dict[str, Any]:
    """The recipe. Raises RecipeError naming the key, the value and what is wrong with it."""
    try:
        recipe = YAML(typ="safe").load(path.read_text())
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise RecipeError(f"{path.name} cannot be read: {' '.join(str(error).split())}") from None
    check(recipe, SCHEMA, "the recipe")
    return dict(recipe)


def check(found: Any, rule: Any, name: str) -> None:
    """Exactly the keys of the schema with values that fit, or RecipeError."""
    if isinstance(rule, tuple):
        good, wanted = found in rule, f"one of {', '.join(rule)}"
    elif rule is int:
        good, wanted = type(found) is int and found > 0, "a positive integer"
    elif rule is float:
        good, wanted = type(found) in (int, float) and 0 <= found < math.inf, "a non-negative number"
    else:
        kind = bool if rule is bool else dict
        good, wanted = isinstance(found, kind), "true or false" if rule is bool else "a mapping"
    if not good:
        raise RecipeError(f"{name} is {str(found)[:60]!r} but must be {wanted}")
    if isinstance(rule, dict):
        prefix = "" if rule is SCHEMA else f"{name}."
        for key in [*found, *rule]:
            if key not in rule:
                near = difflib.get_close_matches(str(key), rule, n=1)
                raise RecipeError(
                    f"unknown key {prefix}{key}" + (f"; did you mean {near[0]}?" if near else "")
                )
            if key not in found:
                raise RecipeError(f"missing key {prefix}{key}")
            check(found[key], rule[key], prefix + key)


def load(
    path: Path, recipe: dict[str, Any], numbers: list[int] | None = None
) -> tuple[list[ase.Atoms], list[data.AtomicData], list[int]]:
    """Labelled frames, their graphs (neighbour lists are made once), and the elements of the model.

    These are the elements in the frames or, for frames that the model is not made from, its `numbers`.
    Raises RecipeError for an element that is not among them.
    """
    frames, r_max = ase.io.read(path, index=":"), float(recipe["model"]["r_max"])
    there = sorted({int(z) for atoms in frames for z in atoms.numbers})
    table = tools.AtomicNumberTable(numbers or there)
    if strange := [ase.data.chemical_symbols[z] for z in there if z not in table.zs]:
        raise RecipeError(f"{path.name} has {', '.join(strange)}, of which there is nothing in train.xyz")
    configs = data.config_from_atoms_list(frames, KEYS, recipe["loss"]["config_type_weights"])
    return frames, [data.AtomicData.from_config(c, z_table=table, cutoff=r_max) for c in configs], table.zs


def atomic_energies(frames: list[ase.Atoms], numbers: list[int], norm: dict[str, Any]) -> list[float]:
    """The energy zero of each element in eV. Raises RecipeError."""
    if norm["atomic_energy"] == "zero":
        return [0.0] * len(numbers)
    if norm["atomic_energy"] == "isolated_atom":
        free = norm["isolated_atom_ev"]
        symbols = [ase.data.chemical_symbols[z] for z in numbers]
        if lacking := [symbol for symbol in symbols if symbol not in free]:
            raise RecipeError(f"normalisation.isolated_atom_ev has no energy of {', '.join(lacking)}")
        return [float(free[symbol]) for symbol in symbols]
    counts = np.array([[np.sum(atoms.numbers == z) for z in numbers] for atoms in frames])
    energies = np.array([atoms.info["REF_energy"] for atoms in frames])
    return [float(energy) for energy in np.linalg.lstsq(counts, energies, rcond=None)[0]]


def model_arguments(recipe: dict[str, Any], frames: list[ase.Atoms], graphs: Any, numbers: list[int]) -> Any:
    """Constructor arguments of ScaleShiftMACE as plain JSON."""
    norm = recipe["normalisation"]
    neighbours = sum(graph.edge_index.shape[1] for graph in graphs) / sum(map(len, frames))
    rms_forces = np.sqrt(np.mean(np.concatenate([atoms.arrays["REF_forces"] for atoms in frames]) ** 2))
    return recipe["model"] | {
        "r_max": float(recipe["model"]["r_max"]),
        "atomic_numbers": numbers,
        "atomic_energies": atomic_energies(frames, numbers, norm),
        "avg_num_neighbors": neighbours if norm["avg_num_neighbors"] == "measured" else 1.0,
        "atomic_inter_scale": float(rms_forces) if norm["scale"] == "rms_forces" else 1.0,
        "atomic_inter_shift": 0.0,
    }


def build_model(arguments: dict[str, Any]) -> torch.nn.Module:
    """ScaleShiftMACE in torch's default dtype. Raises RecipeError for arguments that MACE refuses."""
    made: dict[str, Any] = {"num_elements": len(arguments["atomic_numbers"])}
    try:
        for name in ("interaction_cls", "interaction_cls_first"):
            made[name] = modules.interaction_classes[arguments[name]]
        for name in ("hidden_irreps", "MLP_irreps"):
            made[name] = o3.Irreps(arguments[name])
        made["gate"] = modules.gate_dict[arguments["gate"]]
        made["atomic_energies"] = np.array(arguments["atomic_energies"])
        model: torch.nn.Module = modules.ScaleShiftMACE(**arguments | made)
    # MACE has no error of its own for impossible arguments: any of these, or an assertion
    except (KeyError, TypeError, ValueError, IndexError, AssertionError, RuntimeError) as error:
        raise RecipeError(f"MACE refuses the model section: {type(error).__name__}: {error}") from None
    return model


def predict(
    model: torch.nn.Module, batch: Any, training: bool = False, derivatives: bool = True
) -> dict[str, torch.Tensor]:
    """Energy of a batch and, with `derivatives`, forces and stress. The copy: MACE writes into its input."""
    out: dict[str, torch.Tensor] = model(
        dict(batch.to_dict()), training=training, compute_force=derivatives, compute_stress=derivatives
    )
    return out


def loss_value(batch: Any, predicted: Any, loss: dict[str, Any], weights: dict[str, float]) -> torch.Tensor:
    """Weighted sum of the mean energy, force and stress losses."""
    atoms = batch.ptr[1:] - batch.ptr[:-1]
    total = torch.zeros((), device=batch.ptr.device)
    for name, weight in ((name, weights[name]) for name in WEIGHTS if weights[name]):
        per = atoms if name == "energy" and loss["energy_per_atom"] else 1.0
        error = (predicted[name] - batch[name]) / per
        if loss["kind"] == "huber":
            error = F.huber_loss(error, torch.zeros_like(error), delta=loss["huber_delta"], reduction="none")
        else:
            error = error**2
        frame_weight = batch.weight[batch.batch] if name == "forces" else batch.weight
        total = total + weight * (frame_weight * error.reshape(len(error), -1).mean(1)).mean()
    return total


def learning_rate_factor(step: int, steps: int, schedule: dict[str, Any]) -> float:
    """The learning rate at `step` as a fraction of the highest."""
    done = step / steps
    if schedule["kind"] == "constant":
        return 1.0
    warmup = schedule["warmup_fraction"] if schedule["kind"] == "one_cycle" else 0.0
    if done < warmup:
        return 0.52 - 0.48 * math.cos(math.pi * done / warmup)
    return max(1e-4, 0.5 + 0.5 * math.cos(math.pi * (done - warmup) / (1 - warmup)))


def validate(model: torch.nn.Module, batches: list[Any]) -> dict[str, float]:
    """Mean absolute errors on the validation set; of the stress where it is labelled."""
    errors: dict[str, list[torch.Tensor]] = {"energy": [], "forces": []}
    if any(batch.stress_weight.any() for batch in batches):
        errors["stress"] = []
    for batch in batches:
        predicted = predict(model, batch)
        for name, found in errors.items():
            per = (batch.ptr[1:] - batch.ptr[:-1]) if name == "energy" else 1.0
            found.append(((predicted[name] - batch[name]) / per).detach().abs().flatten())
    return {NAMES[name][0]: NAMES[name][1] * torch.cat(found).mean().item() for name, found in errors.items()}


def train(
    model: torch.nn.Module, recipe: dict[str, Any], graphs: Any, valid_graphs: Any, steps: int, identity: Any
) -> None:
    """Optimise `model` in place for `steps` optimiser steps; its weights end as those to hand over.

    A training of this `identity` that was cut short goes on from its checkpoint. Raises TrainingError.
    """
    settings, device, decay = recipe["optimiser"], recipe["device"]["name"], recipe["ema"]["decay"]
    batch_size = min(recipe["budget"]["batch_size"], len(graphs))
    batches = Batches(DataLoader(graphs, batch_size, shuffle=True, drop_last=True))
    valid_batches = [batch.to(device) for batch in DataLoader(valid_graphs, 12)]
    adam = torch.optim.AdamW(
        model.parameters(), amsgrad=settings["amsgrad"], weight_decay=settings["weight_decay"]
    )
    ema = ExponentialMovingAverage(model.parameters(), decay) if decay else None
    every = max(1, steps // recipe["reporting"]["validations"])
    # All that has a state: a training that was cut short takes it up again.
    parts: dict[str, Any] = {"model": model, "optimiser": adam, "batches": batches}
    parts |= {"ema": ema} if ema else {}
    checkpoint = Checkpoint(identity, parts)
    for row in checkpoint.notes:  # the log that told of them ended with its job
        say("progress", **row)
    for step in checkpoint.steps(steps):
        batch = next(batches).to(device)
        rate = settings["learning_rate"] * learning_rate_factor(step - 1, steps, recipe["schedule"])
        for group in adam.param_groups:
            group["lr"] = rate
        stage_two = step > recipe["loss"]["stage_two_from"] * steps
        weights = recipe["loss"]["stage_two"] if stage_two else recipe["loss"]
        derivatives = bool(weights["forces"] or weights["stress"])  # they cost more than the energy
        predicted = predict(model, batch, training=True, derivatives=derivatives)
        loss = loss_value(batch, predicted, recipe["loss"], weights)
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss is {loss.item()} at step {step} of {steps}: training diverged")
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if settings["clip_gradient_norm"]:
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings["clip_gradient_norm"])
        adam.step()
        if ema:
            ema.update()
        measured = {}
        if step % every == 0 or step == steps:
            if ema:
                ema.store()
                ema.copy_to()
            measured = validate(model, valid_batches)
            if ema and step < steps:
                ema.restore()
        if measured or step % recipe["reporting"]["log_every_steps"] == 0:
            row = {"step": step, "steps_total": steps, "train_loss": loss.item(), "learning_rate": rate}
            checkpoint.notes.append(row | measured | {"elapsed_s": round(checkpoint.elapsed_s, 3)})
            say("progress", **checkpoint.notes[-1])


def run(options: argparse.Namespace) -> None:
    """Read, train, hand over."""
    recipe = read_recipe(options.recipe)
    steps = min(recipe["budget"]["steps"], options.max_steps)
    torch.set_num_threads(recipe["device"]["threads"])
    torch.manual_seed(options.seed)
    torch.set_default_dtype(getattr(torch, recipe["device"]["train_dtype"]))
    frames, graphs, numbers = load(options.data / "train.xyz", recipe)
    _, valid_graphs, _ = load(options.data / "valid.xyz", recipe, numbers)
    arguments = model_arguments(recipe, frames, graphs, numbers)
    model = build_model(arguments).to(recipe["device"]["name"])
    size = sum(p.numel() for p in model.parameters())
    say("start", seed=options.seed, steps_total=steps, train_frames=len(graphs), parameters=size)
    train(model, recipe, graphs, valid_graphs, steps, [recipe, arguments, options.seed, steps])
    # Constants of the model (Clebsch–Gordan coefficients, say) are made anew in float64; only what was
    # learnt comes from training.
    torch.set_default_dtype(torch.float64)
    final = build_model(arguments)
    with torch.no_grad():
        for target, learnt in zip(final.parameters(), model.parameters(), strict=True):
            target.copy_(learnt)
    say("done", weights_digest=write_handover(options.output, "ScaleShiftMACE", arguments, final))


def main() -> int:
    """Parse the command line; turn every expected failure into one event and an exit status."""
    warnings.filterwarnings("ignore")  # of the libraries: each is known and harmless here
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("recipe", "data", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("seed", "max-steps"):
        parser.add_argument(f"--{name}", type=int, required=True)
    try:
        run(parser.parse_args())
    except (RecipeError, TrainingError, ValueError) as error:  # ValueError: the hand-over refuses NaN weights
        say("failed", reason=str(error))
        return 2 if isinstance(error, RecipeError) else 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
