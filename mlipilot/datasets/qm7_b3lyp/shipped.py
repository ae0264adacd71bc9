"""The labels that come with the toolkit: made by this code, sealed, read without any chemistry package."""

from __future__ import annotations

import json
import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlipilot.audit.manifest import check_manifest
from mlipilot.datasets.base import PROVENANCE
from mlipilot.datasets.qm7_b3lyp.property_files import Reference
from mlipilot.errors import CheckFailedError
from mlipilot_labels.records import Frame, from_lines

FOLDER = Path(__file__).with_name("labels")
FRAMES, REFERENCE = "records.jsonl.xz", "reference.json"


@dataclass(frozen=True)
class Shipped:
    """Every frame, and how they were made."""

    frames: list[Frame]
    seed: int
    unseen_share: float
    provenance: dict[str, Any]


def load(folder: Path = FOLDER) -> Shipped:
    """Raises CheckFailedError when a file is not as it was sealed."""
    _check(folder)
    provenance = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    options = provenance["options"]
    frames = from_lines(lzma.decompress((folder / FRAMES).read_bytes()).decode())
    return Shipped(frames, options["seed"], options["unseen_share"], provenance)


def reference(folder: Path = FOLDER) -> Reference:
    """B3LYP minima with harmonic frequencies, and scans. Raises CheckFailedError."""
    _check(folder)
    return Reference.model_validate_json((folder / REFERENCE).read_bytes())


def _check(folder: Path) -> None:
    if problems := check_manifest(folder, allow_extra=True):
        raise CheckFailedError(f"{problems[0]}: install the toolkit again")
