"""The incumbent as a file for users: a MACE `.model` that MACE's own calculator loads, and its model card.

The file is a pickle, as MACE's format is; it is written from the module that trusted code rebuilt, so that
nothing in it comes from a recipe.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlipilot.audit.events.running import Verdict
from mlipilot.audit.files import sha256_bytes, sha256_file, write_atomic
from mlipilot.audit.ledger import Record, of_kind
from mlipilot.campaign.spec import dump_yaml
from mlipilot.evaluation.declaration import CELLS
from mlipilot.evaluation.handover_files import HandoverError
from mlipilot.report.view import IterationView, LineageView, SeedView

if TYPE_CHECKING:
    from mlipilot.evaluation.families import Model

CARD = "model-card.yaml"


@dataclass(frozen=True)
class Export:
    """What was exported, or why nothing was."""

    model: Path | None = None
    card: Path | None = None
    seed: int | None = None
    sha256: str = ""
    size_bytes: int = 0
    missing: str = ""
    members: Sequence[Path] = ()
    """The models of its other fresh seeds."""


def export_incumbent(view: LineageView, directory: Path) -> Export:
    """Write the incumbent's first seed as `<campaign>-seed<N>.model`, and its card, into `directory`.

    Where fresh seeds have confirmed it, the models of the others go with it: MACE's own calculator takes them
    all as a committee, and gives mean and spread.
    """
    incumbent = view.incumbent
    if incumbent is None:
        return Export(missing="there is no incumbent yet")
    first, *others = incumbent.seeds
    built = _rebuilt(first)
    if isinstance(built, str):
        return Export(missing=built)

    from mlipilot.evaluation.families.mace_rebuilding import serialised

    directory.mkdir(exist_ok=True)
    data = serialised(built)
    target = directory / model_name(view.spec.name, first.seed)
    write_atomic(target, data)
    members = []
    for seed in others if view.fresh else ():
        if not isinstance(model := _rebuilt(seed), str):
            member = directory / model_name(view.spec.name, seed.seed)
            write_atomic(member, serialised(model))
            members.append(member)
    digest = sha256_bytes(data)
    card = directory / CARD
    content = model_card(view, incumbent, first, built, target.name, digest)
    write_atomic(card, dump_yaml(content | _committee([target, *members])))
    return Export(target, card, first.seed, digest, len(data), members=members)


def _rebuilt(seed: SeedView) -> Model | str:
    """The model that a seed handed over and that was judged, or why there is none to export."""
    if seed.handover is None:
        return f"seed {seed.seed} of the incumbent has handed no model over"
    if seed.weights_digest is None:
        return f"seed {seed.seed} of the incumbent has not been evaluated"

    from mlipilot.evaluation.families.mace_rebuilding import rebuild  # torch: seconds

    try:
        with redirect_stdout(io.StringIO()):  # MACE prints which accelerators it has not
            model = rebuild(seed.handover)
    except HandoverError as error:
        return f"the hand-over cannot be rebuilt: {error}"
    if model.weights_digest != seed.weights_digest:
        return "the hand-over's weights are not those that were evaluated"
    return model


def _committee(files: list[Path]) -> dict[str, Any]:
    """What the card says of several seeds' models; nothing of one."""
    if len(files) < 2:
        return {}
    names = [file.name for file in files]
    return {
        "committee": {
            "files": [{"name": file.name, "sha256": sha256_file(file)} for file in files],
            "loading": f"mace.calculators.MACECalculator(model_paths={names!r}, default_dtype='float64')",
            "spread": "calculator.results['energy_var'] (eV²), ['forces_comm'] (eV/Å, one for each member)",
        }
    }


def model_name(campaign: str, seed: int | Literal["*"]) -> str:
    """What an exported model is called; with `*` a pattern for all of a campaign's."""
    return f"{campaign}-seed{seed}.model"


def model_card(
    view: LineageView, incumbent: IterationView, seed: SeedView, model: Model, file: str, sha256: str
) -> dict[str, Any]:
    """What the file is, in the keys that Matbench Discovery's model cards have, and our own below them."""
    from ase.data import chemical_symbols

    arguments = model.config.arguments
    started = view.state.started
    return {
        "model_name": f"{view.spec.name} (MACE), seed {seed.seed}",
        "model_key": f"{view.spec.name}-seed{seed.seed}",
        "model_version": f"iteration-{incumbent.number}",
        "model_type": "MLIP",
        "architecture": model.config.model_class,
        "date_added": _date(view.records, incumbent.number),
        "model_params": model.parameter_count,
        "n_estimators": 1,
        # energies; forces, and stresses where there are cells, as their gradients
        "targets": "EFS_G" if view.card.settings.system in CELLS else "EF_G",
        "elements": [chemical_symbols[number] for number in arguments.atomic_numbers],
        "units": {"length": "Å", "energy": "eV", "forces": "eV/Å", "stress": "eV/Å³"},
        "cutoff_a": arguments.r_max,
        "dtype": "float64",
        "hyperparams": arguments.model_dump(exclude_none=True),
        "training_set": {
            "name": view.spec.dataset.name,
            "manifest_sha256": started and started.data_manifest_sha256,
        },
        "training": {
            "seed": seed.seed,
            "optimizer_steps_limit": view.spec.budget.optimizer_steps,
            "recipe_digest": incumbent.recipe_digest,
        },
        "requirements": dict(seed.versions) or view.versions,
        "file": {"name": file, "sha256": sha256, "weights_digest": seed.weights_digest},
        "loading": f"mace.calculators.MACECalculator(model_paths={file!r}, default_dtype='float64')",
        "scorecard": {
            "name": view.card.name,
            "sha256": started and started.scorecard_sha256,
            "profile": view.spec.profile,
            "gates_passed": sum(gate.passed for gate in seed.score.gates) if seed.score else None,
            "gates_total": len(view.gates),
            "feasible": view.feasible,
        },
        "metrics": {
            name: {"value": metric.value, "unit": metric.unit}
            | ({"failed": metric.reason} if metric.reason else {})
            for name, metric in (*seed.metrics.items(), *seed.exam.items())
        },
        "provenance": {
            "campaign": view.spec.name,
            "pilot": view.spec.pilot.label,
            "lineage": view.lineage.number,
            "iteration": incumbent.number,
            "title": incumbent.title,
            "ledger_head": view.records[-1].hash if view.records else None,
            "mlipilot": view.versions.get("mlipilot"),
        },
    }


def _date(records: list[Record], number: int) -> str | None:
    """The day of an iteration's verdict."""
    times = (record.time for record, verdict in of_kind(records, Verdict) if verdict.iteration == number)
    return next((time[:10] for time in times), None)
