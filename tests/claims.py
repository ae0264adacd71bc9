"""Claims on a lineage as other controllers would leave them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlipilot.audit.claims import LOCK, Claim, newest_epoch, publish_claim
from mlipilot.audit.process_identity import pid_namespace, this_process

OTHER_HOST = {"host": "node7", "boot_id": "another"}


def leave_claim(lineage: Path, **changes: Any) -> Claim:
    """Put a claim in force that this process made, but for `changes`."""
    folder = lineage / "controller"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LOCK).touch()
    mine = asdict(this_process()) | {
        "pid_namespace": pid_namespace(),
        "job": None,
        "since": datetime.now(UTC),
    }
    claim = Claim.model_validate(mine | {"epoch": newest_epoch(folder) + 1} | changes)
    assert publish_claim(folder, claim.epoch, claim)
    return claim
