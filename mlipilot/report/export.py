"""The incumbent as a file for users: a MACE `.model` that MACE's own calculator loads, and its model card.

The file is a pickle, as MACE's format is; it is written from the module that trusted code rebuilt, so that
nothing in it comes from a recipe.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlipilot.audit.events.running import Verdict
from mlipilot.audit.files import sha256_bytes, write_atomic
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


def export_incumbent(view: LineageView, directory: Path) -> Export:
    """Write the incumbent's first seed as `<campaign>-seed<N>.model`, and its card, into `directory`."""
    incumbent = view.incumbent
    if incumbent is None:
        return Export(missing="there is no incumbent yet")
    first = incumbent.seeds[0]
    if first.handover is None:
        return Export(missing=f"seed {first.seed} of the incumbent has handed no model over")
    if first.weights_digest is None:
        return Export(missing=f"seed {first.seed} of the incumbent has not been evaluated")

    from mlipilot.evaluation.families.mace_rebuilding import rebuild, serialised  # torch: seconds

    try:
        with redirect_stdout(io.StringIO()):  # MACE prints which accelerators it has not
            model = rebuild(first.handover)
    except HandoverError as error:
        return Export(missing=f"the hand-over cannot be rebuilt: {error}")
    if model.weights_digest != first.weights_digest:
        return Export(missing="the hand-over's weights are not those that were evaluated")
    directory.mkdir(exist_ok=True)
    data = serialised(model)
    target = directory / model_name(view.spec.name, first.seed)
    write_atomic(target, data)
    digest = sha256_bytes(data)
    card = directory / CARD
    write_atomic(card, dump_yaml(model_card(view, incumbent, first, model, target.name, digest)))
    return Export(target, card, first.seed, digest, len(data))


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
