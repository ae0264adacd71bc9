"""What was made of a run, beside its lineages: records of `reports.jsonl`."""

from __future__ import annotations

from typing import ClassVar

from mlipilot.audit.events.model import LineageName, Model, Sha256


class Reported(Model):
    """A report was written, with the exported model: what seals it, and what it was made from."""

    kind: ClassVar[str] = "reported"
    manifest_sha256: Sha256
    """Of the manifest in the run's folder, which has every page, picture and the exported model."""
    heads: dict[LineageName, Sha256]
    """The hash of the last record of each lineage's ledger, by the lineage's number."""
