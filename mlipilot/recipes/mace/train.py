"""Train a MACE potential as recipe.yaml says, tell progress as JSON lines, hand the model over.

python train.py --recipe recipe.yaml --data DIR --output DIR --seed N --max-steps N
DIR of the data holds train.xyz and valid.xyz. Exit status: 0 done, 2 bad recipe, 3 training failed.
"""

import argparse
import difflib
import json
import math
import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")  # imports below warn about optional accelerators

import ase.io  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402, N812
from mace import data, modules, tools  # noqa: E402  (before e3nn: its import needs mace's set-up)
from mace.tools.torch_geometric.dataloader import DataLoader  # noqa: E402
from e3nn import o3  # noqa: E402, I001
from ruamel.yaml import YAML, YAMLError  # noqa: E402
from torch_ema import ExponentialMovingAverage  # noqa: E402

from mlipilot.handover import write_handover  # noqa: E402

KEYS = data.KeySpecification(
    info_keys={"energy": "REF_energy", "stress": "REF_stress"}, arrays_keys={"forces": "REF_forces"}
)
EV_PER_A3_IN_GPA = 160.21766208
# Every key of the recipe: its type, or the values to choose from.
SCHEMA = {
    "model": {
        "hidden_irreps": str, "readout_irreps": str, "num_interactions": int, "max_ell": int,
        "correlation": int, "r_max_a": float, "num_bessel": int, "num_polynomial_cutoff": int,
        "radial_mlp": list,
    },
    "normalisation": {
        "atomic_energy": ("isolated_atom", "least_squares", "zero"), "isolated_atom_ev": dict,
        "scale": ("one", "rms_forces"), "avg_num_neighbors": ("one", "measured"),
    },
    "loss": {
        "kind": ("mse", "huber"), "huber_delta": float, "energy_per_atom": bool, "energy": float,
        "forces": float, "stress": float, "stage_two_from": float, "stage_two": dict,
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


def say(event, **values):
    """One JSON line on stdout, the only channel to whoever started this."""
    print(json.dumps({"event": event, **values}), flush=True)


def read_recipe(path):
    """The recipe as nested dictionaries. Raises RecipeError naming the key and the mend."""
    try:
        recipe = YAML(typ="safe").load(path.read_text())
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise RecipeError(f"{path.name} cannot be read: {' '.join(str(error).split())}") from None
    check_keys(recipe, SCHEMA, "")
    for section, keys in SCHEMA.items():
        check_keys(recipe[section], keys, f"{section}.")
        for key, rule in keys.items():
            check_value(f"{section}.{key}", recipe[section][key], rule)
    return recipe


def check_keys(found, wanted, prefix):
    """Exactly the wanted keys, or RecipeError with the nearest one."""
    if not isinstance(found, dict):
        raise RecipeError(f"{prefix or 'the recipe'} must be a mapping")
    for key in found:
        if key not in wanted:
            near = difflib.get_close_matches(str(key), wanted, n=1)
            raise RecipeError(f"unknown key {prefix}{key}" + (f"; did you mean {prefix}{near[0]}?" if near else ""))
    if missing := [key for key in wanted if key not in found]:
        raise RecipeError(f"missing key {prefix}{missing[0]}")


def check_value(name, value, rule):
    """A value of the right type and a finite, non-negative number, or RecipeError."""
    if isinstance(rule, tuple):
        if value not in rule:
            raise RecipeError(f"{name} is {value!r}: choose one of {', '.join(rule)}")
    elif rule in (int, float):
        numeric = isinstance(value, int if rule is int else (int, float)) and not isinstance(value, bool)
        if not (numeric and math.isfinite(value) and value >= 0):
            raise RecipeError(f"{name} is {value!r}: a non-negative {rule.__name__} is expected")
    elif not isinstance(value, rule):
        raise RecipeError(f"{name} is {value!r}: a {rule.__name__} is expected")


def load(path, r_max):
    """Labelled frames as graphs; the neighbour lists are made once."""
    graphs = []
    frames = ase.io.read(path, index=":")
    table = tools.AtomicNumberTable(sorted({int(z) for atoms in frames for z in atoms.numbers}))
    for atoms in frames:
        config = data.config_from_atoms(atoms, key_specification=KEYS)
        graphs.append(data.AtomicData.from_config(config, z_table=table, cutoff=r_max))
    return frames, graphs, table.zs


def atomic_energies(frames, numbers, normalisation):
    """The energy zero of each element in eV."""
    if normalisation["atomic_energy"] == "zero":
        return [0.0] * len(numbers)
    if normalisation["atomic_energy"] == "isolated_atom":
        given = normalisation["isolated_atom_ev"]
        return [float(given[ase.data.chemical_symbols[z]]) for z in numbers]
    counts = np.array([[np.sum(atoms.numbers == z) for z in numbers] for atoms in frames])
    energies = np.array([atoms.info["REF_energy"] for atoms in frames])
    return np.linalg.lstsq(counts, energies, rcond=None)[0].tolist()


def model_arguments(recipe, frames, graphs, numbers):
    """Constructor arguments of ScaleShiftMACE as plain JSON."""
    model, norm = recipe["model"], recipe["normalisation"]
    edges = sum(graph.edge_index.shape[1] for graph in graphs) / sum(len(atoms) for atoms in frames)
    forces = np.concatenate([atoms.arrays["REF_forces"] for atoms in frames])
    return {
        "r_max": float(model["r_max_a"]),
        "num_bessel": model["num_bessel"],
        "num_polynomial_cutoff": model["num_polynomial_cutoff"],
        "max_ell": model["max_ell"],
        "interaction_cls": "RealAgnosticResidualInteractionBlock",
        "interaction_cls_first": "RealAgnosticInteractionBlock",
        "num_interactions": model["num_interactions"],
        "hidden_irreps": model["hidden_irreps"],
        "MLP_irreps": model["readout_irreps"],
        "radial_MLP": model["radial_mlp"],
        "radial_type": "bessel",
        "gate": "silu",
        "correlation": model["correlation"],
        "atomic_numbers": numbers,
        "atomic_energies": atomic_energies(frames, numbers, norm),
        "avg_num_neighbors": edges if norm["avg_num_neighbors"] == "measured" else 1.0,
        "atomic_inter_scale": float(np.sqrt(np.mean(forces**2))) if norm["scale"] == "rms_forces" else 1.0,
        "atomic_inter_shift": 0.0,
    }


def build_model(arguments):
    """ScaleShiftMACE in torch's default dtype."""
    return modules.ScaleShiftMACE(
        **arguments
        | {
            "num_elements": len(arguments["atomic_numbers"]),
            "hidden_irreps": o3.Irreps(arguments["hidden_irreps"]),
            "MLP_irreps": o3.Irreps(arguments["MLP_irreps"]),
            "gate": F.silu,
            "atomic_energies": np.array(arguments["atomic_energies"]),
            "interaction_cls": modules.interaction_classes[arguments["interaction_cls"]],
            "interaction_cls_first": modules.interaction_classes[arguments["interaction_cls_first"]],
        }
    )


def predict(model, batch, training=False):
    """Energy, forces and stress of a batch. MACE writes into its input, hence the copy."""
    return model(dict(batch.to_dict()), training=training, compute_force=True, compute_stress=True)


def loss_value(batch, predicted, loss, weights):
    """Weighted sum of the mean energy, force and stress losses."""
    atoms = (batch.ptr[1:] - batch.ptr[:-1]) if loss["energy_per_atom"] else 1.0
    pairs = {
        "energy": (predicted["energy"] / atoms, batch.energy / atoms),
        "forces": (predicted["forces"], batch.forces),
        "stress": (predicted["stress"], batch.stress),
    }
    if loss["kind"] == "huber":
        terms = {name: F.huber_loss(*pair, delta=loss["huber_delta"]) for name, pair in pairs.items()}
    else:
        terms = {name: F.mse_loss(*pair) for name, pair in pairs.items()}
    return sum(weights[name] * term for name, term in terms.items() if weights[name])


def learning_rate_factor(step, steps, schedule):
    """The learning rate at `step` as a fraction of the highest."""
    done = step / steps
    if schedule["kind"] == "constant":
        return 1.0
    warmup = schedule["warmup_fraction"] if schedule["kind"] == "one_cycle" else 0.0
    if done < warmup:
        return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * done / warmup))
    return 1e-4 + (1 - 1e-4) * 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def validate(model, loader):
    """Mean absolute errors on the validation set."""
    energy, forces, stress = [], [], []
    for batch in loader:
        predicted = predict(model, batch)
        atoms = batch.ptr[1:] - batch.ptr[:-1]
        energy.append(((predicted["energy"] - batch.energy) / atoms).detach().abs())
        forces.append((predicted["forces"] - batch.forces).detach().abs().flatten())
        stress.append((predicted["stress"] - batch.stress).detach().abs().flatten())
    return {
        "valid_energy_mae_mev_per_atom": 1000 * torch.cat(energy).mean().item(),
        "valid_force_mae_mev_per_a": 1000 * torch.cat(forces).mean().item(),
        "valid_stress_mae_gpa": EV_PER_A3_IN_GPA * torch.cat(stress).mean().item(),
    }


def train(model, recipe, graphs, valid_graphs, steps, seed):
    """Optimise `model` in place for `steps` optimiser steps; its weights end as those to hand over."""
    loss, optimiser, device = recipe["loss"], recipe["optimiser"], recipe["device"]["name"]
    order = torch.Generator().manual_seed(seed)
    loader = DataLoader(graphs, recipe["budget"]["batch_size"], shuffle=True, drop_last=True, generator=order)
    valid_loader = [b.to(device) for b in DataLoader(valid_graphs, 12)]
    adam = torch.optim.AdamW(
        model.parameters(),
        lr=optimiser["learning_rate"],
        amsgrad=optimiser["amsgrad"],
        weight_decay=optimiser["weight_decay"],
    )
    ema = ExponentialMovingAverage(model.parameters(), recipe["ema"]["decay"]) if recipe["ema"]["decay"] else None
    every = max(1, steps // max(1, recipe["reporting"]["validations"]))
    batches, started = iter(loader), time.monotonic()
    for step in range(1, steps + 1):
        batch = next(batches, None)
        if batch is None:
            batches = iter(loader)
            batch = next(batches)
        batch = batch.to(device)
        for group in adam.param_groups:
            group["lr"] = optimiser["learning_rate"] * learning_rate_factor(step - 1, steps, recipe["schedule"])
        weights = loss["stage_two"] if step > loss["stage_two_from"] * steps else loss
        value = loss_value(batch, predict(model, batch, training=True), loss, weights)
        if not torch.isfinite(value):
            raise TrainingError(f"the loss is {value.item()} at step {step} of {steps}: training diverged")
        adam.zero_grad()
        value.backward()
        if optimiser["clip_gradient_norm"]:
            torch.nn.utils.clip_grad_norm_(model.parameters(), optimiser["clip_gradient_norm"])
        adam.step()
        if ema:
            ema.update()
        if step % every == 0 or step == steps or step % max(1, recipe["reporting"]["log_every_steps"]) == 0:
            row = {"step": step, "steps_total": steps, "train_loss": value.item()}
            if step % every == 0 or step == steps:
                if ema:
                    ema.store()
                    ema.copy_to()
                row |= validate(model, valid_loader)
                if ema and step < steps:
                    ema.restore()
            rate = adam.param_groups[0]["lr"]
            say("progress", **row, learning_rate=rate, elapsed_s=round(time.monotonic() - started, 3))


def run(options):
    """Read, train, hand over."""
    recipe = read_recipe(options.recipe)
    steps = min(recipe["budget"]["steps"], options.max_steps)
    torch.set_num_threads(max(1, recipe["device"]["threads"]))
    torch.manual_seed(options.seed)
    np.random.seed(options.seed)  # noqa: NPY002
    torch.set_default_dtype(getattr(torch, recipe["device"]["train_dtype"]))
    frames, graphs, numbers = load(options.data / "train.xyz", recipe["model"]["r_max_a"])
    _, valid_graphs, _ = load(options.data / "valid.xyz", recipe["model"]["r_max_a"])
    arguments = model_arguments(recipe, frames, graphs, numbers)
    model = build_model(arguments).to(recipe["device"]["name"])
    parameters = sum(p.numel() for p in model.parameters())
    say("start", seed=options.seed, steps_total=steps, train_frames=len(graphs), parameters=parameters)
    train(model, recipe, graphs, valid_graphs, steps, options.seed)
    # Constants of the model (Clebsch–Gordan coefficients, say) are made anew in float64; only what was
    # learnt comes from training.
    torch.set_default_dtype(torch.float64)
    final = build_model(arguments)
    with torch.no_grad():
        for target, learnt in zip(final.parameters(), model.parameters(), strict=True):
            target.copy_(learnt)
    say("done", weights_digest=write_handover(options.output, "ScaleShiftMACE", arguments, final))


def main():
    """Parse the command line; turn every expected failure into one event and an exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("recipe", "data", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("seed", "max-steps"):
        parser.add_argument(f"--{name}", type=int, required=True)
    try:
        run(parser.parse_args())
    except RecipeError as error:
        say("failed", reason=str(error))
        return 2
    except (TrainingError, ValueError) as error:  # ValueError: the hand-over refuses NaN weights
        say("failed", reason=str(error))
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
