"""Recomputing each verdict of a lineage from its metrics files, as `verify` does."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from mlipilot.audit.events import body_of
from mlipilot.audit.events.running import Verdict
from mlipilot.audit.ledger import of_kind, read_open_ledger
from mlipilot.campaign.spec import load_locked
from mlipilot.controller.state import replay
from mlipilot.controller.verdict import Measurements, compute_verdict
from mlipilot.evaluation.scorecard import load_scorecard
from mlipilot.paths import LineagePaths, RunPaths


def recheck_verdicts(run: RunPaths, lineage: LineagePaths) -> list[str]:
    """One line for each verdict that does not follow from the metrics and the scorecard.

    A last line that is torn or being written is left out. Raises InputError or LedgerError when the run
    cannot be read.
    """
    spec = load_locked(run.spec).for_lineage(lineage.number)
    card = load_scorecard(run.scorecard)
    records, _torn = read_open_ledger(lineage.ledger)
    problems = []
    for record, verdict in of_kind(records, Verdict):
        before = replay(records[: record.seq])
        number = verdict.iteration
        path = lineage.verdict(number)
        try:
            measured = Measurements(lineage, spec, card)
            computed = compute_verdict(before, before.iterations[number], measured)
            recorded = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, LookupError, ValueError) as error:
            problems.append(f"{path}: the verdict cannot be recomputed: {error}")
            continue
        again = json.loads(json.dumps(computed))
        problems += _difference(path, recorded, again)
        said = {key: value for key, value in body_of(verdict).items() if not key.endswith("_sha256")}
        is_said = verdict.reason == recorded["reason"] and _same(said, {key: again[key] for key in said})
        if not is_said:
            problems.append(
                f"{lineage.ledger}:{record.seq + 1}: the recorded verdict is not the computed one"
            )
    return problems


def _difference(path: Path, recorded: Any, computed: Any) -> list[str]:
    if _same(recorded, computed):
        return []
    return [f"{path}: is not what metrics and scorecard give when computed again"]


def _same(recorded: Any, computed: Any) -> bool:
    """Equality up to the last digits of floating-point functions, which differ between machines."""
    if isinstance(recorded, dict) and isinstance(computed, dict):
        # A reason spells out rounded numbers that stand beside it in full.
        keys = (recorded.keys() | computed.keys()) - {"reason"}
        return all(key in recorded and key in computed for key in keys) and all(
            _same(recorded[key], computed[key]) for key in keys
        )
    if isinstance(recorded, list) and isinstance(computed, list):
        return len(recorded) == len(computed) and all(map(_same, recorded, computed))
    if isinstance(recorded, float) and isinstance(computed, float):
        return math.isclose(recorded, computed, rel_tol=1e-9, abs_tol=1e-12)
    return bool(recorded == computed)
